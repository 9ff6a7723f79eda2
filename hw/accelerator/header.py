"""Reads where each engine's program is, and checks that it is for this accelerator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import ADDRESS_BITS, ReadClient
from vitrtl.hw.accelerator.fetch import LONGEST_STREAM_BITS, Fetch
from vitrtl.sw.accelerator.isa import HEADER_WORDS, MAGIC, PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.registers import CONTROL_ENGINE, FAULTS
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["Header"]

LONGEST_BURST = 8


class Header(wiring.Component):
    """Fetches a program's first words once, as soon as it is not in reset.

    Parameters
    ----------
    spec : of the accelerator.

    Members
    -------
    program : byte address, a multiple of `PROGRAM_ALIGNMENT`.
    read : the memory.
    start : one bit for each engine: `addr` and `count` are its program, as `Fetch` takes them.
    loaded : every engine has been started.
    fault : one of `FAULTS`, for one cycle, and `culprit`, the engine whose entry is wrong or
        `CONTROL_ENGINE`.
    """

    def __init__(self, spec: AcceleratorSpec) -> None:
        self.spec = spec
        super().__init__({
            "program": In(ADDRESS_BITS),
            "read": Out(ReadClient(spec.bus_bytes)),
            "start": Out(spec.engine_count),
            "addr": Out(ADDRESS_BITS), "count": Out(LONGEST_STREAM_BITS),
            "loaded": Out(1),
            "fault": Out(range(len(FAULTS))), "culprit": Out(range(CONTROL_ENGINE + 1)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = HEADER_WORDS + self.spec.engine_count
        fetch = Fetch(self.spec.bus_bytes, longest=LONGEST_BURST, bursts=1)
        m.submodules.fetch = fetch
        wiring.connect(m, fetch.read, wiring.flipped(self.read))
        begun = Signal()
        m.d.sync += begun.eq(1)
        m.d.comb += [fetch.start.eq(~begun), fetch.addr.eq(self.program), fetch.count.eq(words),
                     self.loaded.eq(fetch.ended), fetch.words.ready.eq(1)]

        word = fetch.words.payload
        index = Signal(range(words))
        culprit = Signal.like(self.culprit)
        with m.If(fetch.words.valid):
            m.d.sync += [index.eq(index + 1), self.culprit.eq(culprit)]
        m.d.comb += culprit.eq(CONTROL_ENGINE)

        # What the word at hand would have to be; faults and starts are registers.
        bad, misaligned = Signal(), Signal()
        starts = Signal.like(self.start)
        with m.Switch(index):
            with m.Case(0):
                m.d.comb += bad.eq(word != (MAGIC | self.spec.engine_count << 32))
            with m.Case(1):
                m.d.comb += bad.eq(word != int(self.spec.digest, 16))
            for engine in range(self.spec.engine_count):
                with m.Case(HEADER_WORDS + engine):
                    m.d.comb += [
                        bad.eq(word[32 + LONGEST_STREAM_BITS:].any()),
                        misaligned.eq(word[:(PROGRAM_ALIGNMENT - 1).bit_length()].any()),
                        culprit.eq(engine), starts[engine].eq(~bad & ~misaligned),
                    ]
        m.d.sync += [
            self.addr.eq(self.program + word[:32]), self.count.eq(word[32:]),
            self.start.eq(Mux(fetch.words.valid, starts, 0)),
            self.fault.eq(Mux(~fetch.words.valid, FAULTS["none"],
                              Mux(bad, FAULTS["bad program"],
                                  Mux(misaligned, FAULTS["misaligned address"],
                                      FAULTS["none"])))),
        ]
        return m
