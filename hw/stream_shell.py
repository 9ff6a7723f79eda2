"""Bytes to and from any component of streams, protocol `vitrtl.sw.boards.protocol`."""

from amaranth.hdl import Array, Cat, Const, Module, ResetInserter, Signal, Value, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import In, Out

from vitrtl.sw.boards.protocol import (
    CREDIT,
    CREDIT_BYTES,
    IDENTIFY,
    IDENTITY_BYTES,
    MOST_STREAMS,
    QUEUE_BYTES,
    beat_bytes,
)

__all__ = ["StreamShell"]

RESET = "rst"


class StreamShell(wiring.Component):
    """A component whose streams speak in packets of bytes.

    Parameters
    ----------
    component : every port is a stream; its inputs and its outputs are numbered in the order of
        its signature. One that has a port `rst` besides resets itself by that.
    identity : eight bytes that tell the host what this is.

    Members
    -------
    i : bytes from the host. They must be no more than the credits allow.
    o : bytes to the host.
    restart : forget all bytes and reset the component.

    Throughput
    ----------
    A byte per cycle, and two more cycles per packet to the board.
    """

    def __init__(self, component: wiring.Component, identity: bytes) -> None:
        if len(identity) != IDENTITY_BYTES:
            raise ValueError(f"identity must be {IDENTITY_BYTES} bytes, not {len(identity)}")
        self.component = component
        self.identity = identity
        members = [(name, member) for name, member in component.signature.members.items()
                   if name != RESET]
        self.inputs = [getattr(component, name) for name, member in members if member.flow == In]
        self.outputs = [getattr(component, name) for name, member in members if member.flow == Out]
        if max(len(self.inputs), len(self.outputs)) > MOST_STREAMS:
            raise ValueError(f"component must have at most {MOST_STREAMS} streams each way")
        super().__init__({
            "i": In(stream.Signature(unsigned(8))), "o": Out(stream.Signature(unsigned(8))),
            "restart": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inner = Module()
        if RESET in self.component.signature.members:
            m.submodules.component = self.component
            m.d.comb += getattr(self.component, RESET).eq(self.restart)
        else:
            inner.submodules.component = self.component
        inner.submodules.queue = queue = SyncFIFOBuffered(width=8, depth=QUEUE_BYTES)
        inner.d.comb += [queue.w_data.eq(self.i.payload), queue.w_en.eq(self.i.valid),
                         self.i.ready.eq(queue.w_rdy)]
        ask, credit = self._take(inner, queue)
        self._give(inner, ask, credit)
        m.submodules.inner = ResetInserter(self.restart)(inner)
        return m

    def _take(self, m: Module, queue: SyncFIFOBuffered) -> tuple[Signal, Signal]:
        """Unpack packets; return strobes of the question for the identity and of a credit."""
        ask, credit = Signal(), Signal()
        taken = Signal(range(CREDIT_BYTES))
        with m.If(queue.r_en & queue.r_rdy):
            m.d.sync += taken.eq(taken + 1)
            m.d.comb += credit.eq(taken == CREDIT_BYTES - 1)

        widths = [len(Value.cast(port.payload)) for port in self.inputs]
        sizes = [beat_bytes(width) for width in widths]
        size = Signal(range(max(sizes) + 1))
        left = Signal.like(size)
        which = Signal(range(len(sizes)))
        held = Signal(8 * max(sizes))
        # The first byte of a packet has come to the bottom once the packet is whole.
        for port, count, width in zip(self.inputs, sizes, widths, strict=True):
            start = len(held) - 8 * count
            m.d.comb += Value.cast(port.payload).eq(held[start:start + width])
        ready = Array(port.ready for port in self.inputs)
        tag = Signal(8)
        with m.FSM(name="take"):
            with m.State("TAG"):
                # The queue's memory answers late in the cycle.
                m.d.comb += queue.r_en.eq(1)
                m.d.sync += tag.eq(queue.r_data)
                with m.If(queue.r_rdy):
                    m.next = "KIND"
            with m.State("KIND"):
                m.d.comb += ask.eq(tag == IDENTIFY)
                m.d.sync += [which.eq(tag), left.eq(Array(sizes)[tag[:len(which)]])]
                m.next = "TAG"
                with m.If(tag < len(sizes)):
                    m.next = "PAYLOAD"
            with m.State("PAYLOAD"):
                m.d.comb += queue.r_en.eq(1)
                with m.If(queue.r_rdy):
                    m.d.sync += [held.eq(Cat(held[8:], queue.r_data)), left.eq(left - 1)]
                    with m.If(left == 1):
                        m.next = "BEAT"
            with m.State("BEAT"):
                for index, port in enumerate(self.inputs):
                    m.d.comb += port.valid.eq(which == index)
                with m.If(ready[which]):
                    m.next = "TAG"
        return ask, credit

    def _give(self, m: Module, ask: Signal, credit: Signal) -> None:
        """Pack identity, credits and beats, in this order of precedence."""
        asked = Signal()
        credits = Signal(range(QUEUE_BYTES // CREDIT_BYTES + 1))
        sizes = [beat_bytes(len(Value.cast(port.payload))) for port in self.outputs]
        longest = max(IDENTITY_BYTES, *sizes)
        held = Signal(8 * (1 + longest))
        left = Signal(range(longest + 2))
        m.d.comb += [self.o.payload.eq(held[:8]), self.o.valid.eq(left != 0)]
        free = (left == 0) | ((left == 1) & self.o.ready)
        give_credit = free & ~asked & (credits != 0)
        m.d.sync += credits.eq(credits + credit - give_credit)

        with m.If(self.o.valid & self.o.ready):
            m.d.sync += [held.eq(held[8:]), left.eq(left - 1)]
        with m.If(free & asked):
            m.d.sync += [held.eq(Cat(Const(IDENTIFY, 8), *self.identity_bytes())),
                         left.eq(1 + IDENTITY_BYTES), asked.eq(0)]
        with m.Elif(give_credit):
            m.d.sync += [held.eq(CREDIT), left.eq(1)]
        with m.Else():
            earlier = Const(0)
            for index, (port, count) in enumerate(zip(self.outputs, sizes, strict=True)):
                take = free & ~earlier
                m.d.comb += port.ready.eq(take)
                with m.If(port.valid & take):
                    m.d.sync += [held.eq(Cat(Const(index, 8), Value.cast(port.payload))),
                                 left.eq(1 + count)]
                earlier = earlier | port.valid
        with m.If(ask):
            m.d.sync += asked.eq(1)

    def identity_bytes(self) -> list[Const]:
        """Return the identity, first byte first."""
        return [Const(byte, 8) for byte in self.identity]
