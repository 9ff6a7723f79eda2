"""LayerNorm with a table of reciprocal roots, golden model `vitrtl.sw.golden.layernorm_lut`."""

from collections.abc import Callable

from amaranth.hdl import Signal, Value
from amaranth.lib import wiring

from vitrtl.hw.one_pass_layernorm import OnePassLayerNorm
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row_statistics import ReciprocalRoot
from vitrtl.hw.stream import shape_of

__all__ = ["GATES", "LutLayerNorm"]


class LutLayerNorm(OnePassLayerNorm):
    """`o = (((i - mean) * reciprocal_root(V)) >> 1) + bias`."""

    OUT_STAGES = 5

    def once_a_row(self) -> list[wiring.Component]:
        return [ReciprocalRoot(self.spec.variance_format.width)]

    def result(self, pipe: Pipeline, deviation: Value, factor: Value,
               constant: Callable[[str, int], Value]) -> Value:
        # Stages 2 to 4: product; its last bit is dropped. Stage 5: bias.
        z = (pipe.multiply_wide(deviation, factor) >> 1)[:32].as_signed()
        total = Signal(shape_of(self.spec.out_format))
        pipe.m.d.comb += total.eq(z + constant("bias", 4))
        return pipe.reg(total)


GATES = LutLayerNorm
