"""ShiftGELU without the row, golden model `vitrtl.sw.golden.gelu_shiftgelu_elem`."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value, signed

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import pipelined_fraction
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.shift_exp import PARTS_STAGES, SHIFT_STAGES, shift_exp_parts, shift_exp_value
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.gelu_shiftgelu_elem import ShiftgeluElemSpec

__all__ = ["GATES", "ShiftgeluElem"]


class ShiftgeluElem(Elementwise):
    """`o = i * sigmoid`, `sigmoid = (E if i < 0 else one) * 2**w // (one + E)`.

    Latency
    -------
    Distance, exponential (5 + 2), sum, one cycle per bit of the sigmoid, product (2).
    """

    def __init__(self, spec: ShiftgeluElemSpec) -> None:
        super().__init__(spec)
        self.STAGES = 1 + PARTS_STAGES + SHIFT_STAGES + 1 + spec.sigmoid_width + 2

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        i0, reciprocal = config.scalar("i0"), config.scalar("reciprocal")

        def lane(index: int, x: Value) -> Value:
            # The exponential of the element's distance below zero, in finer codes.
            distance = Signal(signed(spec.distance_width))
            m.d.comb += distance.eq(Mux(x < 0, x, -x) << spec.finer)
            u, q = shift_exp_parts(pipe, pipe.reg(distance), spec, i0, reciprocal, floor=False)
            e = shift_exp_value(pipe, u, q, spec.n)

            # Numerator and denominator.
            before_sum = 1 + PARTS_STAGES + SHIFT_STAGES
            one = Value.cast(i0 << spec.n)
            total = Signal(shape_of(spec.sum_format))
            m.d.comb += total.eq(e + one)
            numerator = pipe.reg(Mux(pipe.reg(x[-1], before_sum), e, one))
            sigmoid = pipelined_fraction(pipe, numerator, pipe.reg(total), spec.sigmoid_width)

            return pipe.multiply(pipe.reg(x, before_sum + 1 + spec.sigmoid_width), sigmoid)

        return lane


GATES = ShiftgeluElem
