"""A counter of free places, whose answer is ready when the cycle begins."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Places"]


class Places(wiring.Component):
    """Counts the places that are free in what stands behind a part that cannot wait.

    Whether there is one comes from a register, so that the counter is no part of the handshakes
    that it holds up.

    Parameters
    ----------
    count : of the places, all free at first.

    Members
    -------
    take : a place is taken; only if there is one.
    give : a place is free again.
    some : there is a free place.
    every : all of them are free.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__({"take": In(1), "give": In(1),
                          "some": Out(1, init=1), "every": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        free = Signal(range(self.count + 1), init=self.count)
        with m.If(self.take != self.give):
            m.d.sync += [free.eq(free + Mux(self.give, 1, -1)),
                         self.some.eq(self.give | (free != 1))]
        m.d.comb += self.every.eq(free == self.count)
        return m
