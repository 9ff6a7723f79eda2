"""L1 LayerNorm of Fully-8bit Transformer, golden model `vitrtl.sw.golden.layernorm_l1`."""

from amaranth.hdl import Module, Mux, Value
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import Reciprocal
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.timing import Timing
from vitrtl.hw.two_pass_layernorm import TwoPassLayerNorm
from vitrtl.sw.golden.layernorm_l1 import L1Spec

__all__ = ["GATES", "L1LayerNorm"]


class L1LayerNorm(TwoPassLayerNorm):
    """`o = ((i - mean) * floor((2**35 - 1) / A) >> 5) + bias`, `A` the sum of `|i - mean|`."""

    TERM_STAGES = 1
    DROPPED = 5

    def __init__(self, spec: L1Spec) -> None:
        self._reciprocal = Reciprocal(spec.factor_format.hi, spec.statistic_format.width,
                                      spec.factor_format.width)
        super().__init__(spec)

    def term(self, pipe: Pipeline, config: ConfigBank, deviation: Value) -> Value:
        magnitude = Mux(deviation < 0, -deviation, deviation)
        return pipe.reg(magnitude.as_unsigned()[:self.spec.in_width])

    @property
    def factor_timing(self) -> Timing:
        cycles = self._reciprocal.cycles
        return Timing(latency_fixed=cycles, interval_min=cycles)

    def factor(self, m: Module,
               config: ConfigBank) -> tuple[wiring.PureInterface, wiring.PureInterface]:
        m.submodules.reciprocal = self._reciprocal
        return self._reciprocal.i, self._reciprocal.o


GATES = L1LayerNorm
