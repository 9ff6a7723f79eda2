"""Products of a log2 code: a shifter in place of a multiplier."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from vitrtl.sw.golden.log2_code import FRACTION_BITS

__all__ = ["Shifter"]


class Shifter(wiring.Component):
    """One product per cycle, `b << (15 - a)`, or 0 for a code above 15.

    It stands where a `Multiplier` could: same members, same latency.

    Parameters
    ----------
    a_shape : log2 code.
    b_shape : what is shifted, signed.

    Members
    -------
    en : a's register and the output's advance.
    en_b : b's register advances.
    a, b : operands.
    o : product at scale `2**-15`.

    Latency
    -------
    2 cycles in which the enables are high.
    """

    LATENCY = 2

    def __init__(self, a_shape: Shape, b_shape: Shape) -> None:
        super().__init__({
            "en": In(1),
            "en_b": In(1),
            "a": In(a_shape),
            "b": In(b_shape),
            "o": Out(Shape(b_shape.width + FRACTION_BITS, signed=True)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a_reg = Signal.like(self.a, reset_less=True)
        b_reg = Signal.like(self.b, reset_less=True)
        o_reg = Signal.like(self.o, reset_less=True)
        with m.If(self.en):
            m.d.sync += a_reg.eq(self.a)
            # 15 - a is ~a. Zero comes from the register's reset, which costs no gates.
            with m.If(a_reg[-1]):
                m.d.sync += o_reg.eq(0)
            with m.Else():
                m.d.sync += o_reg.eq(b_reg << ~a_reg[:-1])
        with m.If(self.en_b):
            m.d.sync += b_reg.eq(self.b)
        m.d.comb += self.o.eq(o_reg)
        return m
