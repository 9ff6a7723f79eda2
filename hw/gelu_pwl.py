"""GELU as a rectifier less a bump of 16 lines, golden model `vitrtl.sw.golden.gelu_pwl`."""

from collections.abc import Callable

from amaranth.hdl import Array, Module, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.gelu_pwl import BASES, FRACTION, SEGMENT_WIDTH, SLOPE_FRACTION, SLOPES

__all__ = ["GATES", "PwlGelu"]

SEGMENT_BITS = 4
"""Address bits of the tables, as many as one lookup table of the device takes."""


class PwlGelu(Elementwise):
    """`o = max(v, 0) - (base[k] + slope[k] * r)`, `v` the real value, `k` and `r` bits of `|v|`.

    Latency
    -------
    8 cycles: value (2), magnitude, tables, product (2), bump, difference.
    """

    STAGES = 8

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        gain = config.scalar("gain")

        def lane(index: int, x: Value) -> Value:
            # Stages 1 and 2: the real value in fixed point.
            value = Signal(shape_of(spec.value_format))
            m.d.comb += value.eq(pipe.multiply(x, gain) >> (spec.gain_fraction - FRACTION))

            # Stage 3: its magnitude, less one last place below zero, and its positive part.
            negative = value[-1]
            magnitude = (value[:-1] ^ negative.replicate(len(value) - 1))
            place = pipe.reg(magnitude[:SEGMENT_WIDTH])
            segment = pipe.reg(magnitude[SEGMENT_WIDTH:SEGMENT_WIDTH + SEGMENT_BITS])
            beyond = pipe.reg(magnitude[SEGMENT_WIDTH + SEGMENT_BITS:].any())
            positive = pipe.reg(Mux(negative, 0, value))

            # Stage 4: the line; from 4 on there is no bump.
            slope = pipe.reg(Mux(beyond, 0, Array(SLOPES)[segment]))
            base = pipe.reg(Mux(beyond, 0, Array(BASES)[segment]))

            # Stages 5 to 7: the bump.
            product = pipe.multiply(slope, pipe.reg(place))
            bump = pipe.reg((product >> SLOPE_FRACTION) + pipe.reg(base, 2))

            # Stage 8.
            result = Signal(shape_of(spec.out_format))
            m.d.comb += result.eq(pipe.reg(positive, 4) - bump)
            return pipe.reg(result)

        return lane


GATES = PwlGelu
