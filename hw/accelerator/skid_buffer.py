"""A stream register that leaves no path from one side's handshake to the other's."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["SkidBuffer"]


class SkidBuffer(wiring.Component):
    """Two places: the output register, and one for what arrives when that is not taken.

    Parameters
    ----------
    shape : of the payload.

    Members
    -------
    i, o : what goes in comes out, in order.

    Latency
    -------
    One cycle.

    Throughput
    ----------
    One payload per cycle, sustained.
    """

    def __init__(self, shape: ShapeLike) -> None:
        self.shape = shape
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        full = Signal()
        # Payloads are not reset: on a device that would be a signal to all of them.
        held, spare = (Signal(self.shape, reset_less=True, name=name) for name in ("held", "spare"))
        m.d.comb += [self.i.ready.eq(~full), self.o.payload.eq(held)]

        with m.If(~self.o.valid | self.o.ready):
            m.d.sync += [self.o.valid.eq(full | self.i.valid), full.eq(0)]
            with m.If(full):
                m.d.sync += held.eq(spare)
            with m.Else():
                m.d.sync += held.eq(self.i.payload)
        with m.Elif(self.i.valid):
            m.d.sync += full.eq(1)
        with m.If(~full):
            m.d.sync += spare.eq(self.i.payload)
        return m
