"""The frame around every softmax: maximum, exponentials and their sum, normalisation.

Three stages work on three rows at once, with a buffer between each two:

    i -> maximum -> [buffer] -> exponential, sum -> [buffer] -> times the factor -> o
                                             \\-> reciprocal of the sum -/
"""

from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import Reciprocal
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import Handover, RowGate, RowsInFlight, row_buffer
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["RowSoftmax"]


class RowSoftmax(wiring.Component):
    """A softmax over rows. A subclass describes the exponential and the normalisation of a lane.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    Two rows, the stages of the data path, and the reciprocal.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the reciprocal takes.
    """

    EXP_STAGES: ClassVar[int]
    """Stages of `exponential`."""
    OUT_STAGES: ClassVar[int]
    """Stages of `normalise`."""
    NUMERATOR: ClassVar[int]
    """What the sum is divided into."""

    def __init__(self, spec: VectorSpec) -> None:
        self.spec = spec
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        tree = (self.spec.lanes - 1).bit_length()
        once = self.spec.factor_format.width + 1
        return Timing(latency_fixed=6 + self.EXP_STAGES + tree + once + self.OUT_STAGES,
                      latency_per_beat=2, interval_min=once)

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        """Return the exponential as the sum takes it, and as the buffer keeps it.

        Parameters
        ----------
        distance : element less its row's maximum, signed, at or below zero.
        """
        raise NotImplementedError

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        """Return the result from the buffered exponential and the row's factor."""
        raise NotImplementedError

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes = spec.lanes
        longest_beats = -(-spec.longest_row // lanes)
        beat = self.i.payload
        keep_in = Const(1, 1) if lanes == 1 else beat.keep

        # Stage 1: take rows, find their maximum.
        elements = m.submodules.elements = row_buffer(len(Cat(*beat.data, keep_in)) + 1,
                                                      longest_beats)
        transfer = Signal()
        into = RowGate(m, transfer, beat.last)
        rows = RowsInFlight(m, 2 * elements.depth, into.starts,
                            self.o.valid & self.o.ready & self.o.payload.last)
        config = ConfigBank(m, spec, self.c, rows.none)
        largest = Signal(shape_of(spec.in_format), reset_less=True)
        take_max = Signal()
        maximum = Handover(m, largest, into.starts, into.ends, take_max)
        m.d.comb += [
            self.i.ready.eq(elements.w_rdy
                            & (into.in_row | (maximum.may_start & ~self.c.valid))),
            transfer.eq(self.i.valid & self.i.ready),
            elements.w_en.eq(transfer),
            elements.w_data.eq(Cat(*beat.data, keep_in, beat.last)),
        ]
        with m.If(transfer):
            m.d.sync += largest.eq(_largest(
                [Mux(keep_in[k], beat.data[k], spec.in_format.lo) for k in range(lanes)]
                + [Mux(into.in_row, largest, spec.in_format.lo)]))

        # Stage 2: exponentials and their sum. This pipeline never stops; an element enters when
        # the second buffer is sure to have room for it.
        run = Pipeline(m, Const(1))
        width = spec.in_width
        enter, enter_last = Signal(), Signal()
        out_of = RowGate(m, enter, enter_last)
        exps_depth_margin = self.EXP_STAGES + 4
        total_ends, take_total = Signal(), Signal()
        tree = (lanes - 1).bit_length()
        total = Signal(shape_of(spec.sum_format), reset_less=True)
        sums = Handover(m, total, out_of.starts, total_ends, take_total)
        room = Signal()
        m.d.comb += [
            enter.eq(elements.r_rdy & room
                     & (out_of.in_row | (maximum.valid & sums.may_start))),
            enter_last.eq(elements.r_data[-1]),
            elements.r_en.eq(enter),
            take_max.eq(out_of.starts),
        ]
        row_max = Signal.like(largest)
        with m.If(out_of.starts):
            m.d.sync += row_max.eq(maximum.value)
        fields = run.reg(elements.r_data)
        keep = run.reg(fields[lanes * width:-1], self.EXP_STAGES + 1)
        last = run.reg(fields[-1], self.EXP_STAGES + 1)
        valid = run.reg(enter, self.EXP_STAGES + 2, reset_less=False)
        terms, kept = [], []
        for k in range(lanes):
            element = fields[k * width:(k + 1) * width].as_signed()
            distance = Signal(shape_of(spec.in_format).width + 1)
            m.d.comb += distance.eq(element - row_max)
            term, keeper = self.exponential(run, config, run.reg(distance.as_signed()))
            terms.append(term if lanes == 1 else Mux(keep[k], term, 0))
            kept.append(keeper)
        for _ in range(tree):
            terms = [run.reg(a + b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        sum_valid = run.reg(valid, tree, reset_less=False)
        sum_last = run.reg(last, tree)
        fresh = Signal(init=1)
        with m.If(sum_valid):
            m.d.sync += [total.eq(Mux(fresh, 0, total) + terms[0]), fresh.eq(sum_last)]
        m.d.comb += total_ends.eq(sum_valid & sum_last)

        exps = m.submodules.exps = row_buffer(len(Cat(*kept, keep)) + 1, longest_beats)
        m.d.comb += [
            exps.w_en.eq(valid),
            exps.w_data.eq(Cat(*kept, keep, last)),
        ]
        m.d.sync += room.eq(exps.level < exps.depth - exps_depth_margin - 1)

        # Beside the stream, once a row: the factor.
        reciprocal = m.submodules.reciprocal = Reciprocal(
            self.NUMERATOR, min(spec.sum_format.width, 31), spec.factor_format.width)
        clamp = (1 << reciprocal.divisor_width) - 1
        m.d.comb += [
            reciprocal.i.valid.eq(sums.valid),
            reciprocal.i.payload.eq(Mux(sums.value > clamp, clamp, sums.value)),
            take_total.eq(sums.valid & reciprocal.i.ready),
        ]

        # Stage 3: normalise.
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        out = Pipeline(m, advance)
        emit = Signal()
        emit_keep, emit_last = exps.r_data[-1 - lanes:-1], exps.r_data[-1]
        m.d.comb += [
            emit.eq(exps.r_rdy & reciprocal.o.valid & advance),
            exps.r_en.eq(emit),
            reciprocal.o.ready.eq(emit & emit_last),
        ]
        m.d.comb += self.o.valid.eq(out.reg(emit, self.OUT_STAGES + 1, reset_less=False))
        result = self.o.payload
        result_last = out.reg(emit_last, self.OUT_STAGES + 1)
        leaving = RowGate(m, self.o.valid & self.o.ready, result_last)
        m.d.comb += [result.first.eq(~leaving.in_row), result.last.eq(result_last)]
        factor = out.reg(reciprocal.o.payload)
        kept_out = out.reg(exps.r_data)
        kept_width = len(kept[0])
        keep_out = out.reg(emit_keep, self.OUT_STAGES + 1)
        for k in range(lanes):
            value = self.normalise(out, kept_out[k * kept_width:(k + 1) * kept_width], factor)
            with m.If(keep_out[k] if lanes > 1 else Const(1)):
                m.d.comb += result.data[k].eq(value)
        if lanes > 1:
            m.d.comb += result.keep.eq(keep_out)
        return m


def _largest(values: list[Value]) -> Value:
    """Return the largest of some values, as a tree."""
    while len(values) > 1:
        pairs = [Mux(a > b, a, b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + values[len(pairs) * 2:]
    return values[0]
