"""Softmax to base two by two small tables, golden model `vitrtl.sw.golden.softmax_exp2`."""

from amaranth.hdl import Array, Cat, Const, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowEmit
from vitrtl.hw.softmax import RowSoftmax
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.softmax_exp2 import (
    COARSE,
    COARSE_FORMAT,
    EXP_FORMAT,
    FINE,
    FINE_FORMAT,
    FINEST,
    NUMERATOR,
    OCTAVES_PLACES,
)

__all__ = ["GATES", "Exp2Softmax"]


class Exp2Softmax(RowSoftmax):
    """`o = ((2*E + 1) * floor((2**35 - 1) / sum (2*E + 1))) >> (35 - k)`, E from two tables."""

    EXP_STAGES = 8
    OUT_STAGES = 3
    NUMERATOR = NUMERATOR

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        # Stages 1 to 3: octaves below the maximum, negative. Their inversion is one less than
        # their negation; the maximum itself, alone not negative, becomes -1, inverted 0.
        product = pipe.multiply(distance, config.scalar("octaves"))
        # Set, where the product is zero, to the value that it has initially.
        octaves = Signal.like(product, init=-1, reset_less=True)
        with pipe.m.If(pipe.advance):
            pipe.m.d.sync += octaves.eq(Mux(product[-1], product, -1))
        whole, digits = octaves[OCTAVES_PLACES:], octaves[:OCTAVES_PLACES]

        # Stages 4 and 5: a power of two for each of the first two hexadecimal digits.
        power = pipe.multiply(_table(COARSE, COARSE_FORMAT, digits[-4:]),
                              _table(FINE, FINE_FORMAT, digits[-8:-4]))

        # Stages 6 to 8: shift by the octaves; zero from 16 on, else with the half.
        shifted = pipe.shift_right(power >> (FINE_FORMAT.width - 1), pipe.reg(~whole[:4], 2),
                                   EXP_FORMAT.width)
        within = pipe.reg(whole[4:].all(), 4)
        halves = pipe.reg(Mux(within, Cat(Const(1, 1), shifted), 0))
        return halves, halves[1:]

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        product = pipe.multiply(Cat(Const(1, 1), kept), factor)
        return product >> (NUMERATOR.bit_length() - FINEST)

    def round_off(self, emit: RowEmit, value: Value) -> Value:
        pipe, dropped = emit.pipe, FINEST - self.spec.out_bits
        if not self.spec.carry:
            return pipe.reg(value >> dropped)
        stages = self.OUT_STAGES - 1
        taken = pipe.reg(emit.takes, stages, reset_less=False)
        starts = pipe.reg(emit.starts, stages)
        carried = Signal(dropped)
        total = Signal(FINEST)
        emit.m.d.comb += total.eq(value + Mux(starts, 0, carried))
        with emit.m.If(pipe.advance & taken):
            emit.m.d.sync += carried.eq(total)
        return pipe.reg(total[dropped:])


def _table(words: tuple[int, ...], fmt: Format, inverted: Value) -> Value:
    """Return the word of an inverted index: one LUT4 for each bit."""
    return Array(Const(word, shape_of(fmt)) for word in reversed(words))[inverted]


GATES = Exp2Softmax
