"""Bit-Softmax at power-of-two scales, golden model `vitrtl.sw.golden.softmax_bit_softmax_pow2`."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.power_scale import ALIGN_STAGES, aligned
from vitrtl.hw.shift_exp import LOG2E_STAGES, SHIFT_STAGES, tangent_value, times_log2e
from vitrtl.hw.softmax_shiftmax_pow2 import ShiftmaxPow2

__all__ = ["GATES", "BitSoftmaxPow2"]


class BitSoftmaxPow2(ShiftmaxPow2):
    """As `softmax_shiftmax_pow2`, with the mantissa `(16 << finest) - 11 * r`."""

    EXP_STAGES = ALIGN_STAGES + LOG2E_STAGES + 3 + SHIFT_STAGES

    @property
    def places(self) -> int:
        return self.spec.unit_places

    def parts(self, pipe: Pipeline, distance: Value, exponent: Value) -> tuple[Value, Value]:
        m, spec, finest = pipe.m, self.spec, self.spec.finest
        # Stages 1 and 2: align. Stages 3 and 4: times 1.4375, negated.
        d = aligned(pipe, distance, spec, exponent)
        p = times_log2e(pipe, d, negated=True)[:len(d)]
        # Stage 5: from n octaves on it is n; half of one more makes the floor the nearest.
        half = 1 << (finest - 1) if spec.line.nearest else 0
        beyond = Signal()
        m.d.comb += beyond.eq(p[finest + 4:].any() | p[finest:finest + 4].all())
        p = pipe.reg(Mux(beyond, (spec.n << finest) + half, p + half)[:finest + 4])
        # Stages 6 and 7: the line; without its half, the remainder has a sign.
        low, q = p[:finest], p[finest:]
        remainder = Cat(low[:-1], ~low[-1]).as_signed() if spec.line.nearest else low
        u = tangent_value(pipe, remainder, Const(1 << finest), spec.mantissa_format.width)
        return pipe.reg(u), pipe.reg(q, 2)


GATES = BitSoftmaxPow2
