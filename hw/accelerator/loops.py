"""Addresses of three nested loops, and the words of a memory that they name."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.places import Places
from vitrtl.hw.accelerator.ports import ReadPort
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer

__all__ = ["Addresses", "LoopAddress", "LoopJob", "LoopWord", "WordReader"]

FLAGS = {"first1": 1, "last0": 1, "last1": 1, "last2": 1}


class LoopJob(data.StructLayout):
    """Three nested loops: `base + i2*step2 + i1*step1 + i0*step0`, i0 innermost.

    Parameters
    ----------
    address_bits : of `base`; sums wrap, and upper bits that a memory lacks are dropped.

    Members
    -------
    base : first address.
    step0, step1, step2 : from one value of i0, i1, i2 to the next.
    count0, count1, count2 : values of i0, i1, i2, from one on.
    """

    def __init__(self, address_bits: int = 20) -> None:
        super().__init__({
            "base": address_bits, "step0": 16, "step1": 16, "step2": 16,
            "count0": 16, "count1": 16, "count2": 16,
        })


class LoopAddress(data.StructLayout):
    """One address and its place in the loops.

    Members
    -------
    addr : the address.
    first1 : i1 is zero.
    last0, last1, last2 : i0, i1, i2 has its last value.
    """

    def __init__(self, words: int) -> None:
        super().__init__({"addr": range(words), **FLAGS})


class LoopWord(data.StructLayout):
    """One word and its place in the loops, as in `LoopAddress`."""

    def __init__(self, width: int) -> None:
        super().__init__({"data": width, **FLAGS})


class Addresses(wiring.Component):
    """Counts jobs out, address by address.

    Parameters
    ----------
    words : of the memory.

    Members
    -------
    job : loops, one after the other.
    o : their addresses.

    Latency
    -------
    One cycle from a job to its first address.

    Throughput
    ----------
    One address per cycle, sustained from job to job.
    """

    def __init__(self, words: int) -> None:
        self.words = words
        super().__init__({"job": In(stream.Signature(LoopJob())),
                          "o": Out(stream.Signature(LoopAddress(words)))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        here = self.o.payload
        lasts = (here.last0, here.last1, here.last2)
        job = Signal(self.job.payload.shape(), reset_less=True)
        left = [Signal.like(count, name=f"left{i}", reset_less=True)
                for i, count in enumerate((job.count0, job.count1, job.count2))]

        # Addresses at which the two inner loops have begun.
        inner = Signal.like(here.addr, reset_less=True)
        middle = Signal.like(here.addr, reset_less=True)
        following = Signal.like(here.addr)
        m.d.comb += following.eq(
            Mux(~here.last0, here.addr, Mux(~here.last1, inner, middle))
            + Mux(~here.last0, job.step0, Mux(~here.last1, job.step1, job.step2)))

        advance = Signal()
        m.d.comb += [
            advance.eq(~self.o.valid | self.o.ready),
            self.job.ready.eq(advance & (~self.o.valid | Cat(lasts).all())),
        ]
        with m.If(self.job.ready):
            new = self.job.payload
            m.d.sync += [
                self.o.valid.eq(self.job.valid), job.eq(new), here.first1.eq(1),
                here.addr.eq(new.base), inner.eq(new.base), middle.eq(new.base),
            ]
            for i in range(3):
                m.d.sync += [left[i].eq(new[f"count{i}"]), lasts[i].eq(new[f"count{i}"] == 1)]
        with m.Elif(advance):
            m.d.sync += here.addr.eq(following)
            self._count(m, left[0], job.count0, here.last0)
            with m.If(here.last0):
                m.d.sync += [inner.eq(following), here.first1.eq(here.last1)]
                self._count(m, left[1], job.count1, here.last1)
                with m.If(here.last1):
                    m.d.sync += middle.eq(following)
                    self._count(m, left[2], job.count2, here.last2)
        return m

    @staticmethod
    def _count(m: Module, left: Signal, count: Signal, last: Signal) -> None:
        """Go to the next value of a loop, from its last to its first."""
        m.d.sync += [left.eq(Mux(last, count, left - 1)),
                     last.eq(Mux(last, count == 1, left == 2))]


class WordReader(wiring.Component):
    """Reads the words that loops name.

    An address goes out only if there is a place for its word, so that the port, which cannot
    wait, is always heard.

    Parameters
    ----------
    width : bits of a word.
    words : of the memory.
    queue : words that are on their way or wait to be taken; one word per cycle needs
        as many as the memory's cycles from address to word, and three more.

    Members
    -------
    job : loops, one after the other.
    port : of the memory.
    o : words, in order.
    busy : a job has words that were not taken from `o` yet.

    Latency
    -------
    `LATENCY` cycles and those of the memory from a job to its first word.

    Throughput
    ----------
    One word per cycle, sustained from job to job.
    """

    LATENCY = 3

    def __init__(self, width: int, words: int, queue: int = 8) -> None:
        self.width, self.words, self.queue = width, words, queue
        super().__init__({
            "job": In(stream.Signature(LoopJob())),
            "port": Out(ReadPort(width, words)),
            "o": Out(stream.Signature(LoopWord(width))),
            "busy": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.addresses = addresses = Addresses(self.words)
        # Whether the memory is ready depends on everyone who reads; it must not get further.
        m.submodules.ahead = ahead = SkidBuffer(LoopAddress(self.words))
        wiring.connect(m, wiring.flipped(self.job), addresses.job)

        m.submodules.places = places = Places(self.queue)
        sent, taken = Signal(), Signal()
        address = addresses.o.payload
        m.d.comb += [
            ahead.i.valid.eq(addresses.o.valid & places.some), ahead.i.payload.eq(address),
            addresses.o.ready.eq(ahead.i.ready & places.some),
            sent.eq(ahead.i.valid & ahead.i.ready),
            self.port.en.eq(ahead.o.valid), self.port.addr.eq(ahead.o.payload.addr),
            ahead.o.ready.eq(self.port.ready),
            taken.eq(self.o.valid & self.o.ready),
            places.take.eq(sent), places.give.eq(taken),
        ]

        # Place in the loops from the address's departure, the word from its arrival.
        flags = m.submodules.flags = SyncFIFO(width=len(FLAGS), depth=self.queue)
        words = m.submodules.words = SyncFIFO(width=self.width, depth=self.queue)
        m.d.comb += [
            flags.w_en.eq(sent), flags.w_data.eq(Cat(address[name] for name in FLAGS)),
            words.w_en.eq(self.port.valid), words.w_data.eq(self.port.data),
            self.o.valid.eq(words.r_rdy), self.o.payload.data.eq(words.r_data),
            Cat(self.o.payload[name] for name in FLAGS).eq(flags.r_data),
            flags.r_en.eq(taken), words.r_en.eq(taken),
            self.busy.eq(addresses.o.valid | ahead.o.valid | ~places.every),
        ]
        return m
