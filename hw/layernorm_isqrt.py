"""i-LayerNorm of I-BERT, golden model `vitrtl.sw.golden.layernorm_isqrt`."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row_statistics import SquareRoot
from vitrtl.hw.stream import shape_of
from vitrtl.hw.timing import Timing
from vitrtl.hw.two_pass_layernorm import TwoPassLayerNorm
from vitrtl.sw.golden.layernorm_isqrt import IsqrtSpec

__all__ = ["GATES", "IsqrtLayerNorm"]


class IsqrtLayerNorm(TwoPassLayerNorm):
    """`o = ((i - mean) * floor(2**31 / (floor(sqrt(V)) << shift)) >> 2) + bias`.

    `V` sums the squares of `(i - mean) >> shift`.
    """

    TERM_STAGES = 4
    DROPPED = 2

    def __init__(self, spec: IsqrtSpec) -> None:
        self._root = SquareRoot(spec.radicand_format.width)
        self._reciprocal = ShiftedReciprocal(spec)
        super().__init__(spec)

    def term(self, pipe: Pipeline, config: ConfigBank, deviation: Value) -> Value:
        shifted = pipe.shift_right(deviation, config.scalar("shift"), len(deviation)).as_signed()
        return pipe.multiply(shifted, shifted).as_unsigned()

    @property
    def factor_timing(self) -> Timing:
        root, reciprocal = self._root.cycles, self._reciprocal.cycles
        return Timing(latency_fixed=root + reciprocal - 2, interval_min=max(root, reciprocal))

    def factor(self, m: Module,
               config: ConfigBank) -> tuple[wiring.PureInterface, wiring.PureInterface]:
        m.submodules.root = root = self._root
        m.submodules.reciprocal = reciprocal = self._reciprocal
        m.d.comb += reciprocal.shift.eq(config.scalar("shift"))
        wiring.connect(m, root.o, reciprocal.i)
        return root.i, reciprocal.o


class ShiftedReciprocal(wiring.Component):
    """`floor(2**31 / (divisor << shift))`, one bit a cycle.

    The divisor is not shifted: the last `shift` digits of `2**31 / divisor` are left away.

    Members
    -------
    shift : run-time constant.
    i : divisors, at least 1.
    o : quotients, in order. The next division runs while a quotient waits.

    Latency
    -------
    `cycles - 1` from the edge that takes a divisor to the one that makes its quotient valid.
    """

    DIGITS = 32

    def __init__(self, spec: IsqrtSpec) -> None:
        self.spec = spec
        super().__init__({
            "shift": In(shape_of(spec.shift_format)),
            "i": In(stream.Signature(shape_of(spec.root_format))),
            "o": Out(stream.Signature(shape_of(spec.factor_format))),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one divisor to the next."""
        return self.DIGITS + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        divisor = Signal.like(self.i.payload, reset_less=True)
        remainder = Signal.like(divisor)
        quotient = Signal(self.DIGITS, reset_less=True)
        step = Signal(range(self.DIGITS), reset_less=True)
        running, done = Signal(), Signal()

        # One restoring step a cycle; of the dividend's bits only the first is a one.
        trial = Signal(len(divisor) + 2)
        brought = Cat(step == self.DIGITS - 1, remainder)
        m.d.comb += trial.eq(brought - divisor)
        fits = ~trial[-1]
        with m.If(running & ~done):
            m.d.sync += [remainder.eq(Mux(fits, trial, brought)), step.eq(step - 1),
                         done.eq(step == 0)]
            with m.If(step >= self.shift):
                m.d.sync += quotient.eq(Cat(fits, quotient))

        # A finished quotient moves on as soon as the last one is taken; the next divisor is taken
        # in the cycle after, so that no handshake goes through.
        move = Signal()
        m.d.comb += [move.eq(done & (~self.o.valid | self.o.ready)), self.i.ready.eq(~running)]
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(quotient), running.eq(0),
                         done.eq(0)]
        with m.If(self.i.ready):
            m.d.sync += [running.eq(self.i.valid), divisor.eq(self.i.payload), remainder.eq(0),
                         quotient.eq(0), step.eq(self.DIGITS - 1)]
        return m


GATES = IsqrtLayerNorm
