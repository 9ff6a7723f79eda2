"""Run-time constants of a unit: the registers and memories behind its configuration stream."""

import functools
import operator

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring

from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.unit import Register, Spec

__all__ = ["ConfigBank"]


class ConfigBank:
    """Registers of a spec, written from the configuration stream.

    A word is taken only while no row is in flight, so no row ever sees half of a layer's
    constants. While a word waits no new row is begun, so that it cannot wait for ever.

    Parameters
    ----------
    m : module that holds the registers.
    spec : whose registers they are.
    port : the configuration stream, seen from the unit.
    idle : high while no row is in flight.
    staged : a word takes two cycles, the first of which finds out where it goes. It keeps the way
        from `idle` to the memories of several lanes out of one cycle.
    """

    def __init__(self, m: Module, spec: Spec, port: wiring.PureInterface, idle: Value,
                 staged: bool = False) -> None:
        self.m = m
        self.spec = spec
        self.port = port
        self._staged = staged
        self._registers = {r.name: r for r in spec.registers}
        self._write = Signal(name="config_write")
        if not staged:
            m.d.comb += [port.ready.eq(idle), self._write.eq(port.valid & port.ready)]
            return
        # No row begins while a word waits: what was idle a cycle ago still is.
        may_write, ready = Signal(), Signal()
        m.d.sync += [may_write.eq(port.valid & idle), ready.eq(self._write)]
        m.d.comb += [self._write.eq(port.valid & may_write & ~ready), port.ready.eq(ready)]

    def scalar(self, name: str) -> Signal:
        """Return a register of one word."""
        register = self._registers[name]
        value = Signal(shape_of(register.format), name=f"config_{name}")
        with self.m.If(self._writes(self.port.payload.address == register.address)):
            self.m.d.sync += value.eq(self.port.payload.data)
        return value

    def memory(self, name: str, lanes: int = 1, *,
               distributed: bool = False) -> list[BlockMemory]:
        """Return one memory per lane of a register with a word per channel, to read from.

        Word `lanes * i + l` is at address i of lane l.

        Parameters
        ----------
        distributed : not in blocks.
        """
        stores = []
        for lane in range(lanes):
            store = self._store(self._registers[name], lane, lanes, distributed)
            self.m.submodules[f"config_{name}_{lane}"] = store
            stores.append(store)
        return stores

    def table(self, name: str) -> BlockMemory:
        """Return a memory with every word of a register, to look up in; another at every call."""
        store = self._store(self._registers[name], 0, 1, False)
        self.m.submodules += store
        return store

    def _store(self, register: Register, lane: int, lanes: int,
               distributed: bool) -> BlockMemory:
        """Return the memory that takes one word of `lanes`."""
        lane_bits = (lanes - 1).bit_length()
        span_bits = (register.depth - 1).bit_length()
        address = self.port.payload.address
        hit = address[span_bits:] == register.address >> span_bits
        store = BlockMemory(register.format.width, -(-register.depth // lanes),
                            distributed=distributed)
        self.m.d.comb += [
            store.w_en.eq(self._writes(hit, address[:lane_bits] == lane)),
            store.w_addr.eq(address[lane_bits:span_bits]),
            store.w_data.eq(self.port.payload.data),
        ]
        return store

    def _writes(self, *hits: Value) -> Value:
        """Return whether the port's word is written in this cycle to the place of all `hits`."""
        strobe = functools.reduce(operator.and_, hits, self._write)
        if not self._staged:
            return strobe
        staged = Signal()
        self.m.d.sync += staged.eq(strobe)
        return staged
