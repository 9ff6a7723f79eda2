"""Poly-GELU of IPTQ-ViT, golden model `vitrtl.sw.golden.gelu_poly4`."""

from collections.abc import Callable

from amaranth.hdl import Module, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of

__all__ = ["GATES", "Poly4Gelu"]


class Poly4Gelu(Elementwise):
    """`o = i * P` below zero and `i * (1 - P)` from there on, `P = max(knee - |i| * gain, 0)**4`.

    Latency
    -------
    10 cycles: magnitude, its gain (2), distance, square (2), fourth power (2), product (2).
    """

    STAGES = 10

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        width = spec.inner_width
        knee, gain = config.scalar("knee"), config.scalar("gain")

        def lane(index: int, x: Value) -> Value:
            # Stages 1 to 3: magnitude, in the polynomial's unit.
            magnitude = pipe.reg(Mux(x < 0, -x, x).as_unsigned()[:spec.in_width])
            scaled = pipe.multiply(magnitude, gain) >> (spec.gain_fraction - width)

            # Stage 4: distance below the knee, and whether it is beyond.
            distance = Signal(shape_of(spec.distance_format))
            m.d.comb += distance.eq(knee - scaled)
            beyond = pipe.reg(distance[-1], 5)

            # Stages 5 to 8: its fourth power, of which nothing is left beyond.
            distance = pipe.reg(distance[:width])
            square = pipe.multiply(distance, distance)[width:]
            power = Mux(beyond, 0, pipe.multiply(square, square)[width:])

            # Stages 9 and 10: all ones less the power is its complement.
            x = pipe.reg(x, 8)
            return pipe.multiply(x, Mux(x < 0, power, ~power))

        return lane


GATES = Poly4Gelu
