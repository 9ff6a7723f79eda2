"""The frame around a LayerNorm whose second statistic needs the mean first.

Three stages work on three rows at once, with a buffer between each two:

    i -> sum -> [buffer] -> deviations, their statistic -> [buffer] -> times the factor -> o
          \\-> mean -/                                \\-> factor -/
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import RoundedQuotient
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowBuffer, RowEmit, RowGate, RowIntake
from vitrtl.hw.running_sums import RunningSums, sum_stages
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.layernorm_common import PerChannelSpec

__all__ = ["TwoPassLayerNorm"]


class TwoPassLayerNorm(wiring.Component, ABC):
    """`o = ((i - mean) * factor >> DROPPED) + bias`, the factor from a sum over the deviations.

    A subclass describes what a deviation adds to that sum, whose width is the spec's
    `statistic_format`, and the units that turn the sum into the factor.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    Two rows, the mean, the stages of the statistic, the factor, and the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the slowest of what
    runs once a row.
    """

    TERM_STAGES: ClassVar[int]
    """Stages of `term`."""
    DROPPED: ClassVar[int]
    """Places dropped from the product."""

    DEVIATION_STAGES = 2
    OUT_STAGES = 4

    def __init__(self, spec: PerChannelSpec) -> None:
        self.spec = spec
        self._mean = RoundedQuotient(spec.count_format.width, spec.in_width)
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        mean, factor = self._mean.timing, self.factor_timing
        stages = (2 * sum_stages(self.spec.lanes) + self.DEVIATION_STAGES + self.TERM_STAGES
                  + self.OUT_STAGES)
        return Timing(latency_fixed=3 + stages + mean.latency_fixed + factor.latency_fixed,
                      latency_per_beat=2,
                      interval_min=max(mean.interval_min, factor.interval_min))

    @abstractmethod
    def term(self, pipe: Pipeline, config: ConfigBank, deviation: Value) -> Value:
        """Return what a deviation adds to its row's statistic, unsigned."""

    @property
    @abstractmethod
    def factor_timing(self) -> Timing:
        """Cycles of `factor`, from the edge that takes a statistic."""

    @abstractmethod
    def factor(self, m: Module,
               config: ConfigBank) -> tuple[wiring.PureInterface, wiring.PureInterface]:
        """Add the units that turn a row's statistic into its factor, one behind the other.

        Returns
        -------
        The entrance of the first and the exit of the last; a statistic that is too wide for the
        entrance arrives there as the largest value.
        """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes, width = spec.lanes, spec.in_width

        # Stage 1: take rows; add and count their elements. The sign bits are inverted, which adds
        # half of the range to every element, and so to the mean, and takes the signs away.
        intake = RowIntake(m, spec, self)
        config = ConfigBank(m, spec, self.c, intake.idle, staged=spec.lanes > 1)
        run = Pipeline(m, Const(1))
        elements = [run.reg(Mux(keep, _offset(x), 0))
                    for keep, x in zip(intake.keep, self.i.payload.data, strict=True)]
        kept = [Const(1)] if lanes == 1 else [run.reg(keep) for keep in intake.keep]
        mean = m.submodules.mean = self._mean
        take_sums = Signal()
        ready_sums = RunningSums(
            m, mean.pair, run, {"dividend": elements, "divisor": kept},
            run.reg(intake.transfer, reset_less=False), run.reg(self.i.payload.last),
            intake.gate.starts, take_sums)
        m.d.comb += [
            intake.may_start.eq(ready_sums.may_start),
            mean.i.valid.eq(ready_sums.valid),
            Value.cast(mean.i.payload).eq(ready_sums.value),
            take_sums.eq(ready_sums.valid & mean.i.ready),
        ]

        # Stage 2: deviations. An element enters when the second buffer is sure to have room.
        enter, room, statistics_may_start = Signal(), Signal(), Signal()
        source = intake.buffer
        inner = RowGate(m, enter, source.r_data[-1])
        m.d.comb += [
            enter.eq(source.r_rdy & room
                     & (inner.in_row | (mean.o.valid & statistics_may_start))),
            source.r_en.eq(enter),
            mean.o.ready.eq(inner.starts),
        ]
        row_mean = Signal(width, reset_less=True)
        with m.If(inner.starts):
            m.d.sync += row_mean.eq(mean.o.payload)
        fields = run.reg(source.r_data)
        deviations = []
        for k in range(lanes):
            deviation = Signal(signed(width + 1))
            m.d.comb += deviation.eq(_offset(fields[k * width:(k + 1) * width]) - row_mean)
            deviations.append(run.reg(deviation))
        keep, last = run.reg(fields[lanes * width:-1]), run.reg(fields[-1])
        valid = run.reg(enter, self.DEVIATION_STAGES, reset_less=False)
        centred = m.submodules.centred = RowBuffer(
            len(Cat(*deviations, keep, last)), -(-spec.longest_row // lanes),
            slack=self.timing.latency_fixed)
        m.d.comb += [centred.w_en.eq(valid), centred.w_data.eq(Cat(*deviations, keep, last))]
        m.d.sync += room.eq(centred.has_room(self.DEVIATION_STAGES + 6))

        # Their statistic.
        terms = [self.term(run, config, deviation) for deviation in deviations]
        if lanes > 1:
            terms = [Mux(k, term, 0)
                     for k, term in zip(run.reg(keep, self.TERM_STAGES), terms, strict=True)]
        take_total = Signal()
        statistics = RunningSums(
            m, data.StructLayout({"statistic": shape_of(spec.statistic_format)}), run,
            {"statistic": terms}, run.reg(valid, self.TERM_STAGES, reset_less=False),
            run.reg(last, self.TERM_STAGES), inner.starts, take_total)
        m.d.comb += statistics_may_start.eq(statistics.may_start)

        # Beside the stream, once a row: the factor.
        entrance, factor = self.factor(m, config)
        clamp = (1 << len(entrance.payload)) - 1
        m.d.comb += [
            entrance.valid.eq(statistics.valid),
            entrance.payload.eq(Mux(statistics.value > clamp, clamp, statistics.value)),
            take_total.eq(statistics.valid & entrance.ready),
        ]

        # Stage 3: product and bias.
        emit = RowEmit(m, spec, self.o, centred, factor.valid)
        pipe = emit.pipe
        m.d.comb += factor.ready.eq(emit.ends)
        biases = emit.channel_words(config, "bias", self.OUT_STAGES - 1)

        def lane(index: int) -> Value:
            # Stages 1 to 3: product. Stage 4: bias.
            deviation = emit.fields[index * (width + 1):(index + 1) * (width + 1)].as_signed()
            z = pipe.multiply_wide(deviation, factor.payload) >> self.DROPPED
            total = Signal(shape_of(spec.out_format))
            m.d.comb += total.eq(z[:31].as_signed() + biases[index].as_signed())
            return pipe.reg(total)

        emit.finish(self.OUT_STAGES, lane)
        return m


def _offset(element: Value) -> Value:
    """Return a signed element plus half of its range, unsigned."""
    return Cat(element[:-1], ~element[-1])
