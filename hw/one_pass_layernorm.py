"""The frame around a LayerNorm that needs one pass: mean and variance from two sums.

    i -> element, square -> [buffer] ----------------> less the mean, times the factor -> o
                        \\-> sums -> mean, variance -> factor -/
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from amaranth.hdl import Cat, Const, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowEmit, RowIntake
from vitrtl.hw.row_statistics import (
    SQUARE_STAGES,
    MeanVariance,
    element_terms,
    row_sums,
)
from vitrtl.hw.running_sums import sum_stages
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.layernorm_common import LayerNormSpec

__all__ = ["OnePassLayerNorm"]


class OnePassLayerNorm(wiring.Component, ABC):
    """`o = affine((element - mean) * factor(variance))`, in one pass over the row.

    The sum and the sum of squares give mean and variance, so the row is read twice in all: once
    as it comes, once as it leaves. Mean and factor are computed beside the stream, each on a row
    of its own.

    A subclass describes the units that turn the variance into the factor, and what becomes of a
    deviation; one whose elements are not the input's, or whose squares are not products, describes
    these as well.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    One row, then the mean and the factor one after the other, then the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the slowest of what
    runs once a row.
    """

    ELEMENT_STAGES: ClassVar[int] = 0
    """Stages from an input beat to its elements."""
    OUT_STAGES: ClassVar[int]
    """Stages from the buffer to the output; the first takes element, mean and factor."""

    def __init__(self, spec: LayerNormSpec) -> None:
        self.spec = spec
        self._mean_variance = MeanVariance(spec)
        self._once = self.once_a_row()
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        once = [unit.cycles for unit in (self._mean_variance, *self._once)]
        return Timing(latency_fixed=self.ELEMENT_STAGES + SQUARE_STAGES
                      + sum_stages(self.spec.lanes) - 1 + sum(once) + self.OUT_STAGES,
                      latency_per_beat=1, interval_min=max(once))

    @abstractmethod
    def once_a_row(self) -> list[wiring.Component]:
        """Return the units, one behind the other, that turn the variance into the factor.

        Each has streams `i` and `o`, and `cycles` from one row to the next.
        """

    @abstractmethod
    def result(self, pipe: Pipeline, deviation: Value, factor: Value,
               constant: Callable[[str, int], Value]) -> Value:
        """Return the result of a lane, `OUT_STAGES - 1` stages after `deviation`.

        Parameters
        ----------
        deviation : element less the mean, behind registers and an adder.
        constant : `constant(name, stage)` is the channel's word of a register, `stage` stages
            behind the buffer; the deviation is at stage 1.
        """

    def terms(self, m: Module, pipe: Pipeline, config: ConfigBank,
              intake: RowIntake) -> list[tuple[Value, Value]]:
        """Return what each lane adds to the sums, zero for padding.

        Each is an element, `ELEMENT_STAGES` after the beat, and its square, two stages later.
        """
        return element_terms(pipe, intake, self.i.payload.data)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        width = spec.element_format.width

        # Take rows; add elements and their squares.
        intake = RowIntake(m, spec, self, slack=self.timing.latency_fixed,
                           encoder_stages=self.ELEMENT_STAGES, element_format=spec.element_format)
        config = ConfigBank(m, spec, self.c, intake.idle, staged=spec.lanes > 1)
        run = Pipeline(m, Const(1))
        terms = self.terms(m, run, config, intake)
        if self.ELEMENT_STAGES:
            intake.store(run, [element for element, _ in terms])
        take_sums = Signal()
        ready_sums = row_sums(m, spec, run, intake, terms, take_sums)

        # Beside the stream, once a row: mean and variance, factor. Means wait in a queue of one
        # place for each row that can be under way.
        m.submodules.mean_variance = statistics = self._mean_variance
        first, *others = self._once
        m.submodules += self._once
        m.submodules.means = means = SyncFIFO(width=spec.mean_format.width, depth=4)
        m.d.comb += [
            statistics.i.valid.eq(ready_sums.valid),
            Value.cast(statistics.i.payload).eq(ready_sums.value),
            take_sums.eq(ready_sums.valid & statistics.i.ready),
            first.i.valid.eq(statistics.o.valid & means.w_rdy),
            first.i.payload.eq(statistics.o.payload.variance),
            statistics.o.ready.eq(first.i.ready & means.w_rdy),
            means.w_en.eq(statistics.o.valid & first.i.ready),
            means.w_data.eq(statistics.o.payload.mean),
        ]
        factors = first.o
        for unit in others:
            wiring.connect(m, factors, unit.i)
            factors = unit.o

        # Read the row again.
        emit = RowEmit(m, spec, self.o, intake.buffer, factors.valid)
        pipe = emit.pipe
        m.d.comb += [factors.ready.eq(emit.ends), means.r_en.eq(emit.ends)]
        mean = pipe.reg(means.r_data).as_signed()
        factor = pipe.reg(factors.payload)
        words: dict[str, list[Value]] = {}

        def constant(name: str, stage: int, index: int) -> Value:
            if name not in words:
                words[name] = emit.channel_words(config, name, stage)
            return words[name][index].as_signed()

        def lane(index: int) -> Value:
            # Stage 1: element, mean and factor into registers.
            element = pipe.reg(emit.fields[index * width:(index + 1) * width])
            deviation = Signal(shape_of(spec.deviation_format))
            below = Const(0, spec.mean_fraction)
            m.d.comb += deviation.eq(Cat(below, element).as_signed() - mean)
            return self.result(pipe, deviation, factor,
                               lambda name, stage: constant(name, stage, index))

        emit.finish(self.OUT_STAGES, lane)
        return m
