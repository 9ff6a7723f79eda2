"""E2Softmax of SOLE, golden model `vitrtl.sw.golden.softmax_e2`."""

from amaranth.hdl import Const, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.power_scale import SPLIT_STAGES, split
from vitrtl.hw.softmax import RowSoftmax
from vitrtl.sw.golden.softmax_e2 import FRACTION

__all__ = ["GATES", "E2Softmax"]


class E2Softmax(RowSoftmax):
    """`o = (low or high) >> (code + L)` for a sum `m * 2**L` of `2**-code`, low where `m < 1.5`.

    The buffer keeps the codes, 4 bits each. The sum is divided by as it is: its leading one is a
    shift, the bit after it chooses the reciprocal of m.
    """

    EXP_STAGES = SPLIT_STAGES + 1
    OUT_STAGES = 4
    NUMERATOR = None

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        self._low, self._high = config.scalar("low"), config.scalar("high")
        _, code = split(pipe, distance, self.spec, config.scalar("exponent"))
        return pipe.reg(Const(1 << FRACTION) >> code), pipe.reg(code)

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        m, spec = pipe.m, self.spec
        # Stage 1: leading one of the sum, which is at least one.
        octave, upper_half = Signal(range(len(factor) - FRACTION)), Signal()
        for place in range(FRACTION, len(factor)):
            with m.If(factor[place]):
                m.d.comb += [octave.eq(place - FRACTION), upper_half.eq(factor[place - 1])]
        octave, upper_half, code = pipe.reg(octave), pipe.reg(upper_half), pipe.reg(kept)
        # Stage 2: the shift. Stages 3 and 4: shift the reciprocal of the mantissa.
        reciprocal = pipe.reg(Mux(upper_half, self._high, self._low))
        return pipe.shift_right(reciprocal, pipe.reg(code + octave), spec.out_format.width)


GATES = E2Softmax
