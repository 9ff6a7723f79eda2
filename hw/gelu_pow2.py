"""ShiftGELU at scales that make an octave a power of two.

Golden model `vitrtl.sw.golden.gelu_pow2`.
"""

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.sw.golden.gelu_pow2 import sigmoid_of

__all__ = ["GATES", "Pow2Gelu"]


class Pow2Gelu(Elementwise):
    """`o = i * sigmoid`, `sigmoid = (2**(e + w) - 1) // (2**e + E)`, its complement below zero.

    Latency
    -------
    8 cycles: distance, its alignment (2), exponential (2), sigmoid, product (2).
    """

    STAGES = 8

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        exponent = config.scalar("exponent")
        # One less the sigmoid, for every exponential that there is; 0 for 0.
        ones = (1 << spec.sigmoid_width) - 1
        rests = Array(Const(ones - sigmoid_of(e, spec), spec.sigmoid_width)
                      for e in range(1 << spec.exp_width))

        def lane(index: int, x: Value) -> Value:
            # Stages 1 to 3: the distance below zero, octaves above the point.
            distance = Signal(signed(spec.in_width))
            m.d.comb += distance.eq(Mux(x < 0, x, -x))
            width = spec.distance_format.width
            aligned = pipe.shift_right_sparse(pipe.reg(distance) << spec.finest, exponent, width)

            # Stages 4 and 5: the exponential. Octave -1 is not shifted, -2 by one and so on.
            octave = ~aligned[spec.finest:]
            amount = octave[:spec.exp_width.bit_length()]
            beyond = octave[len(amount):].any()
            mantissa = Cat(aligned[:spec.finest], Const(1, 1))
            fraction = (mantissa << spec.exp_width) >> (spec.finest + 1)
            e = pipe.shift_right(fraction, amount, spec.exp_width)

            # Stage 6: the quotient, from a table.
            rest = pipe.reg(Mux(pipe.reg(beyond, 2), 0, rests[e]))

            # Stages 7 and 8: all ones less the rest is its complement.
            x = pipe.reg(x, 6)
            return pipe.multiply(x, Mux(x < 0, rest, ~rest))

        return lane


GATES = Pow2Gelu
