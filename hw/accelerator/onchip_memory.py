"""Memory of the device itself behind AXI4, with contents from the start."""

import dataclasses
from collections.abc import Iterator

from amaranth.hdl import Array, Cat, Const, Module, Signal, Value
from amaranth.lib import data, memory, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In

from vitrtl.hw.accelerator.axi import AXI4
from vitrtl.hw.accelerator.places import Places
from vitrtl.hw.accelerator.ports import ReadPort, WritePort
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.hw.pipeline import Pipeline

__all__ = ["OnchipMemory", "read_latency"]

LEAST_WORDS = 512
"""Words of the smallest part: fewer do not take fewer blocks of memory."""

MOST_WORDS = 4096
"""Words of the largest part: so few blocks of memory can lie beside one another on any device."""

OKAY, SLVERR = 0, 2


@dataclasses.dataclass(frozen=True, slots=True)
class Part:
    """Words from a multiple of their number on, which is a power of two."""

    start: int
    words: int

    def holds(self, addr: Value) -> Value:
        """Return whether a word's address is in this part."""
        bits = self.words.bit_length() - 1
        return addr[bits:] == self.start >> bits


def read_latency(words: int) -> int:
    """Return the cycles of a read of a memory with at least so many words.

    It is one for each part, and two for address and block.
    """
    return len(_parts(_whole(words))) + 2


def _whole(words: int) -> int:
    """Return the words that there are if there must be some."""
    return -(-words // LEAST_WORDS) * LEAST_WORDS


def _parts(words: int) -> list[Part]:
    """Return where the words are."""
    parts: list[Part] = []
    start = 0
    while left := words - start:
        parts.append(Part(start, min(MOST_WORDS, 1 << (left.bit_length() - 1))))
        start += parts[-1].words
    return parts


class Beat(data.StructLayout):
    """A beat of read data on its way to the bus."""

    def __init__(self, bus_bytes: int, id_bits: int) -> None:
        super().__init__({"data": 8 * bus_bytes, "id": id_bits, "last": 1, "error": 1})


class OnchipMemory(wiring.Component):
    """Block memory behind AXI4, and behind a pair of ports for a host.

    The words are in parts of powers of two, each in blocks of its own, so that no more blocks are
    taken than the words need. The parts are a chain: an access passes from one to the next, a cycle
    each, and the word that it finds comes out at the end. No signal goes to more than one part,
    wherever on the device their blocks are. Bursts are of type INCR and of whole beats, whatever
    they say, and are answered in order. What is beyond the last word is answered with SLVERR. The
    ports get the cycles that the bus does not use.

    Parameters
    ----------
    bus_bytes : of a beat, which is a word.
    id_bits : of the identifiers.
    words : that there must be at least.
    contents : first bytes; zeros follow.

    Members
    -------
    axi : bus.
    r, w : ports of the host, whose words are those of the bus.

    Latency
    -------
    `latency` cycles from an address that is taken at `r` to its word; three more from a burst
    that is taken to its first beat. A word can be read from the second cycle after the one that
    writes it.

    Throughput
    ----------
    A beat per cycle each way, sustained from burst to burst of reads; two cycles more a burst of
    writes.
    """

    def __init__(self, bus_bytes: int, id_bits: int, words: int, contents: bytes = b"") -> None:
        if len(contents) > words * bus_bytes:
            raise ValueError(f"contents must have at most {words * bus_bytes} bytes, "
                             f"not {len(contents)}")
        self.bus_bytes, self.id_bits = bus_bytes, id_bits
        self.contents = contents
        self.words = _whole(words)
        super().__init__({
            "axi": In(AXI4(bus_bytes, id_bits)),
            "r": In(ReadPort(8 * bus_bytes, self.words)),
            "w": In(WritePort(8 * bus_bytes, self.words)),
        })

    @property
    def parts(self) -> list[Part]:
        """Where the words are, in the order in which accesses pass."""
        return _parts(self.words)

    @property
    def latency(self) -> int:
        """Cycles of a read."""
        return read_latency(self.words)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        stores = list(self._stores(m))
        self._read(m, [store.read_port() for store in stores])
        self._write(m, [store.write_port(granularity=8) for store in stores])
        return m

    def _stores(self, m: Module) -> Iterator[memory.Memory]:
        """Yield the memory of each part."""
        size = self.bus_bytes
        padded = self.contents + bytes(self.words * size - len(self.contents))
        init = [int.from_bytes(padded[i:i + size], "little") for i in range(0, len(padded), size)]
        for index, part in enumerate(self.parts):
            # What a read gives in the cycle that writes the word is nobody's business.
            store = memory.Memory(shape=8 * size, depth=part.words,
                                  init=init[part.start:part.start + part.words],
                                  attrs={"ram_style": "block", "no_rw_check": "1"})
            m.submodules[f"part{index}"] = store
            yield store

    def _read(self, m: Module, ports: list[memory.ReadPort]) -> None:
        """Give the bus beats of bursts, and the host words where the bus leaves a cycle."""
        axi, beat = self.axi, Beat(self.bus_bytes, self.id_bits)
        byte_bits = (self.bus_bytes - 1).bit_length()
        place = Signal(len(axi.araddr) - byte_bits, reset_less=True)
        ident = Signal(self.id_bits, reset_less=True)
        left, active = Signal(len(axi.arlen), reset_less=True), Signal()

        # Whether there is room takes long to find out.
        ask = data.StructLayout({"addr": len(axi.araddr), "length": len(axi.arlen),
                                 "id": self.id_bits})
        m.submodules.bursts = bursts = SkidBuffer(ask)
        burst = bursts.o.payload
        m.d.comb += [
            bursts.i.valid.eq(axi.arvalid), axi.arready.eq(bursts.i.ready),
            bursts.i.payload.addr.eq(axi.araddr), bursts.i.payload.length.eq(axi.arlen),
            bursts.i.payload.id.eq(axi.arid),
        ]

        # A beat is read only when the queue has room for it, which is for all that a read takes
        # cycles to the bus.
        depth = self.latency + 4
        m.submodules.queue = queue = SyncFIFO(width=beat.size, depth=depth)
        m.submodules.places = places = Places(depth)
        step, ends = Signal(), Signal()
        m.d.comb += [
            step.eq(active & places.some),
            ends.eq(step & (left == 0)),
            places.take.eq(step), places.give.eq(axi.rvalid & axi.rready),
            bursts.o.ready.eq(~active | ends),
        ]
        with m.If(bursts.o.ready):
            m.d.sync += [active.eq(bursts.o.valid), place.eq(burst.addr[byte_bits:]),
                         left.eq(burst.length), ident.eq(burst.id)]
        with m.Elif(step):
            m.d.sync += [place.eq(place + 1), left.eq(left - 1)]

        m.d.comb += self.r.ready.eq(~step)
        addr, beyond = self._addr(), Signal(reset_less=True)
        m.d.sync += [addr.eq(self.r.addr), beyond.eq(place >= self.words)]
        with m.If(step):
            m.d.sync += addr.eq(place)
        word = self._look_up(m, ports, addr)

        # Who asked, while the word is on its way.
        pipe = Pipeline(m, Const(1))
        for_bus = pipe.reg(step, self.latency, reset_less=False)
        for_host = pipe.reg(self.r.en & ~step, self.latency, reset_less=False)
        tag = pipe.reg(Cat(ident, left == 0), self.latency)
        error = pipe.reg(beyond, self.latency - 1)
        m.d.comb += [self.r.valid.eq(for_host), self.r.data.eq(word)]

        into, out = data.View(beat, queue.w_data), data.View(beat, queue.r_data)
        m.d.comb += [
            queue.w_en.eq(for_bus),
            into.data.eq(word), Cat(into.id, into.last).eq(tag), into.error.eq(error),
            axi.rvalid.eq(queue.r_rdy), queue.r_en.eq(axi.rready),
            axi.rdata.eq(out.data), axi.rid.eq(out.id), axi.rlast.eq(out.last),
            axi.rresp.eq(Array([OKAY, SLVERR])[out.error]),
        ]

    def _look_up(self, m: Module, ports: list[memory.ReadPort], addr: Value) -> Value:
        """Return the word at an address, `latency` - 1 cycles later."""
        pipe = Pipeline(m, Const(1))
        word: Value = Const(0, 8 * self.bus_bytes)
        for part, port in zip(self.parts, ports, strict=True):
            m.d.comb += [port.en.eq(1), port.addr.eq(addr)]
            here = pipe.reg(part.holds(addr))
            # The block's word, and what the parts before it have found, are both of this cycle.
            word = pipe.reg(word | (port.data & here.replicate(len(word))))
            addr = pipe.reg(addr)
        return word

    def _addr(self) -> Signal:
        """Return a register for a word's address."""
        return Signal(range(self.words), reset_less=True)

    def _write(self, m: Module, ports: list[memory.WritePort]) -> None:
        """Take beats of bursts, and words of the host where the bus leaves a cycle."""
        axi = self.axi
        byte_bits = (self.bus_bytes - 1).bit_length()
        place = Signal(len(axi.awaddr) - byte_bits, reset_less=True)
        step, missed = Signal(), Signal()
        with m.FSM(name="write"):
            with m.State("ADDRESS"):
                m.d.comb += axi.awready.eq(1)
                m.d.sync += [place.eq(axi.awaddr[byte_bits:]), axi.bid.eq(axi.awid),
                             missed.eq(0)]
                with m.If(axi.awvalid):
                    m.next = "BEATS"
            with m.State("BEATS"):
                m.d.comb += [axi.wready.eq(1), step.eq(axi.wvalid)]
                with m.If(step):
                    m.d.sync += [place.eq(place + 1), missed.eq(missed | (place >= self.words))]
                    with m.If(axi.wlast):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"):
                m.d.comb += [axi.bvalid.eq(1), axi.bresp.eq(Array([OKAY, SLVERR])[missed])]
                with m.If(axi.bready):
                    m.next = "ADDRESS"

        m.d.comb += self.w.ready.eq(~step)
        addr = self._addr()
        word = Signal(8 * self.bus_bytes, reset_less=True)
        enables = Signal(self.bus_bytes)
        m.d.sync += [addr.eq(self.w.addr), word.eq(self.w.data),
                     enables.eq(self.w.en.replicate(self.bus_bytes))]
        with m.If(step):
            m.d.sync += [addr.eq(place), word.eq(axi.wdata), enables.eq(
                axi.wstrb & (place < self.words).replicate(self.bus_bytes))]
        pipe = Pipeline(m, Const(1))
        for part, port in zip(self.parts, ports, strict=True):
            here = pipe.reg(enables & part.holds(addr).replicate(self.bus_bytes), reset_less=False)
            addr, word = pipe.reg(addr), pipe.reg(word)
            enables = pipe.reg(enables, reset_less=False)
            m.d.comb += [port.addr.eq(addr), port.data.eq(word), port.en.eq(here)]
