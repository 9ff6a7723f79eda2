"""Several readers on one AXI4 read port."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accelerator.axi import INCR, AXI4Read, ReadClient, size_code
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer

__all__ = ["ReadArbiter"]

OUTSTANDING_BITS = 8


class ReadBeat(data.StructLayout):
    """One beat of read data."""

    def __init__(self, bus_bytes: int, id_bits: int) -> None:
        super().__init__({"id": id_bits, "error": 1, "last": 1, "data": 8 * bus_bytes})


class ReadArbiter(wiring.Component):
    """Gives bursts out in turns, and beats to the client whose identifier they bear.

    Parameters
    ----------
    bus_bytes : of a beat.
    id_bits : of the identifiers.
    clients : whose number is their identifier.

    Members
    -------
    client0, ... : the clients.
    axi : the memory.
    stop : nothing more is asked for, and beats are thrown away.
    quiet : every burst that was asked for has been answered.
    error : a beat came with an error response; `error_id` is its client.

    Latency
    -------
    Two cycles from a client's request to the port, and three to its `ready`; one from the port's
    beat to the client. No port signal depends on another in the same cycle.

    Throughput
    ----------
    A burst in two cycles, a beat in each.
    """

    def __init__(self, bus_bytes: int, id_bits: int, clients: int) -> None:
        self.bus_bytes, self.id_bits = bus_bytes, id_bits
        super().__init__({
            **{f"client{i}": In(ReadClient(bus_bytes)) for i in range(clients)},
            "axi": Out(AXI4Read(bus_bytes, id_bits)),
            "stop": In(1), "quiet": Out(1, init=1),
            "error": Out(1), "error_id": Out(id_bits),
        })
        self.clients = [getattr(self, f"client{i}") for i in range(clients)]

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        m.d.comb += [axi.arsize.eq(size_code(self.bus_bytes)), axi.arburst.eq(INCR)]

        # Whoever asks first after the one that was served last.
        served = Signal(range(len(self.clients)), init=len(self.clients) - 1)
        chosen = Signal.like(served, init=0)
        # A client is told in the cycle after; what it asks for then is what it has been given.
        told = Signal(len(self.clients))
        asks = Cat(client.ask.valid for client in self.clients) & ~told
        with m.Switch(served):
            for last in range(len(self.clients)):
                with m.Case(last):
                    for i in reversed(range(last + 1, last + 1 + len(self.clients))):
                        with m.If(asks[i % len(self.clients)]):
                            m.d.comb += chosen.eq(i % len(self.clients))
        # Who it is takes a cycle to find out; the burst is taken in the next.
        picked, is_picked = Signal.like(chosen), Signal()
        free, grant = Signal(), Signal()
        outstanding = Signal(OUTSTANDING_BITS)
        m.d.comb += [
            free.eq((~axi.arvalid | axi.arready) & ~self.stop & ~outstanding.all()),
            grant.eq(free & is_picked),
        ]
        m.d.sync += is_picked.eq(Mux(is_picked, ~grant, asks.any()))
        with m.If(~is_picked):
            m.d.sync += picked.eq(chosen)
        payloads = Array(client.ask.payload.as_value() for client in self.clients)
        burst = data.View(self.client0.ask.payload.shape(), payloads[picked])
        for i, client in enumerate(self.clients):
            m.d.sync += told[i].eq(grant & (picked == i))
            m.d.comb += client.ask.ready.eq(told[i])
        with m.If(axi.arready):
            m.d.sync += axi.arvalid.eq(0)
        with m.If(grant):
            m.d.sync += [axi.arvalid.eq(1), axi.arid.eq(picked), axi.araddr.eq(burst.addr),
                         axi.arlen.eq(burst.length), served.eq(picked)]

        m.submodules.beats = beats = SkidBuffer(ReadBeat(self.bus_bytes, self.id_bits))
        here = beats.o.payload
        m.d.comb += [
            beats.i.valid.eq(axi.rvalid), axi.rready.eq(beats.i.ready),
            beats.i.payload.id.eq(axi.rid), beats.i.payload.data.eq(axi.rdata),
            beats.i.payload.last.eq(axi.rlast), beats.i.payload.error.eq(axi.rresp != 0),
            beats.o.ready.eq(1),
        ]
        with m.If(~self.stop):
            with m.Switch(here.id):
                for i, client in enumerate(self.clients):
                    with m.Case(i):
                        m.d.comb += beats.o.ready.eq(client.r.ready)
        for i, client in enumerate(self.clients):
            m.d.comb += [client.r.valid.eq(beats.o.valid & (here.id == i) & ~self.stop),
                         client.r.payload.eq(here.data)]

        taken = beats.o.valid & beats.o.ready
        m.d.comb += self.quiet.eq(outstanding == 0)
        m.d.sync += [
            outstanding.eq(outstanding + grant - (taken & here.last)),
            self.error.eq(taken & here.error), self.error_id.eq(here.id),
        ]
        return m
