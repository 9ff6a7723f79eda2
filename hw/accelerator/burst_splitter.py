"""Cuts a run of beats into bursts that every AXI4 memory takes."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import ADDRESS_BITS, Burst

__all__ = ["BeatRun", "BurstSplitter"]


class BeatRun(data.StructLayout):
    """Beats in a row.

    Members
    -------
    addr : byte address, a multiple of a beat.
    beats : how many, from one on.
    """

    def __init__(self, beat_bits: int) -> None:
        super().__init__({"addr": ADDRESS_BITS, "beats": beat_bits})


class BurstSplitter(wiring.Component):
    """Gives bursts that end where the address is a multiple of the longest burst, or at the end.

    Parameters
    ----------
    bus_bytes : of a beat.
    beat_bits : of the number of beats.
    longest : beats of the longest burst, a power of two; it must not be longer than a page of
        4096 bytes, which then no burst crosses.

    Members
    -------
    i : runs of beats.
    o : their bursts, in order.
    busy : a run has bursts that were not taken yet.

    Latency
    -------
    Two cycles from a run to its first burst, and from a burst to the next.
    """

    def __init__(self, bus_bytes: int, beat_bits: int, longest: int) -> None:
        if longest & (longest - 1) or not 2 <= longest <= min(256, 4096 // bus_bytes):
            raise ValueError("longest burst must be a power of two from 2 to "
                             f"{min(256, 4096 // bus_bytes)} beats of {bus_bytes} bytes, "
                             f"not {longest}")
        self.bus_bytes, self.longest = bus_bytes, longest
        super().__init__({"i": In(stream.Signature(BeatRun(beat_bits))),
                          "o": Out(stream.Signature(Burst())),
                          "busy": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte_bits = (self.bus_bytes - 1).bit_length()
        place = Signal(ADDRESS_BITS - byte_bits, reset_less=True)
        left = Signal.like(self.i.payload.beats, reset_less=True)

        # Beats to the next multiple, and whether there are so many.
        near = Signal(range(self.longest + 1))
        whole = place[:(self.longest - 1).bit_length()]
        length = Signal.like(near, reset_less=True)
        m.d.comb += [
            near.eq(self.longest - whole),
            self.i.ready.eq(~self.busy),
            self.o.payload.addr.eq(Cat(Const(0, byte_bits), place)),
            self.o.payload.length.eq(length - 1),
        ]
        final = Signal()
        with m.If(~self.busy):
            m.d.sync += [place.eq(self.i.payload.addr[byte_bits:]),
                         left.eq(self.i.payload.beats), self.busy.eq(self.i.valid)]
        with m.Elif(~self.o.valid):
            m.d.sync += [self.o.valid.eq(1), length.eq(Mux(left > near, near, left)),
                         final.eq(left <= near)]
        with m.Elif(self.o.ready):
            m.d.sync += [self.o.valid.eq(0), place.eq(place + length), left.eq(left - length),
                         self.busy.eq(~final)]
        return m
