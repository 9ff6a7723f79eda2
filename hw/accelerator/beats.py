"""Between words of a memory and beats of a stream: rows cut apart, rows put together."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.loops import LoopWord
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.hw.row import RowGate
from vitrtl.hw.stream import Beat
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["Packer", "Serializer"]


class Serializer(wiring.Component):
    """Cuts the words of rows into beats.

    Parameters
    ----------
    spec : of the unit whose beats they are.
    size : elements of a word; a multiple of the lanes.
    element_width : bits of an element in a word, of which the low ones are taken.
    jobs : whose lengths can wait.

    Members
    -------
    tail : place in its word of a row's last element, the same for all rows of a job.
    i : words of the job's rows, i0 along a row and i1 from row to row.
    o : beats.

    Latency
    -------
    Two cycles.

    Throughput
    ----------
    One beat per cycle, sustained from row to row and from job to job.
    """

    def __init__(self, spec: VectorSpec, size: int, element_width: int, jobs: int = 4) -> None:
        self.spec, self.size, self.element_width, self.jobs = spec, size, element_width, jobs
        super().__init__({
            "tail": In(stream.Signature(range(size))),
            "i": In(stream.Signature(LoopWord(size * element_width))),
            "o": Out(stream.Signature(Beat(spec.in_format, spec.lanes))),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, width = self.spec.lanes, self.element_width
        lane_bits = (lanes - 1).bit_length()
        # Whether there is a word, and who takes it, may be far from one another.
        m.submodules.words = words = SkidBuffer(self.i.payload.shape())
        wiring.connect(m, wiring.flipped(self.i), words.i)
        source = words.o
        tails = m.submodules.tails = SyncFIFOBuffered(width=len(self.tail.payload), depth=self.jobs)
        m.d.comb += [tails.w_en.eq(self.tail.valid), tails.w_data.eq(self.tail.payload),
                     self.tail.ready.eq(tails.w_rdy)]

        # A word is shifted out; what is known of its row comes along.
        word = Signal(self.size * width, reset_less=True)
        final, ends_row = Signal(), Signal()
        tail_keep = Signal(lanes)
        taken, load = Signal(), Signal()
        beat = self.o.payload
        m.d.comb += [
            taken.eq(self.o.valid & self.o.ready),
            source.ready.eq((~self.o.valid | (taken & final)) & tails.r_rdy),
            load.eq(source.valid & source.ready),
            tails.r_en.eq(load & source.payload.last0 & source.payload.last1),
        ]
        with m.If(load):
            m.d.sync += [
                self.o.valid.eq(1), word.eq(source.payload.data),
                ends_row.eq(source.payload.last0),
                tail_keep.eq(Cat(Const(1, 1), *(tails.r_data[:lane_bits] >= lane
                                                for lane in range(1, lanes)))),
            ]
        with m.Elif(taken):
            m.d.sync += [self.o.valid.eq(~final), word.eq(word >> lanes * width)]
        if self.size == lanes:
            m.d.comb += final.eq(1)
        else:
            most = self.size // lanes - 1
            after, beats_after = Signal(range(most + 1)), Signal(range(most + 1))
            m.d.comb += beats_after.eq(Mux(source.payload.last0, tails.r_data[lane_bits:], most))
            with m.If(load):
                m.d.sync += [after.eq(beats_after), final.eq(beats_after == 0)]
            with m.Elif(taken):
                m.d.sync += [after.eq(after - 1), final.eq(after == 1)]

        gate = RowGate(m, taken, beat.last)
        m.d.comb += [beat.first.eq(~gate.in_row), beat.last.eq(final & ends_row)]
        m.d.comb += [beat.data[k].eq(word[k * width:]) for k in range(lanes)]
        if lanes > 1:
            m.d.comb += beat.keep.eq(Mux(beat.last, tail_keep, (1 << lanes) - 1))
        return m


class Packer(wiring.Component):
    """Puts beats together to words of bytes; zeros follow a row's last element.

    Parameters
    ----------
    spec : of the unit whose results they are, of eight bits at most; a signed one is extended to
        its byte.
    size : elements of a word; a multiple of the lanes.

    Members
    -------
    i : beats.
    o : words.

    Latency
    -------
    One cycle from the beat that fills a word or ends its row.
    """

    def __init__(self, spec: VectorSpec, size: int) -> None:
        self.spec, self.size = spec, size
        super().__init__({"i": In(stream.Signature(Beat(spec.out_format, spec.lanes))),
                          "o": Out(stream.Signature(8 * size))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        places = self.size // spec.lanes
        # Beats come from the far end of a unit.
        m.submodules.beats = beats = SkidBuffer(self.i.payload.shape())
        wiring.connect(m, wiring.flipped(self.i), beats.i)
        beat = beats.o.payload
        elements = []
        for element in beat.data:
            extended = Signal(signed(8))
            m.d.comb += extended.eq(element)
            elements.append(extended)

        m.d.comb += beats.o.ready.eq(self.o.ready)
        if places == 1:
            m.d.comb += [self.o.payload.eq(Cat(elements)), self.o.valid.eq(beats.o.valid)]
            return m

        # What is collected is zero where nothing came yet.
        collected = Signal(8 * (self.size - spec.lanes))
        place = Signal(range(places))
        part = 8 * spec.lanes
        m.d.comb += [
            self.o.payload.eq(collected),
            self.o.payload.word_select(place, part).eq(Cat(elements)),
            self.o.valid.eq(beats.o.valid & (beat.last | (place == places - 1))),
        ]
        with m.If(beats.o.valid & beats.o.ready):
            m.d.sync += [collected.eq(self.o.payload), place.eq(place + 1)]
            with m.If(self.o.valid):
                m.d.sync += [collected.eq(0), place.eq(0)]
        return m
