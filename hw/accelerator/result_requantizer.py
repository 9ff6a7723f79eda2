"""Requantizes the array's results, a part of a beat in each cycle, and adds them to a residual."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.loops import LoopWord
from vitrtl.hw.accelerator.places import Places
from vitrtl.hw.accelerator.ports import ConstantsPort, InstructionLayout
from vitrtl.hw.accumulating_array import SumBeat
from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.requantize import Requantize, requantized
from vitrtl.hw.stream import shape_of
from vitrtl.sw.accelerator.isa import MODES
from vitrtl.sw.accelerator.spec import ARRAY, CONSTANT_BEATS, AcceleratorSpec
from vitrtl.sw.golden.fixed_point import Format

__all__ = ["ResultJob", "ResultRequantizer", "ResultWord"]

CONSTANT_BITS = 64

QUEUE = 16
"""Words on their way through the lanes or waiting to be taken."""


class ResultJob(data.StructLayout):
    """What an instruction says of its results."""

    def __init__(self, spec: AcceleratorSpec) -> None:
        fields = InstructionLayout(ARRAY).members
        paired = ("paired",) if spec.paired else ()
        names = ("n_tiles", "constants", "per_channel", "mode", *paired)
        super().__init__({name: fields[name] for name in names})


class ResultWord(data.StructLayout):
    """Requantized results of a beat; `narrow` ones have the width of an activation."""

    def __init__(self, spec: AcceleratorSpec) -> None:
        super().__init__({
            "data": data.ArrayLayout(shape_of(spec.requantize.out_format), spec.size),
            "narrow": 1})


class ResultRequantizer(wiring.Component):
    """Lanes of the unit `vitrtl.hw.requantize`, through which a beat goes in several phases.

    Constants of channel c of a group are those of lane `c % lanes`, phase `c // lanes`. The group
    is the job's; if it is per channel, each pass after its first has the next. In a paired job,
    beats have the two groups of their pass in turn.

    Parameters
    ----------
    spec : of the accelerator.
    distributed : constants are not in block memory.

    Members
    -------
    constants : writes them; not those of a job that has begun.
    job : instructions, in order; each ends with the last beat of `n_tiles` passes.
    i : results of the array.
    residual : a word for every beat of a job that adds.
    o : a word for every beat.

    Latency
    -------
    `latency` cycles from a beat to its word. Nothing is stopped on its way: a beat enters if its
    word has a place in the queue behind the lanes, and together with what it is added to.

    Throughput
    ----------
    `phases` cycles a beat, sustained from job to job.
    """

    # The requantizer's own, the sum with the residual, the register that collects the phases.
    STAGES = Requantize.STAGES + 2

    def __init__(self, spec: AcceleratorSpec, *, distributed: bool = False) -> None:
        self.spec = spec
        self.distributed = distributed
        super().__init__({
            "constants": In(ConstantsPort(spec)),
            "job": In(stream.Signature(ResultJob(spec))),
            "i": In(stream.Signature(SumBeat(spec.matmul))),
            "residual": In(stream.Signature(LoopWord(2 * 8 * spec.size))),
            "o": Out(stream.Signature(ResultWord(spec))),
        })

    @property
    def phases(self) -> int:
        """Cycles that a beat takes."""
        return self.spec.size // self.spec.requantize_lanes

    @property
    def latency(self) -> int:
        """Cycles from a beat to its word, without stalls."""
        return self.phases - 1 + self.STAGES + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes = spec.requantize_lanes
        pipe = Pipeline(m, Const(1))

        # A job is held from the cycle after its predecessor's end.
        job = Signal(ResultJob(spec), reset_less=True)
        held, step, ends = Signal(), Signal(), Signal()
        # The phase chooses among all data; what depends on it alone has a counter of its own.
        phase, left = Const(0, 0), Const(0, 0)
        if self.phases > 1:
            phase = Signal(range(self.phases))
            left = Signal(range(self.phases), init=self.phases - 1)
        first_phase, last_phase = left == self.phases - 1, left == 0
        adds, final = Signal(reset_less=True), Signal(reset_less=True)
        m.submodules.places = places = Places(QUEUE)
        m.d.comb += [
            step.eq(self.i.valid & held & (places.some | ~first_phase)
                    & (self.residual.valid | ~adds)),
            places.take.eq(step & first_phase),
            self.i.ready.eq(step & last_phase),
            self.residual.ready.eq(step & last_phase & adds),
            ends.eq(step & last_phase & self.i.payload.last & final),
            self.job.ready.eq(~held | ends),
        ]
        if self.phases > 1:
            with m.If(step):
                m.d.sync += [phase.eq(phase + 1), left.eq(left - 1)]
        with m.If(self.job.ready):
            m.d.sync += [held.eq(self.job.valid), job.eq(self.job.payload),
                         adds.eq(self.job.payload.mode == MODES["add"]),
                         final.eq(self.job.payload.n_tiles == 1)]
        with m.Elif(step & last_phase & self.i.payload.last):
            m.d.sync += [job.n_tiles.eq(job.n_tiles - 1), final.eq(job.n_tiles == 2),
                         job.constants.eq(job.constants + job.per_channel)]
        if spec.paired:
            # The first of a pass's two groups is even, and its last beat has the second.
            with m.Elif(step & last_phase & job.paired):
                m.d.sync += job.constants[0].eq(job.constants[0] ^ job.per_channel)

        # Stages 1 to 7: one phase of the beat through the lanes.
        results = Signal(data.ArrayLayout(shape_of(spec.requantize.out_format), lanes))
        part = _part(Value.cast(self.i.payload.data), phase, self.phases)
        stores = self._constants(m)
        width = spec.requantize.in_width
        for lane, store in enumerate(stores):
            m.d.comb += [
                store.r_addr.eq(Cat(phase, job.constants)),
                store.r_en.eq(1), store.o_en.eq(1),
                results[lane].eq(requantized(
                    pipe, spec.requantize, part[lane * width:(lane + 1) * width].as_signed(),
                    store.o_data[:width].as_signed(), store.o_data[width:])),
            ]
        valid = pipe.reg(step, Requantize.STAGES - 1, reset_less=False)
        closes, narrow = pipe.reg(Cat(last_phase, job.mode == MODES["narrow"]),
                                  Requantize.STAGES - 1)
        residual = _part(self.residual.payload.data, phase, self.phases)
        addends = pipe.reg(Mux(adds, residual, 0), Requantize.STAGES)

        # Stage 8: add, saturating. Stage 9: narrow results saturate further; phases are collected
        # from the top down.
        wide, activation = spec.requantize.out_format, Format(spec.activation_width, True)
        narrows = pipe.reg(narrow, 2)
        collected = []
        for lane in range(lanes):
            addend = addends[lane * wide.width:(lane + 1) * wide.width].as_signed()
            total = pipe.reg(_saturated(results[lane] + addend, wide))
            collected.append(Mux(narrows, _saturated(total, activation), total)[:wide.width])
        word = Signal(wide.width * spec.size, reset_less=True)
        with m.If(pipe.reg(valid, 2, reset_less=False)):
            m.d.sync += word.eq(Cat(word, *collected)[-len(word):])
        m.submodules.queue = queue = SyncFIFO(width=len(word) + 1, depth=QUEUE)
        m.d.comb += [
            queue.w_en.eq(pipe.reg(valid & closes, 3, reset_less=False)),
            queue.w_data.eq(Cat(word, pipe.reg(narrows))),
            self.o.valid.eq(queue.r_rdy), queue.r_en.eq(self.o.ready),
            Cat(Value.cast(self.o.payload.data), self.o.payload.narrow).eq(queue.r_data),
            places.give.eq(self.o.valid & self.o.ready),
        ]
        return m

    def _constants(self, m: Module) -> list[BlockMemory]:
        """Return a memory for each lane, with a word for each phase of each group."""
        spec, port = self.spec, self.constants
        requantize = spec.requantize
        bits = requantize.in_width + requantize.multiplier_width + requantize.code_width
        # A beat brings channels of one phase: those of its share of the lanes.
        channels = spec.size // CONSTANT_BEATS
        share_bits = (spec.requantize_lanes // channels - 1).bit_length()
        stores = []
        for lane in range(spec.requantize_lanes):
            store = BlockMemory(bits, spec.constant_groups * self.phases,
                                distributed=self.distributed)
            m.submodules[f"constants_{lane}"] = store
            share, channel = divmod(lane, channels)
            m.d.comb += [
                store.w_en.eq(port.en & (port.beat[:share_bits] == share)),
                store.w_addr.eq(Cat(port.beat[share_bits:], port.group)),
                store.w_data.eq(port.data[channel * CONSTANT_BITS:]),
            ]
            stores.append(store)
        return stores


def _part(value: Value, index: Value, count: int) -> Value:
    """Return one of `count` equal parts."""
    width = len(value) // count
    return value if count == 1 else Array(
        value[start:start + width] for start in range(0, len(value), width))[index]


def _saturated(value: Value, fmt: Format) -> Value:
    """Return a signed value clamped to a format."""
    if len(value) <= fmt.width:
        return value
    sign, above = value[-1], value[fmt.width - 1:-1]
    fits = ~(above ^ sign.replicate(len(above))).any()
    clamped = Mux(sign, Const(fmt.lo, signed(fmt.width)), Const(fmt.hi, signed(fmt.width)))
    return Mux(fits, value[:fmt.width].as_signed(), clamped)
