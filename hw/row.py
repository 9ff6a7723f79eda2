"""What units that need a whole row share: taking rows in, handing row values on, framing."""

from collections.abc import Callable, Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, ValueLike, signed, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["Handover", "RowBuffer", "RowEmit", "RowGate", "RowIntake", "RowRegister",
           "maximum_stages", "row_maximum"]

BUFFER_SLACK = 64
"""Beats that a row buffer holds beyond the longest row if nothing else is asked for, so that the
next row streams in while the once-a-row work of the last one goes on."""

TAPS = {2: (2, 1), 3: (3, 2), 4: (4, 3), 5: (5, 3), 6: (6, 5), 7: (7, 6), 8: (8, 6, 5, 4),
        9: (9, 5), 10: (10, 7), 11: (11, 9), 12: (12, 6, 4, 1), 13: (13, 4, 3, 1)}
"""Bits, counted from 1, that a shift register of a width feeds back to pass all states but one."""


class RowGate:
    """Where rows begin and end on a stream.

    Parameters
    ----------
    m : module that holds the state.
    transfer : high in the cycles in which a beat passes.
    last : whether that beat ends its row.

    Attributes
    ----------
    in_row : a row has begun and not ended.
    starts, ends : a row begins, or ends, in this cycle.
    """

    def __init__(self, m: Module, transfer: ValueLike, last: ValueLike) -> None:
        self.in_row = Signal()
        self.starts, self.ends = Signal(), Signal()
        m.d.comb += [self.starts.eq(transfer & ~self.in_row), self.ends.eq(transfer & last)]
        with m.If(transfer):
            m.d.sync += self.in_row.eq(~last)


class Handover:
    """A running value of a row, kept for the next stage while the next row begins.

    The running value itself is one place and the held copy another; so at most two rows may have
    begun and not been taken.

    Parameters
    ----------
    m : module that holds the state.
    running : the value; complete in the cycle after `ends`, until the next row arrives here.
    starts : a row begins at the entrance of the stage.
    ends : the row's last beat is being merged into `running`.
    take : the next stage takes the held value; only while `valid`.

    Attributes
    ----------
    may_start : the next row may begin.
    valid, value : the held copy.
    """

    def __init__(self, m: Module, running: Value, starts: ValueLike, ends: ValueLike,
                 take: ValueLike) -> None:
        self.may_start = Signal()
        self.valid = Signal()
        self.value = Signal(running.shape(), reset_less=True)

        complete, move = Signal(), Signal()
        m.d.comb += move.eq(complete & (~self.valid | take))
        with m.If(take):
            m.d.sync += self.valid.eq(0)
        with m.If(move):
            m.d.sync += [complete.eq(0), self.valid.eq(1), self.value.eq(running)]
        with m.If(ends):
            m.d.sync += complete.eq(1)

        untaken = Signal(2)
        m.d.sync += untaken.eq(untaken + starts - take)
        m.d.comb += self.may_start.eq(~untaken[1])


class RowRegister(wiring.Component):
    """A row's value, held as long as its row is read: what a unit has in place of a division.

    Parameters
    ----------
    width : bits of the value, unsigned.

    Members
    -------
    i, o : values, in order.

    Latency
    -------
    None: the edge that takes a value makes it valid.
    """

    cycles = 0

    def __init__(self, width: int) -> None:
        super().__init__({
            "i": In(stream.Signature(unsigned(width))),
            "o": Out(stream.Signature(unsigned(width))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(~self.o.valid | self.o.ready)
        with m.If(self.i.ready):
            m.d.sync += [self.o.valid.eq(self.i.valid), self.o.payload.eq(self.i.payload)]
        return m


class RowBuffer(wiring.Component):
    """A queue in memory for the longest row and the start of the next.

    Parameters
    ----------
    width : bits of a beat.
    longest_beats : beats of the longest row.
    slack : beats beyond it, at least the cycles of the once-a-row work.
    distributed : not in a block memory.

    Members
    -------
    w_en, w_data, w_rdy : the entrance; a beat passes where `w_en` and `w_rdy` are high.
    r_en, r_data, r_rdy : the exit, likewise; `r_data` is the oldest beat while `r_rdy`.
    level : beats in the memory, at most its depth less one.

    Latency
    -------
    `LATENCY` cycles from the edge that takes a beat to the one that can hand it over.
    """

    LATENCY = 3

    def __init__(self, width: int, longest_beats: int, slack: int = BUFFER_SLACK, *,
                 distributed: bool = False) -> None:
        self.depth = 1 << (longest_beats + slack - 1).bit_length()
        self.distributed = distributed
        super().__init__({
            "w_en": In(1), "w_data": In(width), "w_rdy": Out(1, init=1),
            "r_en": In(1), "r_data": Out(width), "r_rdy": Out(1),
            "level": Out(range(self.depth + 1)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        store = BlockMemory(len(self.w_data), self.depth, distributed=self.distributed)
        m.submodules.memory = store

        # The memory's own output is the first place behind it, its register the second.
        fetched = Signal()
        move, fetch, put = Signal(), Signal(), Signal()
        filled = self.level != 0
        m.d.comb += [
            put.eq(self.w_en & self.w_rdy),
            move.eq(~self.r_rdy | self.r_en),
            fetch.eq(filled & (~fetched | move)),
        ]
        m.d.comb += [
            store.w_en.eq(put), store.w_data.eq(self.w_data),
            store.r_en.eq(~fetched | move),
            store.o_en.eq(move), self.r_data.eq(store.o_data),
        ]
        # Places are used in the order of a shift register with feedback, which needs no adder.
        for enable, address in ((put, store.w_addr), (fetch, store.r_addr)):
            place = Signal.like(address)
            m.d.comb += address.eq(place)
            feedback = ~Cat(place[bit - 1] for bit in TAPS[len(place)]).xor()
            with m.If(enable):
                m.d.sync += place.eq(Cat(feedback, place))
        with m.If(~fetched | move):
            m.d.sync += fetched.eq(filled)
        with m.If(move):
            m.d.sync += self.r_rdy.eq(fetched)

        # The entrance closes early, so that its state can be a cycle old.
        with m.If(put != fetch):
            m.d.sync += self.level.eq(self.level + Mux(put, 1, -1))
        m.d.sync += self.w_rdy.eq(self.has_room(4))
        return m

    def has_room(self, beats: int) -> Value:
        """Return whether so many beats, rounded up to a power of two, find a place, and more."""
        return ~self.level[(beats - 1).bit_length():(self.depth - 1).bit_length()].all()


class RowIntake:
    """The entrance of a row unit: rows go into a buffer, and are counted until they leave.

    Parameters
    ----------
    m : module that holds the state.
    spec : has `lanes` and `longest_row`.
    unit : the component, with streams `c`, `i` and `o`.
    slack : beats that the buffer holds beyond the longest row.
    encoder_stages : of what stands between the stream and the buffer; its elements are then given
        to `store`. With none, the buffer takes the stream's.
    element_format : of a buffered element, if not the input's.
    most_rows : that are ever in flight, if fewer than two buffers hold beats.

    Attributes
    ----------
    transfer : a beat passes.
    gate : where rows begin and end.
    keep : which lanes of the beat hold an element.
    buffer : holds `Cat(elements, keep, last)` of each beat, with one lane no `keep`.
    may_start : to be driven: the next row may begin.
    idle : no row is in flight.
    """

    def __init__(self, m: Module, spec: VectorSpec, unit: wiring.PureInterface,
                 slack: int = BUFFER_SLACK, encoder_stages: int = 0,
                 element_format: Format | None = None, most_rows: int | None = None) -> None:
        beat = unit.i.payload
        self.m = m
        self.keep = Const(1, 1) if spec.lanes == 1 else beat.keep
        self.last = beat.last
        self.encoder_stages = encoder_stages
        element_width = (element_format or spec.in_format).width
        keep_width = spec.lanes if spec.lanes > 1 else 0
        self.buffer = RowBuffer(spec.lanes * element_width + keep_width + 1,
                                -(-spec.longest_row // spec.lanes), slack)
        m.submodules.elements = self.buffer
        room = self.buffer.w_rdy
        if encoder_stages:
            # Enough of it for whatever is in the encoder when the entrance closes.
            room = Signal()
            m.d.sync += room.eq(self.buffer.has_room(encoder_stages + 5))

        # A waiting configuration word keeps the next row out, but not the rest of this one.
        self.transfer, self.may_start = Signal(), Signal()
        self.gate = RowGate(m, self.transfer, beat.last)
        m.d.comb += [
            unit.i.ready.eq(room & (self.gate.in_row | (self.may_start & ~unit.c.valid))),
            self.transfer.eq(unit.i.valid & unit.i.ready),
        ]
        if not encoder_stages:
            self.store(Pipeline(m, Const(1)), beat.data)

        # Counted a cycle late, to keep the handshakes out of the adder; a row that has just begun
        # is not yet counted, but seen.
        begun, left = Signal(), Signal()
        m.d.sync += [
            begun.eq(self.gate.starts),
            left.eq(unit.o.valid & unit.o.ready & unit.o.payload.last),
        ]
        count = Signal(range((most_rows or 2 * self.buffer.depth) + 1))
        with m.If(begun != left):
            m.d.sync += count.eq(count + Mux(begun, 1, -1))
        self.idle = (count == 0) & ~begun

    def store(self, pipe: Pipeline, elements: Sequence[Value]) -> None:
        """Write a beat's elements to the buffer, `encoder_stages` after it came."""
        stages = self.encoder_stages
        self.m.d.comb += [
            self.buffer.w_en.eq(pipe.reg(self.transfer, stages, reset_less=False)),
            self.buffer.w_data.eq(Cat(
                *elements, pipe.reg(self.keep, stages) if len(elements) > 1 else (),
                pipe.reg(self.last, stages))),
        ]


class RowEmit:
    """The exit of a row unit: a pipeline from a row buffer to the output stream.

    Parameters
    ----------
    m : module that holds the state.
    spec : has `lanes`.
    o : the output stream.
    buffer : holds `Cat(..., keep, last)` of each beat, row by row; with one lane no `keep`.
    may_emit : the once-a-row values of the buffer's row are there.
    queued : stages of a pipeline that never stops, with a queue behind it in place of an enable
        on every register; 0 for one that stops with its output.

    Attributes
    ----------
    pipe : stages that advance as the output is taken.
    takes, starts, ends : a beat, a row's first, or a row's last leaves the buffer.
    fields : the buffered beat without its keep and last, in the cycle in which it is taken.
    """

    def __init__(self, m: Module, spec: VectorSpec, o: wiring.PureInterface,
                 buffer: RowBuffer, may_emit: ValueLike, queued: int = 0) -> None:
        self.m, self.spec, self.o = m, spec, o
        self._keep_width = spec.lanes if spec.lanes > 1 else 0
        advance = Signal()
        if queued:
            # Enough room for whatever is in the pipeline when the output stops.
            width = len(Value.cast(o.payload.data)) + self._keep_width + 1
            self._queue = m.submodules.results = RowBuffer(width, queued)
            room = Signal()
            m.d.sync += room.eq(self._queue.has_room(queued + 4))
            m.d.comb += advance.eq(room)
            self.pipe = Pipeline(m, Const(1))
        else:
            self._queue = None
            m.d.comb += advance.eq(~o.valid | o.ready)
            self.pipe = Pipeline(m, advance)
        self.takes = Signal()
        self.fields, self._keep, self._last = self._split(buffer.r_data)
        m.d.comb += [
            self.takes.eq(buffer.r_rdy & may_emit & advance),
            buffer.r_en.eq(self.takes),
        ]
        gate = RowGate(m, self.takes, self._last)
        self.starts, self.ends = gate.starts, gate.ends
        self._channel: Signal | None = None

    def _split(self, beat: Value) -> tuple[Value, Value, Value]:
        """Return what a buffered beat holds, which lanes of it count, whether it ends its row."""
        end = len(beat) - 1
        return beat[:end - self._keep_width], beat[end - self._keep_width:end], beat[end]

    def channel_words(self, config: ConfigBank, name: str, stage: int) -> list[Value]:
        """Return each lane's word of a register with one for each channel.

        Parameters
        ----------
        stage : stages from `fields` to the word, at least two.
        """
        m, pipe = self.m, self.pipe
        stores = config.memory(name, self.spec.lanes)
        if self._channel is None:
            self._channel = Signal.like(stores[0].r_addr)
            with m.If(self.takes):
                m.d.sync += self._channel.eq(self._channel + 1)
            with m.If(self.ends):
                m.d.sync += self._channel.eq(0)
        address = pipe.reg(self._channel, stage - BlockMemory.LATENCY)
        for store in stores:
            m.d.comb += [store.r_addr.eq(address), store.r_en.eq(pipe.advance),
                         store.o_en.eq(pipe.advance)]
        return [store.o_data for store in stores]

    def finish(self, stages: int, lane: Callable[[int], Value]) -> None:
        """Drive the output from `lane(index)`, `stages` after `fields`."""
        m, o, pipe, lanes = self.m, self.o, self.pipe, self.spec.lanes
        valid = pipe.reg(self.takes, stages, reset_less=False)
        keep, last = pipe.reg(self._keep, stages), pipe.reg(self._last, stages)
        elements = []
        for index in range(lanes):
            element = Signal(shape_of(self.spec.out_format))
            value = lane(index)
            m.d.comb += element.eq(value if lanes == 1 else Mux(keep[index], value, 0))
            elements.append(element)
        data = Cat(*elements)
        if self._queue is not None:
            queue = self._queue
            m.d.comb += [queue.w_en.eq(valid), queue.w_data.eq(Cat(data, keep, last)),
                         queue.r_en.eq(o.ready)]
            valid = queue.r_rdy
            data, keep, last = self._split(queue.r_data)
        leaving = RowGate(m, o.valid & o.ready, last)
        m.d.comb += [
            o.valid.eq(valid),
            Value.cast(o.payload.data).eq(data),
            o.payload.first.eq(~leaving.in_row),
            o.payload.last.eq(last),
        ]
        if lanes > 1:
            m.d.comb += o.payload.keep.eq(keep)


def maximum_stages(spec: VectorSpec) -> int:
    """Return the cycles before an element is compared with the largest of its row so far."""
    return max(1, (spec.lanes - 1).bit_length())


def row_maximum(m: Module, spec: VectorSpec, unit: wiring.PureInterface, intake: RowIntake,
                take: ValueLike) -> Handover:
    """Find the largest element of each row as it comes in, and let the next row in meanwhile."""
    lowest = spec.in_format.lo
    largest = Signal(shape_of(spec.in_format), reset_less=True)
    run = Pipeline(m, Const(1))
    candidates = list(unit.i.payload.data)
    if spec.lanes > 1:
        candidates = [Mux(keep, element, lowest)
                      for keep, element in zip(intake.keep, candidates, strict=True)]
    # Two of a beat's elements are compared a cycle, and then the last with the largest so far.
    tree = maximum_stages(spec) - 1
    while len(candidates) > 1:
        # By the sign of a difference: a comparison leaves the carry chain and enters it again.
        candidates = [Mux((a - b)[-1], b, a)
                      for a, b in zip(candidates[::2], candidates[1::2], strict=True)]
        if len(candidates) > 1:
            candidates = [run.reg(larger) for larger in candidates]
    candidate = Signal.like(largest)
    taken, begins, ends = Signal(), Signal(), Signal()
    m.d.sync += [
        candidate.eq(candidates[0]),
        taken.eq(run.reg(intake.transfer, tree, reset_less=False)),
        begins.eq(run.reg(intake.gate.starts, tree, reset_less=False)),
        ends.eq(run.reg(intake.gate.ends, tree, reset_less=False)),
    ]
    difference = Signal(signed(spec.in_width + 1))
    m.d.comb += difference.eq(largest - candidate)
    with m.If(taken & (begins | difference[-1])):
        m.d.sync += largest.eq(candidate)
    handover = Handover(m, largest, intake.gate.starts, ends, take)
    m.d.comb += intake.may_start.eq(handover.may_start)
    return handover
