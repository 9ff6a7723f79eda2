"""GELU as a rectifier less a bump of 16 lines, golden model `vitrtl.sw.golden.gelu_pwl`."""

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.gelu_pwl import (
    BASES,
    FRACTION,
    INVERSE_FRACTION,
    SEGMENT_WIDTH,
    SLOPE_FRACTION,
    SLOPES,
    PwlSpec,
)
from vitrtl.sw.golden.operand_affine import OPERAND_FORMAT

__all__ = ["GATES", "PwlGelu"]

SEGMENT_BITS = 4
"""Address bits of the tables, as many as one lookup table of the device takes."""


class PwlGelu(Elementwise):
    """`o = max(v, 0) - (base[k] + slope[k] * r)`, `v` the real value, `k` and `r` bits of `|v|`.

    With the requantizer merged, `o` is that times the inverse of the output scale, rounded and
    saturated.

    Latency
    -------
    8 cycles: value (2), magnitude, tables, product (2), bump, difference; 11 with the requantizer
    merged: in place of the difference its product (2), saturation and rounding.
    """

    def __init__(self, spec: PwlSpec) -> None:
        super().__init__(spec)
        self.STAGES = 11 if spec.merged else 8

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        gain = config.scalar("gain")
        inverse = config.scalar("inverse") if spec.merged else None

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

            # Stage 8, where it is the last one.
            result = Signal(shape_of(spec.value_format))
            m.d.comb += result.eq(pipe.reg(positive, 4) - bump)
            return to_operand(pipe, result, inverse) if spec.merged else pipe.reg(result)

        return lane


def to_operand(pipe: Pipeline, result: Value, inverse: Value) -> Value:
    """Return a GELU result over the output scale, rounded and saturated.  Latency: 4 stages."""
    # Stages 8 and 9: the quotient, as a product. Only above can it leave the format.
    shift = FRACTION + INVERSE_FRACTION
    product = pipe.multiply(result, inverse)
    sign, body = product[-1], product[shift - 1:shift + OPERAND_FORMAT.width - 1]

    # Stage 10: the result and its half, set to the largest if it would be rounded beyond.
    beyond = ~sign & (product[shift + OPERAND_FORMAT.width - 1:-1].any() | body.all())
    kept = pipe.reg(Cat(Mux(beyond, OPERAND_FORMAT.hi << 1, body), sign)).as_signed()

    # Stage 11.
    rounded = Signal(shape_of(OPERAND_FORMAT))
    pipe.m.d.comb += rounded.eq((kept + 1) >> 1)
    return pipe.reg(rounded)


GATES = PwlGelu
