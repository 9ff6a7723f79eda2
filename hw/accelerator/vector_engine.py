"""A vector engine of the accelerator: rows from a memory, through a unit, to the scratchpad."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Out

from vitrtl.hw.accelerator.banked_memory import BankedMemory
from vitrtl.hw.accelerator.beats import Packer, Serializer
from vitrtl.hw.accelerator.config_unpacker import ConfigUnpacker
from vitrtl.hw.accelerator.issue import Issue
from vitrtl.hw.accelerator.loops import Addresses, LoopJob, WordReader
from vitrtl.hw.accelerator.ports import EngineControl, ReadPort, Tap, WritePort
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.hw.block_memory import DISTRIBUTED_DEPTH
from vitrtl.hw.requantize import Requantize
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["VectorEngine"]

RUNS = 8
"""Runs that can be on their way before the first of them is written."""


class WriteJob(data.StructLayout):
    """Where the rows of a run go."""

    def __init__(self) -> None:
        super().__init__({"base": 20, "step": 16, "words": 16, "rows": 16})


class VectorEngine(wiring.Component):
    """Runs a unit of the catalogue, and the requantizer that follows it, over rows of a memory.

    Constants are let in when no run is in flight, so that none overtakes a row. A run may write
    over its own rows: a row's word is read before it is written.

    Parameters
    ----------
    spec : of the accelerator.
    index : of the engine among all engines, from 2 on.

    Members
    -------
    control : program, counts, what happens.
    r : read port of the scratchpad, or of the residual memory for a layernorm.
    w : write port of the scratchpad.
    tap : words that are written.

    Latency
    -------
    `cycles(rows, elements)` from `issued` to `done`.

    Throughput
    ----------
    One beat per cycle, sustained from row to row and from run to run, if the unit does that.
    """

    def __init__(self, spec: AcceleratorSpec, index: int) -> None:
        self.spec, self.index = spec, index
        self.engine = spec.engines[index - 2]
        self.unit = unit(self.engine.unit, gates=True).gates(self.engine.spec)
        self.requantize = None
        if (numbers := self.engine.requantize) is not None:
            self.requantize = Requantize(
                numbers, distributed=numbers.channels <= DISTRIBUTED_DEPTH * numbers.lanes)
        self.element_width = 16 if self.engine.reads_residual else 8
        size = spec.size
        super().__init__({
            "control": Out(EngineControl(spec)),
            "r": Out(ReadPort(self.element_width * size, self._memory_words)),
            "w": Out(WritePort(8 * size, spec.scratch_words)),
            "tap": Out(Tap(spec)),
        })

    def interval(self, rows: int, elements: int) -> int:
        """Cycles from the end of one run to that of the next, of so many rows, without a stall."""
        return rows * self.unit.timing.interval(-(-elements // self.engine.spec.lanes))

    def cycles(self, rows: int, elements: int) -> int:
        """Cycles from `issued` to `done` of a run that meets an empty engine, without a stall."""
        beats = -(-elements // self.engine.spec.lanes)
        latency = WordReader.LATENCY + BankedMemory.LATENCY + self.unit.timing.latency(beats)
        if self.requantize is not None:
            latency += 1 + self.requantize.timing.latency(beats)
        # A cycle each for job, the unit's entrance, packer, the last word on its way out, and the
        # word of its end; two for the serializer.
        return latency + self.interval(rows - 1, elements) + beats - 1 + 7

    def elaborate(self, platform: object) -> Module:
        m = Module()
        size = self.spec.size
        issue = m.submodules.issue = Issue(self.spec, self.index, ["run"])
        control = self.control
        wiring.connect(m, wiring.flipped(control.words), issue.words)
        m.d.comb += [issue.counts.eq(control.counts), issue.ended.eq(control.ended),
                     control.empty.eq(issue.empty)]

        # What follows from an instruction's fields is a cycle late; they stand still for longer.
        run = issue.o.payload
        words, tail = Signal(16), Signal(range(size))
        nothing, wrong = Signal(), Signal()
        longest = getattr(self.engine.spec, "longest_row", (1 << len(run.elements)) - 1)
        last = Signal.like(run.elements)
        m.d.comb += last.eq(run.elements - 1)
        m.d.sync += [
            words.eq((last >> (size - 1).bit_length()) + 1), tail.eq(last),
            nothing.eq(run.rows == 0),
            wrong.eq((run.rows != 0) & ((run.elements == 0) | (run.elements > longest))),
        ]

        # Constants come out of a register: the unit's enables depend on them.
        config = m.submodules.config = ConfigUnpacker()
        wiring.connect(m, issue.config, config.i)

        # A run begins when everyone has a place for it; one without rows when all others ended.
        reader = m.submodules.reader = WordReader(len(self.r.data), self._memory_words)
        serializer = m.submodules.serializer = Serializer(self.engine.spec, size,
                                                          self.element_width)
        writes = m.submodules.writes = SyncFIFO(width=WriteJob().size, depth=RUNS)
        # That it may is a register: a place stays until it is taken.
        offered, begins, passes = Signal(), Signal(), Signal()
        may_begin, may_pass = Signal(), Signal()
        in_flight = Signal(range(2 * RUNS))
        jobs = m.submodules.jobs = SkidBuffer(LoopJob())
        wiring.connect(m, jobs.o, reader.job)
        read, write = jobs.i.payload, data.View(WriteJob(), writes.w_data)
        m.d.comb += [
            offered.eq(issue.o.valid & ~config.busy & ~issue.o.ready),
            begins.eq(issue.o.valid & may_begin), passes.eq(issue.o.valid & may_pass),
            jobs.i.valid.eq(begins), serializer.tail.valid.eq(begins), writes.w_en.eq(begins),
            issue.o.ready.eq(may_begin | may_pass),
            control.issued.eq(issue.o.ready),
            read.base.eq(run.i_base), read.step0.eq(1), read.step1.eq(run.i_row),
            read.count0.eq(words), read.count1.eq(run.rows), read.count2.eq(1),
            serializer.tail.payload.eq(tail),
            write.base.eq(run.o_base), write.step.eq(run.o_row), write.words.eq(words),
            write.rows.eq(run.rows),
        ]
        m.d.sync += [
            may_begin.eq(offered & ~nothing & ~wrong
                         & serializer.tail.ready & jobs.i.ready & writes.w_rdy),
            may_pass.eq(offered & nothing & (in_flight == 0)),
        ]

        # Words, beats, results, words.
        packer = m.submodules.packer = Packer(self._last_spec, size)
        m.submodules.unit = self.unit
        wiring.connect(m, reader.port, wiring.flipped(self.r))
        wiring.connect(m, reader.o, serializer.i)
        # Whether the unit takes a beat depends on all that is in it.
        entrance = m.submodules.entrance = SkidBuffer(serializer.o.payload.shape())
        wiring.connect(m, serializer.o, entrance.i)
        wiring.connect(m, entrance.o, self.unit.i)
        if self.requantize is None:
            wiring.connect(m, self.unit.o, packer.i)
        else:
            m.submodules.requantize = self.requantize
            # Enables of both pipelines in one cycle would be too much.
            between = m.submodules.between = SkidBuffer(self.unit.o.payload.shape())
            wiring.connect(m, self.unit.o, between.i)
            _widen(m, between.o, self.requantize.i)
            wiring.connect(m, self.requantize.o, packer.i)

        # Each result meets its address.
        addresses = m.submodules.addresses = Addresses(self.spec.scratch_words)
        job, place = data.View(WriteJob(), writes.r_data), addresses.job.payload
        m.d.comb += [
            addresses.job.valid.eq(writes.r_rdy), writes.r_en.eq(addresses.job.ready),
            place.base.eq(job.base), place.step0.eq(1), place.step1.eq(job.step),
            place.count0.eq(job.words), place.count1.eq(job.rows), place.count2.eq(1),
        ]
        leaving = m.submodules.leaving = SkidBuffer(data.StructLayout(
            {"addr": range(self.spec.scratch_words), "data": 8 * size, "last": 1}))
        following = m.submodules.next_address = SkidBuffer(addresses.o.payload.shape())
        wiring.connect(m, addresses.o, following.i)
        here, out = following.o.payload, leaving.o.payload
        m.d.comb += [
            leaving.i.valid.eq(packer.o.valid & following.o.valid),
            leaving.i.payload.addr.eq(here.addr), leaving.i.payload.data.eq(packer.o.payload),
            leaving.i.payload.last.eq(here.last0 & here.last1),
            following.o.ready.eq(packer.o.valid & leaving.i.ready),
            packer.o.ready.eq(following.o.valid & leaving.i.ready),
            self.w.en.eq(leaving.o.valid), self.w.addr.eq(out.addr), self.w.data.eq(out.data),
            leaving.o.ready.eq(self.w.ready),
            self.tap.valid.eq(self.w.en & self.w.ready), self.tap.addr.eq(out.addr),
            self.tap.data.eq(out.data), self.tap.residual.eq(0),
        ]

        # What a run has written is told a cycle later.
        m.d.sync += control.done.eq(passes | (self.tap.valid & out.last))
        passed = Signal()
        m.d.sync += passed.eq(passes)
        m.d.sync += in_flight.eq(in_flight + begins - (control.done & ~passed))
        m.d.comb += control.idle.eq((in_flight == 0) & ~passed)

        # Constants come some cycles after the run before them has begun.
        quiet = Signal()
        m.d.sync += quiet.eq(in_flight == 0)
        self._configure(m, config.o, quiet)

        bad, stopped = Signal(), Signal()
        m.d.comb += [bad.eq(issue.bad | (issue.o.valid & (wrong | config.partial))),
                     control.fault.eq(Mux(bad & ~stopped, FAULTS["bad program"], 0))]
        with m.If(bad):
            m.d.sync += stopped.eq(1)
        return m

    @property
    def _memory_words(self) -> int:
        """Words of the memory that is read."""
        return self.spec.residual_words if self.engine.reads_residual else self.spec.scratch_words

    @property
    def _last_spec(self) -> VectorSpec:
        """Numbers of what gives the results."""
        return self.engine.requantize or self.engine.spec

    def _configure(self, m: Module, constants: wiring.PureInterface, quiet: Value) -> None:
        """Hand constants on while nothing is in flight."""
        word = constants.payload
        ports = [self.unit.c] + ([self.requantize.c] if self.requantize is not None else [])
        for index, port in enumerate(ports):
            m.d.comb += [port.payload.address.eq(word.address), port.payload.data.eq(word.data)]
            with m.If(word.requantizer == index):
                m.d.comb += [port.valid.eq(constants.valid & quiet),
                             constants.ready.eq(port.ready & quiet)]


def _widen(m: Module, source: wiring.PureInterface, sink: wiring.PureInterface) -> None:
    """Connect streams of beats that differ in the width of their elements."""
    m.d.comb += [sink.valid.eq(source.valid), source.ready.eq(sink.ready)]
    for name, _ in source.payload.shape():
        if name != "data":
            m.d.comb += sink.payload[name].eq(source.payload[name])
    for target, element in zip(sink.payload.data, source.payload.data, strict=True):
        m.d.comb += target.eq(element)
