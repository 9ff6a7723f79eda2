"""i-GELU of I-BERT, golden model `vitrtl.sw.golden.gelu_ierf`."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value, signed, unsigned

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of

__all__ = ["GATES", "IerfGelu"]


class IerfGelu(Elementwise):
    """`o = i * (y + one)` with `y = sgn(i) * ((min(|i|, -B) + B)**2 + C)`.

    Latency
    -------
    7 cycles: magnitude, square (2), polynomial, its sign, product (2).
    """

    STAGES = 7

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        knee, constant, one = (config.scalar(name) for name in ("knee", "constant", "one"))

        def lane(index: int, x: Value) -> Value:
            # Stage 1: magnitude.
            magnitude = pipe.reg(Mux(x < 0, -x, x).as_unsigned()[:spec.in_width])

            # Stages 2 and 3: the square of the distance below the knee.
            below = Signal(shape_of(spec.knee_format))
            with m.If(magnitude < knee):
                m.d.comb += below.eq(knee - magnitude)
            square = pipe.multiply(below, below)

            # Stages 4 and 5: the polynomial, first without its sign; C outweighs the square.
            bulk = Signal(unsigned(spec.coefficient_width))
            m.d.comb += bulk.eq(constant - square)
            bulk_reg = pipe.reg(bulk)

            x_reg = pipe.reg(x, 4)
            y = Signal(shape_of(spec.polynomial_format))
            with m.If(x_reg < 0):
                m.d.comb += y.eq(bulk_reg >> spec.n)
            with m.Elif(x_reg > 0):
                m.d.comb += y.eq((-bulk_reg) >> spec.n)

            # Stages 6 and 7: one - y is never negative, so that 18 bits hold it.
            weight = Signal(unsigned(spec.coefficient_width + 1))
            m.d.comb += weight.eq(one - pipe.reg(y))
            negated = Signal(signed(spec.in_width + 1))
            m.d.comb += negated.eq(-pipe.reg(x_reg))
            return pipe.multiply(negated, weight)

        return lane


GATES = IerfGelu
