"""Brings a stream of words from memory ahead of its use."""

from amaranth.hdl import Array, Const, Module, Mux, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import ADDRESS_BITS, ReadClient
from vitrtl.hw.accelerator.burst_splitter import BurstSplitter
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.sw.accelerator.isa import WORD_BITS

__all__ = ["LONGEST_STREAM_BITS", "Fetch"]

LONGEST_STREAM_BITS = 24
"""Of the number of words; longer programs are refused."""


class Fetch(wiring.Component):
    """Reads words that follow each other in memory, as far ahead as it has room.

    Room is set aside before a burst is asked for, so that beats never wait.

    Parameters
    ----------
    bus_bytes : of a beat.
    longest : beats of the longest burst.
    bursts : longest bursts that it has room for.

    Members
    -------
    start : `addr` and `count` are taken; only once after a reset.
    addr : byte address of the first word, a multiple of a beat.
    count : words, possibly none.
    read : the memory.
    words : the words.
    ended : the last one was taken.

    Latency
    -------
    Two cycles from `start` to the first burst, two from a beat to its first word.
    """

    def __init__(self, bus_bytes: int, longest: int = 16, bursts: int = 2) -> None:
        self.bus_bytes, self.longest, self.bursts = bus_bytes, longest, bursts
        super().__init__({
            "start": In(1), "addr": In(ADDRESS_BITS), "count": In(LONGEST_STREAM_BITS),
            "read": Out(ReadClient(bus_bytes)),
            "words": Out(stream.Signature(unsigned(WORD_BITS))),
            "ended": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        per_beat = 8 * self.bus_bytes // WORD_BITS
        index_bits = (per_beat - 1).bit_length()
        splitter = BurstSplitter(self.bus_bytes, LONGEST_STREAM_BITS, self.longest)
        m.submodules.splitter = splitter
        depth = self.longest * self.bursts
        m.submodules.beats = beats = SyncFIFO(width=8 * self.bus_bytes, depth=depth)

        # Whether there is a word takes long to find out: the engine gets it from a register.
        m.submodules.ready_words = output = SkidBuffer(unsigned(WORD_BITS))
        wiring.connect(m, output.o, wiring.flipped(self.words))
        started, more = Signal(), Signal()
        left = Signal(LONGEST_STREAM_BITS, reset_less=True)
        with m.If(self.start):
            m.d.sync += [started.eq(1), left.eq(self.count), more.eq(self.count != 0)]
        m.d.comb += [
            self.ended.eq(started & ~more & ~output.o.valid),
            splitter.i.valid.eq(self.start & (self.count != 0)),
            splitter.i.payload.addr.eq(self.addr),
            splitter.i.payload.beats.eq((self.count + (per_beat - 1)) >> index_bits),
        ]

        # Room for the longest burst stands for that of every burst.
        room = Signal(range(depth + 1), init=depth)
        has_room = Signal()
        m.d.comb += [
            has_room.eq(room >= self.longest),
            self.read.ask.valid.eq(splitter.o.valid & has_room),
            self.read.ask.payload.eq(splitter.o.payload),
            splitter.o.ready.eq(self.read.ask.ready & has_room),
            self.read.r.ready.eq(1),
            beats.w_en.eq(self.read.r.valid), beats.w_data.eq(self.read.r.payload),
        ]
        asked, freed = self.read.ask.valid & self.read.ask.ready, Signal()
        m.d.sync += [
            freed.eq(beats.r_en & beats.r_rdy),
            room.eq(room + freed - Mux(asked, self.read.ask.payload.length + 1, Const(0))),
        ]

        taken, counted = output.i.valid & output.i.ready, Signal()
        with m.If(counted):
            m.d.sync += [left.eq(left - 1), more.eq(left != 1)]
        if per_beat == 1:
            # Nothing but the program's words comes, so that counting them may take its time.
            m.d.sync += counted.eq(taken)
            m.d.comb += [output.i.valid.eq(beats.r_rdy), output.i.payload.eq(beats.r_data),
                         beats.r_en.eq(output.i.ready)]
            return m
        m.d.comb += [counted.eq(taken), output.i.valid.eq(beats.r_rdy & more)]
        index = Signal(index_bits)
        words = Array(beats.r_data[start:start + WORD_BITS]
                      for start in range(0, len(beats.r_data), WORD_BITS))
        m.d.comb += [output.i.payload.eq(words[index]),
                     beats.r_en.eq(taken & (index.all() | (left == 1)))]
        with m.If(taken):
            m.d.sync += index.eq(index + 1)
        return m
