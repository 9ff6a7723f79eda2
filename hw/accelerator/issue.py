"""Puts an engine's instructions together from words, and holds each until it may begin."""

from collections.abc import Iterable

from amaranth.hdl import Array, Cat, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.ports import COUNT_BITS, InstructionLayout
from vitrtl.sw.accelerator.isa import OPCODES, WAITS, WORD_BITS, words_of
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["Issue"]


class Issue(wiring.Component):
    """Takes words, gives instructions.

    Configuration words of an instruction pass through `config` before it waits for the others.

    Parameters
    ----------
    spec : of the accelerator.
    engine : whose instructions they are.
    opcodes : names of those that the engine knows.

    Members
    -------
    words : the engine's program.
    ended : every word of it has been taken.
    counts : instructions that each engine has ended.
    config : words that follow an instruction, where it has a field `config`.
    o : instructions whose waits are over.
    bad : the instruction has an opcode that the engine does not know, or the program has ended
        inside it; it stops here.
    waiting : there is an instruction, and it waits.
    empty : no instruction and no part of one is held.

    Latency
    -------
    Two cycles from an instruction's last word to `o`, if there is nothing to wait for.
    """

    def __init__(self, spec: AcceleratorSpec, engine: int, opcodes: Iterable[str]) -> None:
        self.engine = engine
        self.opcodes = [OPCODES[name] for name in opcodes]
        self.layout = InstructionLayout(engine)
        super().__init__({
            "words": In(stream.Signature(unsigned(WORD_BITS))),
            "ended": In(1),
            "counts": In(data.ArrayLayout(COUNT_BITS, spec.engine_count)),
            "config": Out(stream.Signature(unsigned(WORD_BITS))),
            "o": Out(stream.Signature(self.layout)),
            "bad": Out(1),
            "waiting": Out(1),
            "empty": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = words_of(self.engine)
        held = Signal(count * WORD_BITS, reset_less=True)
        view = data.View(self.layout, held[:self.layout.size])
        m.d.comb += self.o.payload.eq(view)

        # Whether the waits are over is a register, so that the counts, which come from afar, need
        # not be compared and acted on in one cycle. What is over stays over.
        mine = Signal.like(self.counts, reset_less=True)
        m.d.sync += mine.eq(self.counts)
        counts = Array([*mine, *[0] * (16 - len(mine))])
        over, fresh = Signal(), Signal()
        reached = Cat(counts[view[f"wait{i}_engine"]] >= view[f"wait{i}_count"]
                      for i in range(WAITS))
        m.d.sync += over.eq(reached.all() & fresh)

        index = Signal(range(count))
        left = Signal(16)
        m.d.sync += fresh.eq(0)
        with m.FSM():
            with m.State("collect"):
                m.d.comb += [self.words.ready.eq(1), self.empty.eq(index == 0)]
                with m.If(self.words.valid):
                    m.d.sync += [held.eq(Cat(held[WORD_BITS:], self.words.payload)),
                                 index.eq(index + 1)]
                    with m.If(index == count - 1):
                        m.d.sync += index.eq(0)
                        m.next = "decode"
                with m.Elif(self.ended & (index != 0)):
                    m.next = "bad"
            with m.State("decode"):
                known = Cat(view.opcode == opcode for opcode in self.opcodes).any()
                if "config" in self.layout.members:
                    m.d.sync += left.eq(view.config)
                    with m.If(~known):
                        m.next = "bad"
                    with m.Elif(view.config != 0):
                        m.next = "config"
                    with m.Else():
                        m.d.sync += fresh.eq(1)
                        m.next = "wait"
                else:
                    m.d.sync += fresh.eq(1)
                    m.next = "wait"
                    with m.If(~known):
                        m.d.sync += fresh.eq(0)
                        m.next = "bad"
            with m.State("config"):
                m.d.comb += [
                    self.config.valid.eq(self.words.valid),
                    self.config.payload.eq(self.words.payload),
                    self.words.ready.eq(self.config.ready),
                ]
                with m.If(self.words.valid & self.config.ready):
                    m.d.sync += left.eq(left - 1)
                    with m.If(left == 1):
                        m.d.sync += fresh.eq(1)
                        m.next = "wait"
                with m.Elif(self.ended):
                    m.next = "bad"
            with m.State("wait"):
                m.d.sync += fresh.eq(1)
                m.d.comb += [self.o.valid.eq(over), self.waiting.eq(~over)]
                with m.If(self.o.valid & self.o.ready):
                    m.d.sync += [fresh.eq(0), over.eq(0)]
                    m.next = "collect"
            with m.State("bad"):
                m.d.comb += self.bad.eq(1)
        return m
