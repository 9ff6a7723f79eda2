"""A row of a LayerNorm: two sums; mean and variance from these; a root, a table of roots."""

from collections.abc import Iterable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowIntake
from vitrtl.hw.running_sums import RunningSums
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.layernorm_common import LayerNormSpec
from vitrtl.sw.golden.reciprocal_root import (
    FACTOR_FORMAT,
    INDEX_BITS,
    ROOT_FORMAT,
    ROOTS,
    normalised_width,
)

__all__ = ["SQUARE_STAGES", "MeanVariance", "ReciprocalRoot", "RowSums", "SquareRoot",
           "element_terms", "row_sums"]

SQUARE_STAGES = 2
"""Stages from an element to its square."""


class RowSums(data.StructLayout):
    """Sum and sum of squares of a row and, where they are counted, its number of elements."""

    def __init__(self, spec: LayerNormSpec, counted: bool = True) -> None:
        super().__init__({
            "total": shape_of(spec.sum_format),
            "squares": shape_of(spec.square_sum_format),
        } | ({"count": shape_of(spec.count_format)} if counted else {}))


def element_terms(pipe: Pipeline, intake: RowIntake,
                  elements: Iterable[Value]) -> list[tuple[Value, Value]]:
    """Return each lane's element and, `SQUARE_STAGES` later, its square, zero for padding."""
    kept = [Mux(keep, x, 0).as_signed() for keep, x in zip(intake.keep, elements, strict=True)]
    return [(x, pipe.multiply(x, x)) for x in kept]


def row_sums(m: Module, spec: LayerNormSpec, run: Pipeline, intake: RowIntake,
             terms: list[tuple[Value, Value]], take: ValueLike,
             counted: bool = True) -> RunningSums:
    """Add up each row as it comes in, let the next row in meanwhile, and return its `RowSums`.

    Parameters
    ----------
    m : module that holds the state.
    run : stages that advance in every cycle.
    intake : where rows come in.
    terms : what each lane adds, zero for padding: an element as the buffer takes it, and its
        square, `SQUARE_STAGES` later.
    take : the next stage takes the sums; only while they are valid.
    counted : whether elements are counted as well.
    """
    columns = {
        "total": [run.reg(element, SQUARE_STAGES) for element, _ in terms],
        "squares": [square[:2 * spec.element_format.width - 1] for _, square in terms],
    }
    stages = intake.encoder_stages + SQUARE_STAGES
    valid = run.reg(intake.transfer, stages, reset_less=False)
    if counted:
        columns["count"] = [Const(1)] if spec.lanes == 1 else [run.reg(keep, stages)
                                                               for keep in intake.keep]
    sums = RunningSums(m, RowSums(spec, counted), run, columns, valid,
                       run.reg(intake.last, stages), intake.gate.starts, take)
    m.d.comb += intake.may_start.eq(sums.may_start)
    return sums


class MeanVariance(wiring.Component):
    """Rounded mean and sum of squared deviations from it, exact, from the sums of one pass.

    With quotient `q` and remainder `r` of `total / count` and the rounding `d` (0 or 1), the mean
    is `M = q + d` and `sum (x - M)**2 = squares - M * (2 * total - count * M)`, where
    `2 * total - count * M = total + (r - d * count)` needs no product. The mean has
    `mean_fraction` bits below the elements, as if the elements came with so many zeros.

    Members
    -------
    i : row sums.
    o : mean and variance sum, which is zero where the sums would give less.

    Latency
    -------
    `cycles - 2` from the edge that takes the sums to the one that makes results valid.
    """

    def __init__(self, spec: LayerNormSpec) -> None:
        self.spec = spec
        result = data.StructLayout({"mean": shape_of(spec.mean_format),
                                    "variance": shape_of(spec.variance_format)})
        super().__init__({
            "i": In(stream.Signature(RowSums(spec))),
            "o": Out(stream.Signature(result)),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one row to the next."""
        return self.spec.mean_format.width + 9

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        digits, fraction = spec.mean_format.width, spec.mean_fraction
        below = Const(0, fraction)
        total = Signal(shape_of(spec.sum_format), reset_less=True)
        squares = Signal(shape_of(spec.square_sum_format), reset_less=True)
        count = Signal(shape_of(spec.count_format), reset_less=True)
        remainder = Signal(len(count), reset_less=True)
        excess = Signal(signed(len(count) + 1), reset_less=True)
        rest = Signal(digits, reset_less=True)
        quotient = Signal(digits, reset_less=True)
        up = Signal()
        step = Signal(range(digits))
        mean = Signal(shape_of(spec.mean_format), reset_less=True)
        weight = Signal(signed(len(total) + fraction + 1), reset_less=True)
        product = Pipeline(m, Const(1)).multiply_wide(mean, weight)
        variance = Signal(signed(spec.variance_format.width + 1))
        m.d.comb += variance.eq(Cat(below, below, squares) - product)
        # Exact squares never add up to less than the product.
        negative = Const(0) if spec.exact_squares else variance[-1]

        # One restoring step a cycle, and one more that compares the remainder with half of the
        # count.
        trial = Signal(len(count) + 2)
        brought = Cat(rest[-1], remainder)
        m.d.comb += trial.eq(brought - count)
        fits = ~trial[-1]

        incoming = self.i.payload
        with m.FSM():
            with m.State("IDLE"):
                # Divide what lies above zero: the sum of the elements plus half of their range.
                places = spec.element_format.width - 1
                high = Signal(len(count) + 1)
                m.d.comb += [self.i.ready.eq(1),
                             high.eq((incoming.total >> places) + incoming.count)]
                m.d.sync += [
                    total.eq(incoming.total),
                    squares.eq(incoming.squares),
                    count.eq(incoming.count),
                    remainder.eq(high >> 1),
                    rest.eq(Cat(below, incoming.total[:places], high[0])),
                    step.eq(digits - 1),
                ]
                with m.If(self.i.valid):
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.sync += [
                    remainder.eq(Mux(fits, trial, brought)),
                    rest.eq(rest << 1),
                    quotient.eq(Cat(fits, quotient)),
                    step.eq(step - 1),
                ]
                with m.If(step == 0):
                    m.next = "TIE"
            with m.State("TIE"):
                m.d.sync += up.eq(fits & (quotient[0] | trial.any()))
                m.next = "ROUND"
            with m.State("ROUND"):
                m.d.sync += [
                    mean.eq(Cat(quotient[:-1], ~quotient[-1]) + up),
                    excess.eq(remainder - Mux(up, count, 0)),
                ]
                m.next = "WEIGH"
            with m.State("WEIGH"):
                m.d.sync += weight.eq(Cat(below, total).as_signed() + excess)
                m.next = "MULTIPLY 1"
            for wait in (1, 2, 3):
                with m.State(f"MULTIPLY {wait}"):
                    m.next = f"MULTIPLY {wait + 1}"
            with m.State("MULTIPLY 4"):
                m.d.sync += [
                    self.o.payload.mean.eq(mean),
                    self.o.payload.variance.eq(Mux(negative, 0, variance)),
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


class ReciprocalRoot(wiring.Component):
    """`vitrtl.sw.golden.reciprocal_root`: a table of roots between two shifts, a step a cycle.

    The value needs n steps up to be normalised, and the table's word all but n steps down; so the
    sum of both is always the same.

    Parameters
    ----------
    width : bits of the value, unsigned.

    Members
    -------
    i : values.
    o : reciprocal roots. The next one is looked up while one waits.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__({
            "i": In(stream.Signature(unsigned(width))),
            "o": Out(stream.Signature(shape_of(FACTOR_FORMAT))),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one value to the next."""
        return normalised_width(self.width) // 2 + 5

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = normalised_width(self.width)
        value = Signal(width, reset_less=True)
        factor = Signal(shape_of(FACTOR_FORMAT), reset_less=True)
        left = Signal(range(width // 2))
        m.submodules.roots = roots = memory.Memory(
            shape=ROOT_FORMAT.width, depth=len(ROOTS), init=ROOTS.tolist(),
            attrs={"rom_style": "block"})
        root = roots.read_port()
        word = Signal(ROOT_FORMAT.width, reset_less=True)
        m.d.comb += [root.en.eq(1), root.addr.eq(value[-INDEX_BITS:])]
        m.d.sync += word.eq(root.data)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [value.eq(self.i.payload), left.eq(width // 2 - 1)]
                with m.If(self.i.valid):
                    m.next = "UP"
            with m.State("UP"):
                with m.If(value[-2:].any() | (left == 0)):
                    m.next = "READ"
                with m.Else():
                    m.d.sync += [value.eq(value << 2), left.eq(left - 1)]
            with m.State("READ"):
                m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += factor.eq(word << 15)
                m.next = "DOWN"
            with m.State("DOWN"):
                with m.If(left == 0):
                    m.next = "OFFER"
                with m.Else():
                    m.d.sync += [factor.eq(factor >> 1), left.eq(left - 1)]
            with m.State("OFFER"):
                with m.If(~self.o.valid | self.o.ready):
                    m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(factor)]
                    m.next = "IDLE"
        return m
