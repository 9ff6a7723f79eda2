"""ShiftGELU as I-ViT publishes it, golden model `vitrtl.sw.golden.gelu_shiftgelu`."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import pipelined_reciprocal
from vitrtl.hw.row import RowBuffer, RowEmit, RowIntake, maximum_stages, row_maximum
from vitrtl.hw.shift_exp import PARTS_STAGES, SHIFT_STAGES, shift_exp_parts, shift_exp_value
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.gelu_shiftgelu import ShiftgeluSpec

__all__ = ["GATES", "Shiftgelu"]


class Shiftgelu(wiring.Component):
    """`o = i * ((e * floor((2**31 - 1) / s)) >> (31 - w))`, `s = min(e + e0, 2**31 - 1)`.

    `e = ShiftExp(i - max i)` per element, `e0 = ShiftExp(-max i)` per row. The published sigmoid
    needs the floored reciprocal of every element's own denominator, so a full divider stands in
    the stream; `gelu_shiftgelu_elem` does without.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    One row, `e0`, then the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than `e0` takes.
    """

    QUOTIENT_DIGITS = 30
    """`s` is at least 2: each exponential is at least 1."""

    def __init__(self, spec: ShiftgeluSpec) -> None:
        self.spec = spec
        self._row_exp = RowExp(spec)
        super().__init__(vector_signature(spec))

    @property
    def out_stages(self) -> int:
        """Stages from the row buffer to the output."""
        return 1 + PARTS_STAGES + SHIFT_STAGES + 1 + self.QUOTIENT_DIGITS + 2 + 1 + 2 + 2

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        return Timing(latency_fixed=1 + maximum_stages(self.spec) + self._row_exp.cycles
                      + self.out_stages + RowBuffer.LATENCY,
                      latency_per_beat=1, interval_min=self._row_exp.cycles)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        width = spec.in_width

        # Take rows, find their maximum.
        intake = RowIntake(m, spec, self)
        config = ConfigBank(m, spec, self.c, intake.idle)
        i0, reciprocal = config.scalar("i0"), config.scalar("reciprocal")
        take_max = Signal()
        maximum = row_maximum(m, spec, self, intake, take_max)

        # Beside the stream, once a row: the exponential of the maximum's distance to zero.
        m.submodules.row_exp = row_exp = self._row_exp
        m.d.comb += [
            row_exp.i0.eq(i0),
            row_exp.i.valid.eq(maximum.valid),
            row_exp.i.payload.eq(maximum.value),
            take_max.eq(maximum.valid & row_exp.i.ready),
        ]

        # Read the row again.
        emit = RowEmit(m, spec, self.o, intake.buffer, row_exp.o.valid, queued=self.out_stages)
        pipe = emit.pipe
        m.d.comb += row_exp.o.ready.eq(emit.ends)
        row_max = row_exp.o.payload.largest
        row_e0 = pipe.reg(row_exp.o.payload.e0, 1 + PARTS_STAGES + SHIFT_STAGES)

        def lane(index: int) -> Value:
            element = emit.fields[index * width:(index + 1) * width].as_signed()
            distance = Signal(signed(width + 1))
            m.d.comb += distance.eq(element - row_max)

            # Stages 1 to 8: the exponential. Stage 9: the clamped denominator.
            u, q = shift_exp_parts(pipe, pipe.reg(distance), spec, i0, reciprocal)
            e = shift_exp_value(pipe, u, q, spec.n)
            total = Signal(unsigned(32))
            m.d.comb += total.eq(e + row_e0)
            clamped = pipe.reg(Mux(total[31], spec.sum_format.hi, total[:31]))

            # The division, then e times its quotient: u first, its shift at the end.
            factor = pipelined_reciprocal(pipe, clamped, self.QUOTIENT_DIGITS)
            wait = SHIFT_STAGES + 1 + self.QUOTIENT_DIGITS
            product = pipe.multiply_wide(pipe.reg(u, wait), factor)
            places = 32 - spec.sigmoid_width - spec.n
            product = product >> places if places > 0 else product << -places
            sigmoid = pipe.shift_right(product, pipe.reg(q, wait + 3), spec.sigmoid_width)
            return pipe.multiply(pipe.reg(element, 1 + PARTS_STAGES + wait + 5), sigmoid)

        emit.finish(self.out_stages, lane)
        return m


class RowExp(wiring.Component):
    """`e0 = min(ShiftExp(-largest), 2**31 - 1)` by repeated subtraction and doubling, once a row.

    For a largest element at or above zero the octaves are counted down to a remainder in
    `[0, I0)`; below zero they are counted up, until the remainder is at or above zero.

    Members
    -------
    i0 : run-time constant.
    i : largest element of each row.
    o : the same with its `e0`.

    Latency
    -------
    `cycles`, whatever the element is.
    """

    def __init__(self, spec: ShiftgeluSpec) -> None:
        self.spec = spec
        result = data.StructLayout({"largest": shape_of(spec.in_format), "e0": 31})
        super().__init__({
            "i0": In(spec.i0_width),
            "i": In(stream.Signature(shape_of(spec.in_format))),
            "o": Out(stream.Signature(result)),
        })

    @property
    def doublings(self) -> int:
        """Places that a mantissa can travel before it is sure to be clamped."""
        return 32

    @property
    def cycles(self) -> int:
        """Cycles from one row to the next."""
        return self.spec.n + self.doublings + 5

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, n = self.spec, self.spec.n
        largest = Signal(shape_of(spec.in_format), reset_less=True)
        below = Signal()
        remainder = Signal(signed(spec.magnitude_width + 1), reset_less=True)
        octave = Signal(range(n + self.doublings + 1))
        step = Signal(range(max(n, self.doublings) + 1))
        value = Signal(31, reset_less=True)
        clamp = Signal()
        # p is 1.4375 times the distance of zero below the maximum.
        distance = Signal(signed(spec.in_width + 1), reset_less=True)
        most = Signal(signed(spec.magnitude_width + 1))
        p = Signal(signed(spec.magnitude_width + 1))
        m.d.comb += [
            most.eq(distance + (distance >> 1)),
            p.eq((distance >> 4) - most),
        ]

        # One adder for both directions: the remainder plus I0 or, by the complement, less I0.
        trial = Signal(signed(spec.magnitude_width + 2))
        addend = Cat(self.i0, Const(0, len(trial) - spec.i0_width))
        m.d.comb += trial.eq(remainder + (addend ^ (~below).replicate(len(trial))) + ~below)
        next_octave = octave + Mux(below, 1, -1)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i.ready.eq(1)
                m.d.sync += [largest.eq(self.i.payload), distance.eq(-self.i.payload)]
                with m.If(self.i.valid):
                    m.next = "DISTANCE"
            with m.State("DISTANCE"):
                m.d.sync += [remainder.eq(p), below.eq(p < 0), octave.eq(n), step.eq(n - 1)]
                m.next = "OCTAVES"
            with m.State("OCTAVES"):
                with m.If(Mux(below, remainder[-1], ~trial[-1])):
                    m.d.sync += [remainder.eq(trial), octave.eq(next_octave)]
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.next = "CLAMP"
            with m.State("CLAMP"):
                # A remainder that is left after n octaves was clamped away. There it is set so
                # that the mantissa is I0: the first doubling is one that is not made.
                left = Mux(remainder[-1], 0, remainder)
                m.d.sync += remainder.eq(Mux(octave == 0, self.i0, left))
                m.next = "MANTISSA"
            with m.State("MANTISSA"):
                m.d.sync += [value.eq((self.i0 << 1) - remainder), clamp.eq(0), below.eq(0),
                             step.eq(self.doublings - 1)]
                m.next = "DOUBLE"
            with m.State("DOUBLE"):
                with m.If(octave[1:].any()):
                    m.d.sync += [value.eq(value << 1), clamp.eq(clamp | value[-1]),
                                 octave.eq(next_octave)]
                m.d.sync += step.eq(step - 1)
                with m.If(step == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                # The next row can begin while this one's result is read.
                with m.If(~self.o.valid | self.o.ready):
                    m.d.sync += [self.o.valid.eq(1), self.o.payload.largest.eq(largest),
                                 self.o.payload.e0.eq(Mux(clamp, Const((1 << 31) - 1, 31), value))]
                    m.next = "IDLE"
        return m


GATES = Shiftgelu
