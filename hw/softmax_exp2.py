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
    PRODUCT_BITS,
    SPARE_BITS,
)

__all__ = ["GATES", "Exp2Softmax"]


class Exp2Softmax(RowSoftmax):
    """`o = ((2*E + 1) * floor((2**29 - 1) / ceil(sum (2*E + 1) / 64))) >> (35 - k)`, E from two
    tables."""

    EXP_STAGES = 8
    OUT_STAGES = 3
    NUMERATOR = NUMERATOR
    SPARE_BITS = SPARE_BITS

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

        # Stage 4: a power of two for each of the first two hexadecimal digits.
        coarse = pipe.reg(_table(COARSE, COARSE_FORMAT, digits[-4:]))
        fine = pipe.reg(_table(FINE, FINE_FORMAT, digits[-8:-4]))
        octaves = pipe.reg(whole)

        # Stages 5 and 6: their product. The fine half of the shift by the octaves is before it,
        # where most bits are ones or zeros; inverted, it is one to the left.
        power = pipe.multiply(coarse, (fine << octaves[:2])[:FINE_FORMAT.width + 3])
        power = power[-EXP_FORMAT.width:]

        # Stages 7 and 8: the rest of it; zero from 16 on, else with the half. Zeros that come in
        # above are by the reset of their registers, which costs no gates.
        by_eight, by_four = ~pipe.reg(octaves[3], 2), ~pipe.reg(octaves[2], 3)
        beyond = pipe.reg(~pipe.reg(octaves[4:].all()), 2)
        shifted = pipe.reg(Mux(by_eight, power >> 8, power))
        shifted = Mux(by_four, shifted >> 4, shifted)
        halves = pipe.reg(Mux(beyond, 0, Cat(Const(1, 1), shifted)))
        return halves, halves[1:]

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        product = pipe.multiply(Cat(Const(1, 1), kept), factor)
        return product >> (PRODUCT_BITS - FINEST)

    def round_off(self, emit: RowEmit, value: Value) -> Value:
        pipe, dropped = emit.pipe, FINEST - self.spec.out_bits
        if not self.spec.carry:
            return pipe.reg(value >> dropped)
        stages = self.OUT_STAGES - 1
        taken = pipe.reg(emit.takes, stages, reset_less=False)
        ends = pipe.reg(emit.ends, stages)
        carried = Signal(dropped)
        total = Signal(FINEST)
        emit.m.d.comb += total.eq(value + carried)
        with emit.m.If(pipe.advance & taken):
            # Cleared by the register's reset, which costs no gates.
            emit.m.d.sync += carried.eq(Mux(ends, 0, total))
        return pipe.reg(total[dropped:])


def _table(words: tuple[int, ...], fmt: Format, inverted: Value) -> Value:
    """Return the word of an inverted index: one LUT4 for each bit."""
    return Array(Const(word, shape_of(fmt)) for word in reversed(words))[inverted]


GATES = Exp2Softmax
