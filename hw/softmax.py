"""The frame around every softmax: maximum, exponentials and their sum, normalisation.

Three stages work on three rows at once, with a buffer between each two:

    i -> maximum -> [buffer] -> exponential, sum -> [buffer] -> times the factor -> o
                                             \\-> reciprocal of the sum -/
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import Reciprocal
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import (
    Handover,
    RowBuffer,
    RowEmit,
    RowGate,
    RowIntake,
    RowRegister,
    maximum_stages,
    row_maximum,
)
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["RowSoftmax"]


class RowSoftmax(wiring.Component, ABC):
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
    One beat per cycle, sustained from row to row, for rows no shorter than the reciprocal takes,
    nor than the second stage is long.
    """

    EXP_STAGES: ClassVar[int]
    """Stages of `exponential`."""
    OUT_STAGES: ClassVar[int]
    """Stages of `normalise`."""
    NUMERATOR: ClassVar[int | None]
    """What the sum is divided into; None where the sum itself is the factor."""
    SPARE_BITS: ClassVar[int] = 0
    """Lowest bits that the sum is rounded up by before it is divided by."""

    def __init__(self, spec: VectorSpec) -> None:
        self.spec = spec
        self._factors = self.once_a_row()
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        once = self._factors.cycles
        return Timing(latency_fixed=3 + maximum_stages(self.spec) + self._sum_stages + once
                      + self.OUT_STAGES,
                      latency_per_beat=2, interval_min=max(once, self._sum_stages + 2))

    @property
    def _sum_stages(self) -> int:
        """Stages from the entrance of stage 2 to the sum."""
        return 2 + self.EXP_STAGES + self._tree_stages

    @property
    def _tree_stages(self) -> int:
        """Stages from a beat's exponentials to their sum."""
        lanes = self.spec.lanes
        return 1 + (lanes - 1).bit_length() if lanes > 1 else 0

    @abstractmethod
    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        """Return the exponential as the sum takes it, and as the buffer keeps it.

        Parameters
        ----------
        distance : element less its row's maximum, signed, at or below zero.
        """

    @abstractmethod
    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        """Return the result from the buffered exponential and the row's factor."""

    def round_off(self, emit: RowEmit, value: Value) -> Value:
        """Return the output from `normalise`'s result; for what is lost from beat to beat."""
        return value

    def once_a_row(self) -> Reciprocal | RowRegister:
        """Return what turns a row's sum into its factor, beside the stream."""
        width = self.spec.sum_format.width - self.SPARE_BITS
        if self.NUMERATOR is None:
            return RowRegister(width)
        return Reciprocal(self.NUMERATOR, min(width, 31), self.spec.factor_format.width)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes, width = spec.lanes, spec.in_width

        # Stage 1: take rows, find their maximum.
        intake = RowIntake(m, spec, self, most_rows=8 + self.OUT_STAGES)
        config = ConfigBank(m, spec, self.c, intake.idle)
        take_max = Signal()
        maximum = row_maximum(m, spec, self, intake, take_max)

        # Stage 2: exponentials. This pipeline never stops; an element enters when the second
        # buffer is sure to have room for it.
        run = Pipeline(m, Const(1))
        elements = intake.buffer
        enter, room, sums_may_start = Signal(), Signal(), Signal()
        inner = RowGate(m, enter, elements.r_data[-1])
        m.d.comb += [
            enter.eq(elements.r_rdy & room
                     & (inner.in_row | (maximum.valid & sums_may_start))),
            elements.r_en.eq(enter),
            take_max.eq(inner.starts),
        ]
        row_max = Signal.like(maximum.value)
        with m.If(inner.starts):
            m.d.sync += row_max.eq(maximum.value)
        fields = run.reg(elements.r_data)
        terms, kept = [], []
        for k in range(lanes):
            distance = Signal(signed(width + 1))
            m.d.comb += distance.eq(fields[k * width:(k + 1) * width].as_signed() - row_max)
            term, keeper = self.exponential(run, config, run.reg(distance))
            terms.append(term)
            kept.append(keeper)
        keep = run.reg(fields[lanes * width:-1], self.EXP_STAGES + 1)
        last = run.reg(fields[-1], self.EXP_STAGES + 1)
        valid = run.reg(enter, self.EXP_STAGES + 2, reset_less=False)
        exps = m.submodules.exps = RowBuffer(len(Cat(*kept, keep, last)),
                                             -(-spec.longest_row // lanes))
        m.d.comb += [exps.w_en.eq(valid), exps.w_data.eq(Cat(*kept, keep, last))]
        m.d.sync += room.eq(exps.has_room(self.EXP_STAGES + 6))

        # Their sum, by a tree over the lanes; what it begins with rounds it up.
        spare = self.SPARE_BITS
        tree = self._tree_stages
        if lanes > 1:
            # Registers that are reset take no gates, as the adders' operands would.
            terms = [run.reg(Mux(k, term, 0)) for k, term in zip(keep, terms, strict=True)]
        while len(terms) > 1:
            terms = [run.reg(a + b) for a, b in zip(terms[::2], terms[1::2], strict=True)]
        sum_valid, sum_last = run.reg(valid, tree, reset_less=False), run.reg(last, tree)
        total = Signal(shape_of(spec.sum_format), reset_less=True)
        summing = RowGate(m, sum_valid, sum_last)
        with m.If(sum_valid):
            m.d.sync += total.eq(Mux(summing.in_row, total, (1 << spare) - 1) + terms[0])
        take_total = Signal()
        sums = Handover(m, total[spare:], inner.starts, summing.ends, take_total)
        filling = Signal()
        m.d.comb += sums_may_start.eq(sums.may_start & ~filling)
        if self._factors.cycles < self._sum_stages + 2:
            # The next row waits until this one reaches the sum, so that rows shorter than the
            # way there come at one distance.
            arrived = Signal()
            m.d.sync += arrived.eq(summing.starts)
            with m.If(arrived):
                m.d.sync += filling.eq(0)
            with m.If(inner.starts):
                m.d.sync += filling.eq(1)

        # Beside the stream, once a row: the factor.
        factors = m.submodules.factors = self._factors
        clamp = (1 << len(factors.i.payload)) - 1
        m.d.comb += [
            factors.i.valid.eq(sums.valid),
            factors.i.payload.eq(Mux(sums.value > clamp, clamp, sums.value)),
            take_total.eq(sums.valid & factors.i.ready),
        ]

        # Stage 3: normalise.
        emit = RowEmit(m, spec, self.o, exps, factors.o.valid)
        m.d.comb += factors.o.ready.eq(emit.ends)
        kept_width = len(kept[0])

        def lane(index: int) -> Value:
            field = emit.fields[index * kept_width:(index + 1) * kept_width]
            return self.round_off(emit, self.normalise(emit.pipe, field, factors.o.payload))

        emit.finish(self.OUT_STAGES, lane)
        return m

