"""A block memory with the output register that the device's block has inside."""

from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal, Value, ValueLike
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["DISTRIBUTED_DEPTH", "BlockMemory"]

BLOCK_WIDTH = 18
BLOCK_DEPTH = 1024

DISTRIBUTED_DEPTH = 64
"""Words up to which a memory is worth no block, where blocks are scarce."""


class BlockMemory(wiring.Component):
    """One write port and one read port, with a register behind the read port.

    A block memory answers late in the cycle, 5.8 ns on ECP5. The register inside the block takes
    the answer up at once, but Yosys never uses it; so on `ecp5` blocks are instanced, up to 1024
    words. Elsewhere a plain memory and plain registers stand for them.

    No unit reads a word in the cycle that writes it, so synthesis is told not to spend gates on
    what such a read would give.

    A shallow memory can do without a block, in the device's distributed memory. That answers
    within the cycle, so there the address waits in a register, and no word may be written from
    the cycle that reads it until it is in the output register.

    Parameters
    ----------
    width : bits of a word.
    depth : words.
    distributed : not in a block.

    Members
    -------
    w_en, w_addr, w_data : write.
    r_en, r_addr : read, as far as the block's output.
    o_en, o_data : take that output into the register.

    Latency
    -------
    2 cycles in which the enables are high.
    """

    LATENCY = 2

    def __init__(self, width: int, depth: int, *, distributed: bool = False) -> None:
        self.width, self.depth, self.distributed = width, depth, distributed
        super().__init__({
            "w_en": In(1), "w_addr": In(range(depth)), "w_data": In(width),
            "r_en": In(1), "r_addr": In(range(depth)),
            "o_en": In(1), "o_data": Out(width),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.distributed:
            self._distributed(m)
            return m
        if getattr(platform, "name", None) == "ecp5" and self.depth <= BLOCK_DEPTH:
            for start in range(0, self.width, BLOCK_WIDTH):
                part = slice(start, min(start + BLOCK_WIDTH, self.width))
                word = [Signal(name=f"q{i}") for i in range(part.start, part.stop)]
                m.submodules[f"block_{start}"] = self._dp16kd(self.w_data[part], word)
                m.d.comb += [self.o_data[part.start + i].eq(bit) for i, bit in enumerate(word)]
            return m

        m.submodules.store = store = memory.Memory(
            shape=self.width, depth=self.depth, init=(),
            attrs={"ram_style": "block", "no_rw_check": "1"})
        write, read = store.write_port(), store.read_port()
        m.d.comb += [
            write.en.eq(self.w_en), write.addr.eq(self.w_addr), write.data.eq(self.w_data),
            read.en.eq(self.r_en), read.addr.eq(self.r_addr),
        ]
        with m.If(self.o_en):
            m.d.sync += self.o_data.eq(read.data)
        return m

    def _distributed(self, m: Module) -> None:
        """Read at the address of the cycle before."""
        m.submodules.store = store = memory.Memory(
            shape=self.width, depth=self.depth, init=(), attrs={"ram_style": "distributed"})
        write, read = store.write_port(), store.read_port(domain="comb")
        m.d.comb += [
            write.en.eq(self.w_en), write.addr.eq(self.w_addr), write.data.eq(self.w_data)]
        with m.If(self.r_en):
            m.d.sync += read.addr.eq(self.r_addr)
        word = Signal(self.width, reset_less=True)
        m.d.comb += self.o_data.eq(word)
        with m.If(self.o_en):
            m.d.sync += word.eq(read.data)

    def _dp16kd(self, data: Value, word: list[Signal]) -> Instance:
        """Instance a block of 1024 words of 18 bits: port A writes, port B reads."""
        clock = ClockSignal("sync")
        ports: dict[str, ValueLike] = {
            "i_CLKA": clock, "i_CEA": self.w_en, "i_WEA": self.w_en, "i_OCEA": Const(0),
            "i_CLKB": clock, "i_CEB": self.r_en, "i_WEB": Const(0), "i_OCEB": self.o_en,
            "i_RSTA": Const(0), "i_RSTB": Const(0),
        }
        for i in range(3):
            ports |= {f"i_CSA{i}": Const(0), f"i_CSB{i}": Const(0)}
        for i in range(4):
            # At this width the low address bits of a writing port are byte enables.
            ports |= {f"i_ADA{i}": Const(int(i < 2)), f"i_ADB{i}": Const(0)}
        for i in range(10):
            ports |= {f"i_ADA{i + 4}": _bit(self.w_addr, i), f"i_ADB{i + 4}": _bit(self.r_addr, i)}
        for i in range(BLOCK_WIDTH):
            ports |= {f"i_DIA{i}": _bit(data, i), f"i_DIB{i}": Const(0)}
        ports |= {f"o_DOB{i}": bit for i, bit in enumerate(word)}
        return Instance("DP16KD", p_DATA_WIDTH_A=BLOCK_WIDTH, p_DATA_WIDTH_B=BLOCK_WIDTH,
                        p_REGMODE_A="NOREG", p_REGMODE_B="OUTREG", p_WRITEMODE_A="NORMAL",
                        p_WRITEMODE_B="NORMAL", p_RESETMODE="SYNC", p_GSR="DISABLED", **ports)


def _bit(value: Value, index: int) -> Value:
    """Return one bit, zero beyond the last."""
    return value[index] if index < len(value) else Const(0)
