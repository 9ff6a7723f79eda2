"""Clock and reset of a design on a board: oscillator, clock multiplier, start in reset."""

from amaranth.hdl import Cat, ClockDomain, Elaboratable, Instance, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

from vitrtl.hw.pll import PllSettings, pll_instance

__all__ = ["BoardClock"]


class BoardClock(Elaboratable):
    """Domain `sync` from the pins of an oscillator.

    `domain`, which the module that holds this one adds to its own, has no reset, since that would
    be a signal to all of the device. `reset` is one for those who need it, high from power-up until
    the clock multiplier has been locked for 16 cycles.

    Parameters
    ----------
    pins : the oscillator's pin, or the two of a differential one.
    pll : settings of the clock multiplier; None takes the oscillator's own rate.
    family : of the device, a name of `vitrtl.hw.pll.PLLS`.
    """

    RESET_CYCLES = 16

    def __init__(self, pins: list[Signal], pll: PllSettings | None, family: str) -> None:
        self.pins = pins
        self.pll = pll
        self.family = family
        self.domain = ClockDomain("sync", reset_less=True)
        self.reset = Signal(init=1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        amd = self.family in ("xc7", "usp")
        source = self.pins[0]
        if len(self.pins) == 2:
            source = Signal(name="oscillator")
            m.submodules.input = Instance("IBUFDS", i_I=self.pins[0], i_IB=self.pins[1],
                                          o_O=source)
        clock, locked = source, Signal(name="locked")
        if self.pll is None:
            m.d.comb += locked.eq(1)
        else:
            clock = Signal(name="multiplied")
            m.submodules.pll = pll_instance(self.pll, source, clock, locked)
        if amd:
            buffered = Signal(name="buffered")
            m.submodules.buffer = Instance("BUFG", i_I=clock, o_O=buffered)
            clock = buffered

        m.d.comb += self.domain.clk.eq(clock)
        ready = Signal()
        m.submodules += FFSynchronizer(locked, ready)
        held = Signal(self.RESET_CYCLES, init=(1 << self.RESET_CYCLES) - 1)
        m.d.sync += [held.eq(Cat(~ready, held[:-1])), self.reset.eq(held.any())]
        return m
