"""A memory of several banks that many ports share, one read and one write per bank and cycle."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from vitrtl.hw.accelerator.ports import ReadPort, WritePort
from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.pipeline import Pipeline

__all__ = ["BankedMemory"]


class BankedMemory(wiring.Component):
    """Words in block memory behind any number of read and write ports.

    A port gets a bank in the cycle in which it asks, unless a port of lower index asks for the
    same one. A word can be read from the second cycle after the one that writes it; what a read
    gets of a word that is written in the same cycle, or in the one before, is not said.

    Parameters
    ----------
    width : bits of a word.
    banks : by the upper address bits; a power of two.
    bank_words : words of a bank; a power of two, if there are several.
    readers, writers : ports.

    Members
    -------
    r, w : read and write ports, the most urgent first.

    Latency
    -------
    `LATENCY` cycles from the edge that takes an address to the one at which its word is valid.

    Throughput
    ----------
    One word per cycle and bank, in each direction.

    Raises
    ------
    ValueError
        For banks or words that cannot be addressed by slices of an address.
    """

    LATENCY = BlockMemory.LATENCY + 2

    def __init__(self, width: int, banks: int, bank_words: int, readers: int,
                 writers: int) -> None:
        for name, value in (("banks", banks), ("bank_words", bank_words)):
            if banks > 1 and value & (value - 1):
                raise ValueError(f"{name} must be a power of two, not {value}")
        self.width, self.banks, self.bank_words = width, banks, bank_words
        words = banks * bank_words
        super().__init__({"r": In(ReadPort(width, words)).array(readers),
                          "w": In(WritePort(width, words)).array(writers)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stores = [BlockMemory(self.width, self.bank_words) for _ in range(self.banks)]
        for index, store in enumerate(stores):
            m.submodules[f"bank{index}"] = store
            m.d.comb += store.o_en.eq(1)

        # Who has a bank is found out in one cycle, and what it wants is done in the next; a word to
        # be written, which is more than an address, is chosen in a cycle of its own.
        late = Pipeline(m, Const(1))
        words = [(late.reg(self._word(port)), late.reg(port.data)) for port in self.w]
        grants = self._arbitrate(m, self.w)
        for store, granted in zip(stores, grants, strict=True):
            chosen = [late.reg(grant, reset_less=False) for grant in granted]
            m.d.sync += store.w_en.eq(Cat(chosen).any())
            m.d.comb += [
                store.w_addr.eq(late.reg(_choose(chosen, [addr for addr, _ in words]))),
                store.w_data.eq(late.reg(_choose(chosen, [data for _, data in words]))),
            ]
        grants = self._arbitrate(m, self.r)
        for store, granted in zip(stores, grants, strict=True):
            m.d.sync += store.r_en.eq(Cat(granted).any())
            m.d.comb += store.r_addr.eq(
                late.reg(_choose(granted, [self._word(port) for port in self.r])))

        # A block's own register answers; the choice of the bank goes into one more.
        pipe = Pipeline(m, Const(1))
        for port in self.r:
            valid = pipe.reg(port.en & port.ready, self.LATENCY - 1, reset_less=False)
            bank = pipe.reg(self._bank(port), self.LATENCY - 1)
            m.d.sync += port.valid.eq(valid)
            data = Signal(self.width, reset_less=True)
            m.d.comb += port.data.eq(data)
            with m.Switch(bank):
                for index, store in enumerate(stores):
                    with m.Case(index):
                        m.d.sync += data.eq(store.o_data)
        return m

    def _arbitrate(self, m: Module, ports: Sequence[wiring.PureInterface]) -> list[list[Signal]]:
        """Drive `ready` of the ports; return for each bank which port has it."""
        grants = [[Signal(name=f"grant{p}_{b}") for p in range(len(ports))]
                  for b in range(self.banks)]
        for p, port in enumerate(ports):
            others = [other.en & (self._bank(other) == self._bank(port)) for other in ports[:p]]
            m.d.comb += port.ready.eq(~Cat(others).any())
            m.d.comb += [grants[b][p].eq(port.en & port.ready & (self._bank(port) == b))
                         for b in range(self.banks)]
        return grants

    def _word(self, port: wiring.PureInterface) -> Value:
        """Return a port's address within its bank."""
        return port.addr[:(self.bank_words - 1).bit_length()]

    def _bank(self, port: wiring.PureInterface) -> Value:
        """Return the bank that a port names."""
        return port.addr[(self.bank_words - 1).bit_length():]


def _choose(chosen: Sequence[Value], values: Sequence[Value]) -> Value:
    """Return the value that goes with the only one of `chosen` that is high, zero for none."""
    if len(values) == 1:
        return values[0]
    result = Const(0, len(values[0]))
    for choice, value in zip(chosen, values, strict=True):
        result |= value & choice.replicate(len(value))
    return result
