"""Shiftmax of I-ViT, golden model `vitrtl.sw.golden.softmax_shiftmax`."""

from amaranth.hdl import Cat, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.shift_exp import PARTS_STAGES, SHIFT_STAGES, shift_exp_parts, shift_exp_value
from vitrtl.hw.softmax import RowSoftmax

__all__ = ["GATES", "Shiftmax"]


class Shiftmax(RowSoftmax):
    """`o = (E * floor((2**31 - 1) / sum E)) >> (32 - k)`, `E = ShiftExp(i - max i)`.

    The buffer keeps `(u, q)` of `E = (u << (n - q)) >> 1`, half as wide as E; the shift joins the
    one at the end. At q = n, u is even, so that nothing is lost.
    """

    EXP_STAGES = PARTS_STAGES + SHIFT_STAGES
    OUT_STAGES = 4
    NUMERATOR = 2**31 - 1

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        spec = self.spec
        u, q = shift_exp_parts(pipe, distance, spec, config.scalar("i0"),
                               config.scalar("reciprocal"))
        e = shift_exp_value(pipe, u, q, spec.n)
        return e, Cat(pipe.reg(u, SHIFT_STAGES), pipe.reg(q, SHIFT_STAGES))

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        spec = self.spec
        u, q = kept[:spec.mantissa_format.width], kept[spec.mantissa_format.width:]
        product = pipe.multiply(u, factor)
        return pipe.shift_right(product >> (33 - spec.out_bits - spec.n), pipe.reg(q, 2),
                                spec.out_format.width)


GATES = Shiftmax
