"""Shiftmax at power-of-two scales, golden model `vitrtl.sw.golden.softmax_shiftmax_pow2`."""

from amaranth.hdl import Cat, Const, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.power_scale import SPLIT_STAGES, split
from vitrtl.hw.shift_exp import SHIFT_STAGES
from vitrtl.hw.softmax import RowSoftmax

__all__ = ["GATES", "ShiftmaxPow2"]


class ShiftmaxPow2(RowSoftmax):
    """`o = (E * floor((2**31 - 1) / sum E)) >> (32 - k)`, `E = (u << (n - q)) >> places`.

    The chord needs no gates at all: a one and the fraction of the distance in octaves are the
    mantissa. E is short enough to be kept itself, so that no shift comes after the product.
    """

    EXP_STAGES = SPLIT_STAGES + SHIFT_STAGES
    OUT_STAGES = 2
    NUMERATOR = 2**31 - 1

    @property
    def places(self) -> int:
        """Fraction bits of the mantissa."""
        return self.spec.finest

    def parts(self, pipe: Pipeline, distance: Value, exponent: Value) -> tuple[Value, Value]:
        """Return mantissa and octaves, `EXP_STAGES - SHIFT_STAGES` later."""
        fraction, q = split(pipe, distance, self.spec, exponent)
        return Cat(fraction, Const(1, 1)), q

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        spec = self.spec
        u, q = self.parts(pipe, distance, config.scalar("exponent"))
        e = pipe.shift_right_sparse(u << (spec.n - self.places), q, spec.exp_format.width)
        return e, e

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        return pipe.multiply(kept, factor) >> (32 - self.spec.out_bits)


GATES = ShiftmaxPow2
