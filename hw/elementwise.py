"""The frame around every unit whose results depend on one element each."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowGate
from vitrtl.hw.stream import vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["Elementwise"]


class Elementwise(wiring.Component, ABC):
    """A pipeline of fixed length between two streams of rows.

    A subclass states `STAGES` and describes one lane.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    `STAGES` cycles.

    Throughput
    ----------
    One beat per cycle, sustained.
    """

    STAGES: ClassVar[int]

    def __init__(self, spec: VectorSpec) -> None:
        self.spec = spec
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles, the same for rows of every length."""
        return Timing(latency_fixed=self.STAGES)

    @abstractmethod
    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        """Build what the lanes share and return `lane(index, element) -> result`.

        Parameters
        ----------
        row_start : the beat that enters the pipeline in this cycle is its row's first.
        """

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # All stages advance when the last one is empty or is being taken.
        advance = Signal()
        m.d.comb += advance.eq(~self.o.valid | self.o.ready)
        pipe = Pipeline(m, advance)

        # A waiting configuration word keeps the next row out, but not the rest of this one.
        transfer = Signal()
        beat = self.i.payload
        gate = RowGate(m, transfer, beat.last)
        m.d.comb += [
            self.i.ready.eq(advance & (gate.in_row | ~self.c.valid)),
            transfer.eq(self.i.valid & self.i.ready),
        ]

        # One valid bit per stage travels with the elements.
        valid = [transfer]
        for _ in range(self.STAGES):
            valid.append(pipe.reg(valid[-1], reset_less=False))
        m.d.comb += self.o.valid.eq(valid[-1])
        idle = Signal(init=1)
        m.d.sync += idle.eq(~(gate.in_row | Cat(*valid).any()))
        config = ConfigBank(m, self.spec, self.c, idle)

        # The lanes side by side; padding comes out as zero.
        lane = self.datapath(m, pipe, config, ~gate.in_row)
        result = self.o.payload
        m.d.comb += [result.first.eq(pipe.reg(beat.first, self.STAGES)),
                     result.last.eq(pipe.reg(beat.last, self.STAGES))]
        if self.spec.lanes == 1:
            m.d.comb += result.data[0].eq(lane(0, beat.data[0]))
            return m
        keep = pipe.reg(beat.keep, self.STAGES)
        m.d.comb += result.keep.eq(keep)
        for index in range(self.spec.lanes):
            value = lane(index, beat.data[index])
            with m.If(keep[index]):
                m.d.comb += result.data[index].eq(value)
        return m

