"""Bit-Softmax of IPTQ-ViT, golden model `vitrtl.sw.golden.softmax_bit_softmax`."""

from amaranth.hdl import Cat, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.shift_exp import SHIFT_STAGES, TANGENT_STAGES, tangent_parts
from vitrtl.hw.softmax import RowSoftmax
from vitrtl.sw.golden.softmax_bit_softmax import BitSoftmaxSpec

__all__ = ["GATES", "BitSoftmax"]


class BitSoftmax(RowSoftmax):
    """`o = (E * floor((2**M - 1) / sum E)) >> (M - (k-1))`, E by the tangent of an octave.

    The buffer keeps `(u, q)` of `E = (u << (n - q)) >> 4`, as in `softmax_shiftmax`.
    """

    EXP_STAGES = TANGENT_STAGES + SHIFT_STAGES
    OUT_STAGES = 4

    def __init__(self, spec: BitSoftmaxSpec) -> None:
        self.NUMERATOR = (1 << spec.quotient_bits) - 1
        super().__init__(spec)

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        spec = self.spec
        u, q = tangent_parts(pipe, distance, spec, config.scalar("i0"),
                             config.scalar("reciprocal"))
        e = pipe.shift_right_sparse(u << (spec.n - spec.line.places), q, spec.exp_format.width)
        return e, Cat(pipe.reg(u, SHIFT_STAGES), pipe.reg(q, SHIFT_STAGES))

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        spec = self.spec
        u, q = kept[:spec.mantissa_format.width], kept[spec.mantissa_format.width:]
        product = pipe.multiply(u, factor)
        # The least octave is at n, where only bits from `places` on are left of u.
        shift = spec.quotient_bits - (spec.out_bits - 1) - (spec.n - spec.line.places)
        return pipe.shift_right(product >> shift, pipe.reg(q, 2), spec.out_format.width)


GATES = BitSoftmax
