"""Unpacks the constants of a vector engine from the words of its program."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.skid_buffer import SkidBuffer
from vitrtl.sw.accelerator.isa import (
    CONFIG_ADDRESS_BITS,
    CONFIG_DATA_BITS,
    CONFIG_ENTRY_BITS,
    CONFIG_HEADER,
    WORD_BITS,
)

__all__ = ["ConfigUnpacker", "Constant"]


class Constant(data.StructLayout):
    """One constant, and whether it is the requantizer's and not the unit's."""

    def __init__(self) -> None:
        super().__init__({"data": CONFIG_DATA_BITS, "address": CONFIG_ADDRESS_BITS,
                          "requantizer": 1})


class ConfigUnpacker(wiring.Component):
    """Takes words, gives constants, see `vitrtl.sw.accelerator.configuration_words`.

    A header without a count is passed over.

    Members
    -------
    i : words.
    o : constants, from a register.
    busy : a word or a part of a run has come, and not all of it has gone; low a cycle late.
    partial : a run has begun, and the word with its next entry has not come.

    Latency
    -------
    Three cycles from a run's first word to its first constant.

    Throughput
    ----------
    One entry per cycle, sustained.
    """

    def __init__(self) -> None:
        super().__init__({
            "i": In(stream.Signature(unsigned(WORD_BITS))),
            "o": Out(stream.Signature(Constant())),
            "busy": Out(1),
            "partial": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        output = m.submodules.output = SkidBuffer(Constant())
        wiring.connect(m, output.o, wiring.flipped(self.o))

        # The word moves down, so that its entries are always seen in the same place.
        word = Signal(WORD_BITS, reset_less=True)
        entry = word[:CONFIG_ENTRY_BITS]
        held, upper, step = Signal(), Signal(), Signal()
        m.d.comb += [step.eq(held & output.i.ready), self.i.ready.eq(~held | (step & upper))]
        with m.If(self.i.ready):
            m.d.sync += [held.eq(self.i.valid), upper.eq(0), word.eq(self.i.payload)]
        with m.Elif(step):
            m.d.sync += [upper.eq(1), entry.eq(word[CONFIG_ENTRY_BITS:])]

        # A run, of which `run.count` data are left; `low` is the lower part of a wide one.
        header = data.StructLayout(dict(CONFIG_HEADER))
        run = Signal(header, reset_less=True)
        low = Signal(CONFIG_ENTRY_BITS, reset_less=True)
        inside, second = Signal(), Signal()
        complete = second | ~run.wide
        with m.If(step):
            m.d.sync += low.eq(entry)
            with m.If(~inside):
                m.d.sync += [run.eq(entry), inside.eq(data.View(header, entry).count != 0)]
            with m.Elif(complete):
                m.d.sync += [second.eq(0), run.address.eq(run.address + 1),
                             run.count.eq(run.count - 1), inside.eq(run.count != 1)]
            with m.Else():
                m.d.sync += second.eq(1)
        constant = output.i.payload
        m.d.comb += [
            output.i.valid.eq(held & inside & complete),
            constant.requantizer.eq(run.requantizer), constant.address.eq(run.address),
            constant.data.eq(Mux(run.wide, Cat(low, entry).as_signed(), entry.as_signed())),
            self.partial.eq(inside & ~held),
        ]
        m.d.sync += self.busy.eq(self.i.valid | held | inside | output.o.valid)
        return m
