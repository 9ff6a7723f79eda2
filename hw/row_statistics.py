"""Mean, variance sum and its root of a row, from two sums: what LayerNorm does once a row."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.layernorm_newton import NewtonSpec

__all__ = ["MeanVariance", "RowSums", "SquareRoot"]


class RowSums(data.StructLayout):
    """Sum, sum of squares and number of elements of a row."""

    def __init__(self, spec: NewtonSpec) -> None:
        super().__init__({
            "total": shape_of(spec.sum_format),
            "squares": shape_of(spec.square_sum_format),
            "count": shape_of(spec.count_format),
        })


class MeanVariance(wiring.Component):
    """Rounded mean and sum of squared deviations from it, exact, from the sums of one pass.

    With `T = |sum|`, quotient `q` and remainder `r` of `T / count` and the rounding `d` (0 or 1),
    the mean is `M = q + d` and `sum (x - M)**2 = squares - M * (2T - count * M)`, where
    `2T - count * M = T + r - d * count` needs no product.

    Members
    -------
    i : row sums.
    mean, variance : results, valid together.

    Latency
    -------
    `in_width + 7` cycles from the edge that takes the sums to the one that makes results valid.
    """

    def __init__(self, spec: NewtonSpec) -> None:
        self.spec = spec
        result = data.StructLayout({"mean": shape_of(spec.deviation_format),
                                    "variance": shape_of(spec.square_sum_format)})
        super().__init__({
            "i": In(stream.Signature(RowSums(spec))),
            "o": Out(stream.Signature(result)),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one row to the next."""
        return self.spec.in_width + 9

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        digits = spec.in_width
        total = Signal(unsigned(spec.sum_format.width), reset_less=True)
        negative = Signal(reset_less=True)
        squares = Signal(shape_of(spec.square_sum_format), reset_less=True)
        count = Signal(shape_of(spec.count_format), reset_less=True)
        remainder = Signal(len(count), reset_less=True)
        rest = Signal(digits, reset_less=True)
        quotient = Signal(digits, reset_less=True)
        step = Signal(range(digits))
        mean = Signal(digits, reset_less=True)
        weight = Signal(len(total) + 1, reset_less=True)
        product = Pipeline(m, Const(1)).multiply_wide(mean, weight)

        trial = Signal(len(count) + 2)
        shifted = Cat(rest[-1], remainder)
        m.d.comb += trial.eq(shifted - count)
        doubled = Cat(Const(0, 1), remainder)
        up = Signal()

        incoming = self.i.payload
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                magnitude = Signal.like(total)
                m.d.comb += magnitude.eq(Mux(incoming.total < 0, -incoming.total, incoming.total))
                m.d.sync += [
                    total.eq(magnitude),
                    negative.eq(incoming.total < 0),
                    squares.eq(incoming.squares),
                    count.eq(incoming.count),
                    step.eq(digits - 1),
                ]
                with m.If(self.i.valid):
                    m.next = "ALIGN"
            with m.State("ALIGN"):
                m.d.sync += [remainder.eq(total >> digits), rest.eq(total)]
                m.next = "DIVIDE"
            with m.State("DIVIDE"):
                fits = ~trial[-1]
                m.d.sync += [
                    remainder.eq(Mux(fits, trial, shifted)),
                    rest.eq(rest << 1),
                    quotient.eq(Cat(fits, quotient)),
                    step.eq(step - 1),
                ]
                with m.If(step == 0):
                    m.next = "TIE"
            with m.State("TIE"):
                m.d.sync += up.eq((doubled > count) | ((doubled == count) & quotient[0]))
                m.next = "ROUND"
            with m.State("ROUND"):
                m.d.sync += [
                    mean.eq(quotient + up),
                    weight.eq(total + remainder - Mux(up, count, 0)),
                ]
                m.next = "MULTIPLY 1"
            for wait in (1, 2, 3):
                with m.State(f"MULTIPLY {wait}"):
                    m.next = f"MULTIPLY {wait + 1}"
            with m.State("MULTIPLY 4"):
                m.d.sync += [
                    self.o.payload.mean.eq(Mux(negative, -mean, mean)),
                    self.o.payload.variance.eq(squares - product),
                    self.o.valid.eq(1),
                ]
                m.next = "OFFER"
            with m.State("OFFER"):
                with m.If(self.o.ready):
                    m.d.sync += self.o.valid.eq(0)
                    m.next = "IDLE"
        return m


class SquareRoot(wiring.Component):
    """Floor of a square root, one bit a cycle; at least 1, so that it can divide.

    Members
    -------
    i : values.
    o : roots.

    Latency
    -------
    `width / 2 + 1` cycles from the edge that takes a value to the one that makes its root valid.
    """

    def __init__(self, width: int) -> None:
        self.digits = (width + 1) // 2
        super().__init__({
            "i": In(stream.Signature(unsigned(width))),
            "o": Out(stream.Signature(unsigned(self.digits))),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one value to the next."""
        return self.digits + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits = self.digits
        rest = Signal(2 * digits, reset_less=True)
        remainder = Signal(digits + 2, reset_less=True)
        root = Signal(digits, reset_less=True)
        step = Signal(range(digits))
        trial = Signal(digits + 3)
        shifted = Cat(rest[-2:], remainder[:digits])
        m.d.comb += trial.eq(shifted - Cat(Const(1, 2), root))

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [rest.eq(self.i.payload), remainder.eq(0), root.eq(0),
                             step.eq(digits - 1)]
                with m.If(self.i.valid):
                    m.next = "STEP"
            with m.State("STEP"):
                fits = ~trial[-1]
                m.d.sync += [
                    remainder.eq(Mux(fits, trial, shifted)),
                    root.eq(Cat(fits, root)),
                    rest.eq(rest << 2),
                    step.eq(step - 1),
                ]
                with m.If(step == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(Mux(root == 0, 1, root))]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
