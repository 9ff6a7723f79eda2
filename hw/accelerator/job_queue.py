"""Instructions that wait for one part of an engine."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.ports import InstructionLayout

__all__ = ["JobQueue"]


class JobQueue(wiring.Component):
    """Holds what a part of an engine needs of the instructions that it has not begun.

    Parameters
    ----------
    engine : whose instructions they are.
    names : of the fields that the part needs.

    Members
    -------
    i : instructions.
    o : those fields of them.

    Latency
    -------
    One cycle.
    """

    DEPTH = 4

    def __init__(self, engine: int, names: Iterable[str]) -> None:
        fields = InstructionLayout(engine)
        self.layout = data.StructLayout({name: fields.members[name] for name in names})
        super().__init__({"i": In(stream.Signature(fields)),
                          "o": Out(stream.Signature(self.layout))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = SyncFIFO(width=self.layout.size, depth=self.DEPTH)
        m.d.comb += [
            queue.w_en.eq(self.i.valid), self.i.ready.eq(queue.w_rdy),
            queue.w_data.eq(Cat(self.i.payload[name] for name in self.layout.members)),
            self.o.valid.eq(queue.r_rdy), queue.r_en.eq(self.o.ready),
            Value.cast(self.o.payload).eq(queue.r_data),
        ]
        return m
