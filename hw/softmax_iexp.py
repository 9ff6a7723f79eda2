"""i-Softmax of I-BERT, golden model `vitrtl.sw.golden.softmax_iexp`."""

from amaranth.hdl import Cat, Mux, Signal, Value, unsigned

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.softmax import RowSoftmax
from vitrtl.hw.stream import shape_of

__all__ = ["GATES", "IexpSoftmax"]

DYADIC_SHIFT = 30
"""Shift of the dyadic pair, the same for every layer."""


class IexpSoftmax(RowSoftmax):
    """`o = (E * floor(2**32 / sum E)) >> (32 - k)`, E a quadratic in the remainder of an octave."""

    EXP_STAGES = 15
    OUT_STAGES = 2
    NUMERATOR = 2**32

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        spec, m = self.spec, pipe.m
        i0, linear, constant, normalise, multiplier = (
            config.scalar(name)
            for name in ("i0", "linear", "constant", "normalise", "multiplier"))

        # Stages 1 to 4: octave and remainder. From 16 octaves on E is zero.
        below = Signal(unsigned(spec.magnitude_width))
        m.d.comb += below.eq(-distance)
        quotient = pipe.multiply(below, config.scalar("reciprocal")) >> spec.reciprocal_shift
        beyond = quotient[4:].any()
        q = Cat(Mux(beyond, 0, quotient[:4]), beyond)
        product = pipe.multiply(q, i0)
        remainder = Signal(unsigned(spec.i0_width))
        m.d.comb += remainder.eq(pipe.reg(below, 4) - product)

        # Stages 5 to 8: z = c - remainder * (b - remainder), with k places.
        placed = pipe.multiply(remainder, normalise)[:15]
        rest = Signal(unsigned(len(linear)))
        m.d.comb += rest.eq(linear - pipe.reg(remainder, 2))
        square = pipe.multiply(rest, placed)
        z = Signal(shape_of(spec.exp_format))
        m.d.comb += z.eq(constant - square)

        # Stages 9 to 11: the dyadic product. Below its half bit only "not zero" matters.
        scaled = pipe.multiply_wide(z, multiplier)
        octaves = pipe.reg(q, 9)
        sticky = scaled[:DYADIC_SHIFT - 1].any()
        value = Cat(sticky, scaled[DYADIC_SHIFT - 1:DYADIC_SHIFT + 15])

        # Stages 12 to 15: shift by the octaves, fold what falls off, round to even.
        value, octaves = pipe.reg(Mux(octaves[4], 0, value)), pipe.reg(octaves[:4])
        for step in (4, 1):
            choice = octaves[2:] if step == 4 else octaves[:2]
            folded = Signal(unsigned(len(value)))
            with m.Switch(choice):
                for places in range(4):
                    with m.Case(places):
                        dropped = places * step
                        m.d.comb += folded.eq(Cat(value[:dropped + 1].any(),
                                                  value[dropped + 1:]))
            value, octaves = pipe.reg(folded), pipe.reg(octaves[:2])
        whole, half, rest_bit = value[2:], value[1], value[0]
        rounded = Signal(shape_of(spec.exp_format))
        m.d.comb += rounded.eq(whole + (half & (rest_bit | whole[0])))
        e = pipe.reg(rounded)
        return e, e

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        return pipe.multiply(kept, factor) >> (32 - self.spec.out_bits)


GATES = IexpSoftmax
