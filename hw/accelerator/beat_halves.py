"""Cuts beats with sums of two rows of columns into two beats."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accumulating_array import PairedSumBeat, SumBeat
from vitrtl.sw.golden.matmul import MatMulSpec

__all__ = ["BeatHalves"]


class BeatHalves(wiring.Component):
    """Hands the two slices of a paired beat on one after the other, and others as they are.

    Parameters
    ----------
    spec, summed : of the array, and of the sums in it.

    Members
    -------
    i, o : beats.

    Latency
    -------
    None.
    """

    def __init__(self, spec: MatMulSpec, summed: MatMulSpec) -> None:
        super().__init__({"i": In(stream.Signature(PairedSumBeat(spec, summed))),
                          "o": Out(stream.Signature(SumBeat(spec)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        beat, second, ends = self.i.payload, Signal(), Signal()
        m.d.comb += [
            ends.eq(second | ~beat.paired),
            self.o.valid.eq(self.i.valid),
            self.o.payload.last.eq(beat.last & ends),
            self.i.ready.eq(self.o.ready & ends),
        ]
        m.d.comb += [element.eq(Mux(second, upper, first)) for element, first, upper in zip(
            self.o.payload.data, beat.data, beat.upper, strict=True)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += second.eq(~ends)
        return m
