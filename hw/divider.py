"""Division: a pipeline of one quotient per cycle, and a serial one for what runs once a row."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.add_subtract import AddSubtract
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.timing import Timing

__all__ = ["Reciprocal", "RoundedQuotient", "pipelined_fraction", "pipelined_reciprocal"]


def pipelined_fraction(pipe: Pipeline, numerator: Value, denominator: Value,
                       digits: int) -> Value:
    """Return `(numerator << digits) // denominator` for a numerator below its denominator.

    A numerator equal to its denominator gives all ones. Not restoring: a remainder below zero
    stays, and the denominator is added to it next.

    Latency
    -------
    `digits` stages.
    """
    remainder = Cat(numerator, Const(0, len(denominator) + 1 - len(numerator)))
    quotient = Const(0, 0)
    for _ in range(digits):
        doubled = Cat(Const(0, 1), remainder[:-1])
        rest = _rest(pipe, doubled, denominator, ~remainder[-1], Const(1))
        remainder = pipe.reg(rest)
        quotient = pipe.reg(Cat(~rest[-1], quotient))
        denominator = pipe.reg(denominator)
    return quotient


def pipelined_reciprocal(pipe: Pipeline, divisor: Value, digits: int) -> Value:
    """Return `(2**(digits + 1) - 1) // divisor` for divisors of at least 2.

    Not restoring, as `pipelined_fraction`, and triangular: the dividend is all ones, so after j
    digits the remainder has j bits, and only so much of the divisor is subtracted. As long as the
    divisor has bits above, nothing is.

    Latency
    -------
    `digits` stages.
    """
    # Whether the divisor has bits from every fourth place on is found once, and goes with it.
    above = {place: divisor[place:].any() for place in range(4, len(divisor), 4)}
    remainder = Const(1, 2)
    reaches = ~divisor[2:].any()
    quotient = Const(0, 0)
    for bits in range(2, digits + 2):
        rest = _rest(pipe, Cat(Const(1, 1), remainder), divisor[:bits], ~remainder[-1], reaches)
        remainder = pipe.reg(rest)
        quotient = pipe.reg(Cat(reaches & ~rest[-1], quotient))
        # Whether the divisor has bits above the next remainder is known a stage ahead.
        place = -(-(bits + 1) // 4) * 4
        higher = [divisor[bits + 1:place], above.get(place, Const(0))]
        reaches = pipe.reg(~Cat(*higher).any())
        above = {p: pipe.reg(bit) for p, bit in above.items() if p > bits + 1}
        divisor = pipe.reg(divisor)
    return quotient


def _rest(pipe: Pipeline, dividend: Value, divisor: Value, subtract: Value,
          reaches: Value) -> Value:
    """Return what one digit leaves: the dividend, less or plus the divisor if that reaches it."""
    adder = AddSubtract(len(dividend))
    pipe.m.submodules += adder
    pipe.m.d.comb += [adder.en.eq(reaches), adder.subtract.eq(subtract),
                      adder.a.eq(dividend), adder.b.eq(divisor)]
    return adder.o


class Reciprocal(wiring.Component):
    """`floor(numerator / divisor)` of a fixed numerator, one bit a cycle.

    Parameters
    ----------
    numerator : the fixed numerator; its low `quotient_width` bits must be all ones or all zeros.
    divisor_width : bits of the divisor, unsigned.
    quotient_width : bits of the quotient; it must fit, for every divisor that is offered.
    most_longer : by how many ones the numerator, then all ones, can be longer.

    Members
    -------
    i : divisors.
    longer : by how many ones the numerator of this divisor is longer; only with `most_longer`.
    o : quotients, in order. The next division runs while a quotient waits.

    Latency
    -------
    `quotient_width + 1` cycles from the edge that takes a divisor to the one that makes its
    quotient valid.

    Throughput
    ----------
    One quotient per `quotient_width + 1` cycles.
    """

    def __init__(self, numerator: int, divisor_width: int, quotient_width: int,
                 most_longer: int = 0) -> None:
        ones = (1 << quotient_width) - 1
        if numerator & ones not in (0, ones):
            raise ValueError(f"the low {quotient_width} bits of the numerator must be all equal, "
                             f"not {numerator & ones:#x}")
        if most_longer and numerator & (numerator + 1):
            raise ValueError(f"a numerator that can be longer must be all ones, "
                             f"not {numerator:#x}")
        self.numerator = numerator
        self.most_longer = most_longer
        self.divisor_width = divisor_width
        self.quotient_width = quotient_width
        longer = {"longer": In(range(most_longer + 1))} if most_longer else {}
        super().__init__({
            "i": In(stream.Signature(unsigned(divisor_width))),
            **longer,
            "o": Out(stream.Signature(unsigned(quotient_width))),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one divisor to the next."""
        return self.quotient_width + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        head = self.numerator >> self.quotient_width
        loaded = Cat(Const(head, head.bit_length()),
                     (self.longer > place for place in range(self.most_longer))
                     ) if self.most_longer else head
        tail_bit = Const(self.numerator & 1, 1)
        divisor = Signal(self.divisor_width, reset_less=True)
        # What they are loaded with is their initial value too, because a device's register knows
        # only one value to be set to.
        remainder = Signal(max(self.divisor_width, head.bit_length()), init=head, reset_less=True)
        # A one at the top falls out of the quotient after its last bit.
        quotient = Signal(self.quotient_width + 1, init=1, reset_less=True)
        done = quotient[-1]
        running = Signal()

        # One restoring step a cycle.
        dividend = Cat(tail_bit, remainder)
        trial = Signal(len(remainder) + 2)
        m.d.comb += trial.eq(dividend - divisor)
        fits = ~trial[-1]

        # A finished quotient moves on as soon as the last one is taken.
        move = Signal()
        m.d.comb += move.eq(running & done & (~self.o.valid | self.o.ready))
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move):
            m.d.sync += [self.o.valid.eq(1), self.o.payload.eq(quotient)]

        # The next divisor is taken in the same cycle.
        m.d.comb += self.i.ready.eq(~running | move)
        with m.If(self.i.ready):
            m.d.sync += running.eq(self.i.valid)
            m.d.sync += [divisor.eq(self.i.payload), remainder.eq(loaded), quotient.eq(1)]
        with m.Elif(~done):
            m.d.sync += [
                remainder.eq(Mux(fits, trial, dividend)),
                quotient.eq(Cat(fits, quotient)),
            ]
        return m


class RoundedQuotient(wiring.Component):
    """The integer nearest to `dividend / divisor`, ties to even, one bit a cycle.

    Parameters
    ----------
    divisor_width : bits of the divisor, unsigned.
    quotient_width : bits of the quotient; it must fit, for every pair that is offered.

    Members
    -------
    i : dividends and divisors.
    o : quotients, in order. No division runs while a quotient waits.

    Latency
    -------
    `divisor_width + quotient_width + 1` cycles from the edge that takes a pair to the one that
    makes its quotient valid.
    """

    def __init__(self, divisor_width: int, quotient_width: int) -> None:
        self.pair = data.StructLayout({"dividend": divisor_width + quotient_width,
                                       "divisor": divisor_width})
        super().__init__({
            "i": In(stream.Signature(self.pair)),
            "o": Out(stream.Signature(unsigned(quotient_width))),
        })

    @property
    def timing(self) -> Timing:
        """Cycles from the edge that takes a pair."""
        digits = self.pair["dividend"].width
        return Timing(latency_fixed=digits + 1, interval_min=digits + 2)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits = self.pair["dividend"].width
        divisor = Signal(self.pair["divisor"].width, reset_less=True)
        remainder = Signal.like(divisor)
        # What is left of the dividend, and behind it the quotient's digits so far.
        rest = Signal(digits, reset_less=True)
        step = Signal(range(digits))
        up = Signal()

        # One restoring step a cycle, and one more that compares the remainder with half of the
        # divisor: by then the leading digit of the quotient, a zero, is what comes down.
        trial = Signal(len(divisor) + 2)
        brought = Cat(rest[-1], remainder)
        m.d.comb += trial.eq(brought - divisor)
        fits = ~trial[-1]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [divisor.eq(self.i.payload.divisor), rest.eq(self.i.payload.dividend),
                             remainder.eq(0), step.eq(digits - 1)]
                with m.If(self.i.valid):
                    m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.sync += [remainder.eq(Mux(fits, trial, brought)), rest.eq(Cat(fits, rest)),
                             step.eq(step - 1)]
                with m.If(step == 0):
                    m.next = "ROUND"
            with m.State("ROUND"):
                m.d.sync += up.eq(fits & (rest[0] | trial.any()))
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.o.valid.eq(1), self.o.payload.eq(rest + up)]
                with m.If(self.o.ready):
                    m.next = "IDLE"
        return m
