"""The engine that multiplies: the array between its operands' readers and its results' writer."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.beat_halves import BeatHalves
from vitrtl.hw.accelerator.issue import Issue
from vitrtl.hw.accelerator.job_queue import JobQueue
from vitrtl.hw.accelerator.loops import Addresses, WordReader
from vitrtl.hw.accelerator.places import Places
from vitrtl.hw.accelerator.ports import ConstantsPort, EngineControl, ReadPort, Tap, WritePort
from vitrtl.hw.accelerator.result_requantizer import ResultJob, ResultRequantizer
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.hw.accumulating_array import AccumulatingArray
from vitrtl.hw.block_memory import DISTRIBUTED_DEPTH
from vitrtl.hw.row import RowBuffer
from vitrtl.sw.accelerator.isa import MODES
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import ARRAY, AcceleratorSpec

__all__ = ["ArrayEngine"]

LONGEST_QUEUE = 1024
"""Words of the longest queue of results in block memory."""


class ArrayEngine(wiring.Component):
    """Executes `multiply`, see `vitrtl.sw.accelerator.isa`.

    Every part has a queue of instructions of its own: readers of activations, of weights and of
    what results are added to, requantizer and writer. So the next instruction's operands enter
    the array right behind this one's. An instruction that reads what another one writes must wait
    for it, also on this engine.

    Parameters
    ----------
    spec : of the accelerator.

    Members
    -------
    control : program and counts.
    activations : the scratchpad.
    weights, keys : where weights come from, the weight buffer or the scratchpad.
    w : the scratchpad.
    residual_r, residual_w : the residual memory.
    constants : of the requantizer.
    tap : what is written.
    beat : an activation beat enters the array.

    Latency
    -------
    `first_beat` cycles from an instruction's issue to its first activation beat, `result` from
    an activation beat of the last pass over the inner dimension to the write of its word.

    Throughput
    ----------
    One activation beat per cycle, sustained from pass to pass and from instruction to
    instruction, for passes no shorter than `shortest_pass`. Beats of a last pass over the inner
    dimension are the `result_cycles` of their words apart once `queued_results` of them wait for
    the requantizer; each has one word, of a paired instruction two.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        self.spec = spec
        shallow = spec.longest_pass <= DISTRIBUTED_DEPTH
        self._array = AccumulatingArray(spec.matmul, distributed=shallow, splits=spec.paired)
        phases = spec.size // spec.requantize_lanes
        self._requantizer = ResultRequantizer(
            spec, distributed=spec.constant_groups * phases <= DISTRIBUTED_DEPTH)
        self._results = self._result_queue(shallow)
        word, words = 8 * spec.size, spec.scratch_words
        super().__init__({
            "control": Out(EngineControl(spec)),
            "activations": Out(ReadPort(word, words)),
            "weights": Out(ReadPort(word, spec.weight_words)),
            "keys": Out(ReadPort(word, words)),
            "w": Out(WritePort(word, words)),
            "residual_r": Out(ReadPort(2 * word, spec.residual_words)),
            "residual_w": Out(WritePort(2 * word, spec.residual_words)),
            "constants": In(ConstantsPort(spec)),
            "tap": Out(Tap(spec)),
            "beat": Out(1),
        })

    @property
    def shortest_pass(self) -> int:
        """Beats of the shortest pass that keeps the array busy."""
        return self._array.shortest_pass

    @property
    def result_cycles(self) -> int:
        """Cycles from one result word to the next."""
        return self._requantizer.phases

    @property
    def queued_results(self) -> int:
        """Beats of last passes that can be between the array's entrance and the requantizer."""
        # The two places behind the queue's memory count, the four that its entrance keeps do not.
        return self._results.depth - 2

    @property
    def result(self) -> int:
        """Cycles from a beat of a last pass to the write of its word, without stalls."""
        return self._array.latency + RowBuffer.LATENCY + 1 + self._requantizer.latency + 1

    def first_beat(self, memory_latency: int) -> int:
        """Return the cycles from issue to the first beat, for a memory that is never busy."""
        return 2 + WordReader.LATENCY + memory_latency + self.spec.size

    def _result_queue(self, shallow: bool) -> RowBuffer:
        """Return the queue between array and requantizer.

        It holds a pass, so that the requantizer works through it during the next passes; but a
        shallow one no more than is in the array anyway, which keeps the requantizer busy.
        """
        spec, width = self.spec, self._array.o.payload.shape().size
        if not shallow:
            return RowBuffer(width, min(spec.longest_pass + 2, LONGEST_QUEUE), slack=0)
        around = self._array.latency + RowBuffer.LATENCY + 1
        return RowBuffer(width, max(min(spec.longest_pass, around), 16), slack=0,
                         distributed=True)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.array = self._array
        m.submodules.requantizer = requantizer = self._requantizer
        wiring.connect(m, wiring.flipped(self.constants), requantizer.constants)

        written = Signal()
        jobs = self._issue(m, written)
        # Its enables are late, and must not reach back into the queues.
        m.submodules.next_results = following = SkidBuffer(ResultJob(self.spec))
        m.d.comb += [following.i.valid.eq(jobs["results"].o.valid),
                     following.i.payload.eq(Value.cast(jobs["results"].o.payload)),
                     jobs["results"].o.ready.eq(following.i.ready)]
        wiring.connect(m, following.o, requantizer.job)
        self._feed_weights(m, jobs["weights"].o)
        self._feed_activations(m, jobs["activations"].o)
        self._read_residual(m, jobs["residual"].o)
        self._write(m, jobs["writes"].o, written)
        return m

    def _issue(self, m: Module, written: Value) -> dict[str, JobQueue]:
        """Hand each instruction to all its parts at once, and count those in flight.

        Parameters
        ----------
        written : the last word of an instruction is written.
        """
        control = self.control
        m.submodules.issue = issue = Issue(self.spec, ARRAY, ["multiply"])
        wiring.connect(m, wiring.flipped(control.words), issue.words)
        m.d.comb += [issue.ended.eq(control.ended), issue.counts.eq(control.counts)]
        instruction = issue.o.payload

        paired = ("paired",) if self.spec.paired else ()
        loops = ("rows", "n_tiles", "o_base", "o_row", *paired)
        jobs = {name: JobQueue(ARRAY, fields) for name, fields in (
            ("activations", ("rows", "k_tiles", "n_tiles", "a_base", "a_row")),
            ("weights", ("k_tiles", "n_tiles", "w_scratch", "transposed", "w_base", "w_n", "w_k",
                         "w_i", *paired)),
            ("residual", loops), ("results", ResultJob(self.spec).members), ("writes", loops))}
        no_pair = instruction.constants[0] if paired else 1
        # The instruction stands still for longer than this takes before its waits are over.
        sound = Signal()
        m.d.sync += sound.eq(
            (instruction.rows != 0) & (instruction.rows <= self.spec.longest_pass)
            & (instruction.k_tiles != 0) & (instruction.n_tiles != 0)
            & Cat(instruction.mode == mode for mode in MODES.values()).any()
            & ~(instruction.paired & no_pair))
        # So do the queues: an instruction needs more cycles for its words than this looks back.
        room = Signal()
        m.d.sync += room.eq(Cat(queue.i.ready for queue in jobs.values()).all())
        m.d.comb += issue.o.ready.eq(sound & room)
        # The queues get the instruction a cycle later, in which its fields still stand.
        begins, begun = issue.o.valid & issue.o.ready, Signal()
        m.d.sync += begun.eq(begins)
        for name, queue in jobs.items():
            m.submodules[f"{name}_jobs"] = queue
            wanted = instruction.mode == MODES["add"] if name == "residual" else 1
            m.d.comb += [queue.i.valid.eq(begun & wanted), queue.i.payload.eq(instruction)]

        # All those that wait for their writer, and those that it and its output hold.
        in_flight = Signal(range(JobQueue.DEPTH + 5))
        with m.If(begins != control.done):
            m.d.sync += in_flight.eq(in_flight + Mux(begins, 1, -1))
        bad, was_bad = Signal(), Signal()
        m.d.comb += bad.eq(issue.bad | (issue.o.valid & ~sound))
        m.d.sync += [was_bad.eq(bad), control.done.eq(written)]
        m.d.comb += [
            control.issued.eq(begins),
            control.empty.eq(issue.empty),
            control.idle.eq(issue.empty & (in_flight == 0)),
            control.fault.eq(Mux(bad & ~was_bad, FAULTS["bad program"], FAULTS["none"])),
        ]
        return jobs

    def _feed_weights(self, m: Module, job: wiring.PureInterface) -> None:
        """Read weight tiles from either memory, and give them to the array in order."""
        spec, array = self.spec, self._array
        readers = []
        for name, port in (("weights", self.weights), ("keys", self.keys)):
            reader = WordReader(8 * spec.size, port.signature.members["addr"].shape.stop)
            m.submodules[f"{name}_reader"] = reader
            wiring.connect(m, reader.port, wiring.flipped(port))
            readers.append(reader)

        # The readers are ahead of the array, which follows the order of the jobs.
        asked = [job.payload.w_scratch, job.payload.transposed]
        if spec.paired:
            asked.append(job.payload.paired)
        order = m.submodules.weight_order = SyncFIFO(width=len(asked), depth=JobQueue.DEPTH)
        from_scratch, transposed, *paired = order.r_data
        beat = array.w.payload
        m.d.comb += [
            order.w_data.eq(Cat(asked)),
            order.w_en.eq(job.valid & job.ready),
            job.ready.eq(order.w_rdy & Mux(job.payload.w_scratch, readers[1].job.ready,
                                           readers[0].job.ready)),
            beat.transposed.eq(transposed),
            *(beat.paired.eq(bit) for bit in paired),
        ]
        for reader, chosen, next_to_read in zip(
                readers, (~from_scratch, from_scratch),
                (~job.payload.w_scratch, job.payload.w_scratch), strict=True):
            word = reader.o.payload
            _loops(m, reader.job.payload, base=job.payload.w_base,
                   steps=(job.payload.w_i, job.payload.w_k, job.payload.w_n),
                   counts=(spec.size, job.payload.k_tiles, job.payload.n_tiles))
            m.d.comb += [
                reader.job.valid.eq(job.valid & order.w_rdy & next_to_read),
                reader.o.ready.eq(order.r_rdy & chosen & array.w.ready),
            ]
            with m.If(order.r_rdy & chosen):
                m.d.comb += [
                    array.w.valid.eq(reader.o.valid),
                    Value.cast(beat.data).eq(word.data),
                    order.r_en.eq(reader.o.valid & array.w.ready
                                  & word.last0 & word.last1 & word.last2),
                ]

    def _feed_activations(self, m: Module, job: wiring.PureInterface) -> None:
        """Read activations, and queue up the results."""
        array, requantizer = self._array, self._requantizer
        m.submodules.activation_reader = reader = WordReader(
            8 * self.spec.size, self.spec.scratch_words)
        wiring.connect(m, reader.port, wiring.flipped(self.activations))
        m.submodules.results = queue = self._results
        m.submodules.entrance = entrance = SkidBuffer(requantizer.i.payload.shape())

        # A beat of a last pass over the inner dimension enters the array only if its results have
        # a place in the queue.
        m.submodules.places = places = Places(self.queued_results)
        word, beat = reader.o.payload, array.a.payload
        _loops(m, reader.job.payload, base=job.payload.a_base, steps=(job.payload.a_row, 1, 0),
               counts=(job.payload.rows, job.payload.k_tiles, job.payload.n_tiles))
        may_enter = ~word.last1 | places.some
        m.d.comb += [
            reader.job.valid.eq(job.valid), job.ready.eq(reader.job.ready),
            array.a.valid.eq(reader.o.valid & may_enter),
            reader.o.ready.eq(array.a.ready & may_enter),
            self.beat.eq(array.a.valid & array.a.ready),
            Value.cast(beat.data).eq(word.data),
            beat.opening.eq(word.first1), beat.closing.eq(word.last1), beat.last.eq(word.last0),
        ]
        m.d.comb += [
            queue.w_en.eq(array.o.valid),
            queue.w_data.eq(Value.cast(array.o.payload)),
        ]
        leaving = entrance.i
        if self.spec.paired:
            m.submodules.halves = halves = BeatHalves(self.spec.matmul, array.summed)
            wiring.connect(m, halves.o, entrance.i)
            leaving = halves.i
        m.d.comb += [
            leaving.valid.eq(queue.r_rdy),
            Value.cast(leaving.payload).eq(queue.r_data),
            queue.r_en.eq(leaving.ready),
        ]
        wiring.connect(m, entrance.o, requantizer.i)
        m.d.comb += [places.take.eq(self.beat & word.last1),
                     places.give.eq(queue.r_rdy & queue.r_en)]

    def _read_residual(self, m: Module, job: wiring.PureInterface) -> None:
        """Read what results are added to."""
        m.submodules.residual_reader = reader = WordReader(
            2 * 8 * self.spec.size, self.spec.residual_words)
        wiring.connect(m, reader.port, wiring.flipped(self.residual_r))
        wiring.connect(m, reader.o, self._requantizer.residual)
        m.d.comb += [reader.job.valid.eq(job.valid), job.ready.eq(reader.job.ready)]
        _result_loops(m, reader.job.payload, job.payload)

    def _write(self, m: Module, job: wiring.PureInterface, written: Signal) -> None:
        """Give each word its address and write it; drive `written`, the end of an instruction."""
        spec, results = self.spec, self._requantizer.o
        m.submodules.addresses = addresses = Addresses(
            max(spec.scratch_words, spec.residual_words))
        m.d.comb += [addresses.job.valid.eq(job.valid), job.ready.eq(addresses.job.ready)]
        _result_loops(m, addresses.job.payload, job.payload)
        m.submodules.next_address = following = SkidBuffer(addresses.o.payload.shape())
        wiring.connect(m, addresses.o, following.i)
        place = following.o.payload

        # Whether the memories are ready depends on everyone who writes.
        word_bits = 8 * spec.size
        m.submodules.output = output = SkidBuffer(data.StructLayout({
            "addr": place.addr.shape(), "data": 2 * word_bits, "narrow": 1, "ends": 1}))
        narrow = Cat(Value.cast(element)[:8] for element in results.payload.data)
        m.d.comb += [
            output.i.valid.eq(results.valid & following.o.valid),
            results.ready.eq(output.i.ready & following.o.valid),
            following.o.ready.eq(output.i.ready & results.valid),
            output.i.payload.addr.eq(place.addr),
            output.i.payload.narrow.eq(results.payload.narrow),
            output.i.payload.data.eq(
                Mux(results.payload.narrow, narrow, Value.cast(results.payload.data))),
            output.i.payload.ends.eq(place.last0 & place.last1 & place.last2),
        ]
        word = output.o.payload
        for port, chosen in ((self.w, word.narrow), (self.residual_w, ~word.narrow)):
            m.d.comb += [port.en.eq(output.o.valid & chosen), port.addr.eq(word.addr),
                         port.data.eq(word.data)]
        m.d.comb += [
            output.o.ready.eq(Mux(word.narrow, self.w.ready, self.residual_w.ready)),
            self.tap.valid.eq(output.o.valid & output.o.ready),
            self.tap.residual.eq(~word.narrow),
            self.tap.addr.eq(word.addr),
            self.tap.data.eq(word.data),
            written.eq(self.tap.valid & word.ends),
        ]


def _result_loops(m: Module, loops: data.View, job: data.View) -> None:
    """Drive the loops over an instruction's results: words of a pass, rows, passes."""
    if "paired" in job.shape().members:
        words = Cat(~job.paired, job.paired)
        steps, counts = (1, job.o_row, words), (words, job.rows, job.n_tiles)
    else:
        steps, counts = (job.o_row, 1, 0), (job.rows, job.n_tiles, 1)
    _loops(m, loops, base=job.o_base, steps=steps, counts=counts)


def _loops(m: Module, loops: data.View, *, base: Value, steps: Sequence[ValueLike],
           counts: Sequence[ValueLike]) -> None:
    """Drive all fields of a job of three loops, the innermost first."""
    m.d.comb += loops.base.eq(base)
    for i, (step, count) in enumerate(zip(steps, counts, strict=True)):
        m.d.comb += [loops[f"step{i}"].eq(step), loops[f"count{i}"].eq(count)]
