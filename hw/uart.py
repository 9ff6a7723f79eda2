"""Serial port: bytes to and from a line of one start bit, eight data bits, one stop bit (8N1)."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["BITS_PER_BYTE", "UartReceiver", "UartTransmitter", "baud_divisor"]

BITS_PER_BYTE = 10
"""Start bit, eight data bits, stop bit."""

LEAST_DIVISOR = 4
"""Cycles of the shortest bit of which the receiver still finds the middle."""

LARGEST_ERROR = 0.02
"""What the two ends' rates may differ by: half of what moves the last sample off its bit."""


def baud_divisor(clock_hz: float, baud: int) -> int:
    """Return the clock cycles of one bit.

    Raises
    ------
    ValueError
        If there are fewer than four, or if no whole number of cycles comes within 2 % of the rate.
    """
    divisor = round(clock_hz / baud) if baud > 0 else 0
    if divisor < LEAST_DIVISOR:
        raise ValueError(f"baud must be 1..{int(clock_hz) // LEAST_DIVISOR} at a clock of "
                         f"{clock_hz / 1e6:g} MHz, not {baud}")
    error = abs(clock_hz / divisor / baud - 1)
    if error > LARGEST_ERROR:
        raise ValueError(f"baud must be within 2 % of a whole division of {clock_hz / 1e6:g} MHz: "
                         f"{baud} is {100 * error:.1f} % off")
    return divisor


class UartReceiver(wiring.Component):
    """Bytes from a serial line.

    A bit is sampled in its middle. The line does not wait: a byte that is complete before the one
    before it has been taken is lost.

    Parameters
    ----------
    divisor : clock cycles of a bit, see `baud_divisor`.

    Members
    -------
    rx : the line, high when idle; it need not be synchronous.
    o : bytes, in order.
    overrun : high for a cycle when a byte is lost because `o` is still occupied.
    framing : high for a cycle when a byte is dropped because its stop bit is low.

    Throughput
    ----------
    A byte in `10 * divisor` cycles.
    """

    SYNCHRONIZER_STAGES = 2

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({
            "rx": In(1, init=1), "o": Out(stream.Signature(unsigned(8))),
            "overrun": Out(1), "framing": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        line = Signal(init=1)
        m.submodules += FFSynchronizer(self.rx, line, init=1, stages=self.SYNCHRONIZER_STAGES)

        # Cycles left of this bit, from the middle of one bit to the middle of the next.
        timer = Signal(range(self.divisor))
        bits = Signal(range(BITS_PER_BYTE))
        shifted = Signal(8)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.sync += [timer.eq(self.divisor // 2 - 1), bits.eq(0)]
                with m.If(~line):
                    m.next = "START"
            with m.State("START"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += timer.eq(self.divisor - 1)
                    # A glitch is no start bit.
                    m.next = "IDLE"
                    with m.If(~line):
                        m.next = "DATA"
            with m.State("DATA"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 0):
                    m.d.sync += [timer.eq(self.divisor - 1), bits.eq(bits + 1)]
                    with m.If(bits == 8):
                        occupied = self.o.valid & ~self.o.ready
                        with m.If(line & ~occupied):
                            m.d.sync += [self.o.payload.eq(shifted), self.o.valid.eq(1)]
                        m.d.comb += [self.overrun.eq(line & occupied), self.framing.eq(~line)]
                        m.next = "STOP"
                    with m.Else():
                        m.d.sync += shifted.eq(Cat(shifted[1:], line))
            with m.State("STOP"):
                # After a broken byte the line must have been high before a start bit counts.
                with m.If(line):
                    m.next = "IDLE"
        return m


class UartTransmitter(wiring.Component):
    """Bytes onto a serial line.

    Parameters
    ----------
    divisor : clock cycles of a bit, see `baud_divisor`.

    Members
    -------
    i : bytes, in order.
    tx : the line, high when idle.

    Throughput
    ----------
    A byte in `10 * divisor` cycles.
    """

    def __init__(self, divisor: int) -> None:
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(unsigned(8))), "tx": Out(1, init=1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(BITS_PER_BYTE + 1))
        shifted = Signal(8)
        tick = timer == 0
        m.d.comb += self.i.ready.eq(tick & (left <= 1))
        m.d.sync += timer.eq(timer - ~tick)
        with m.If(self.i.ready & self.i.valid):
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(BITS_PER_BYTE),
                         shifted.eq(self.i.payload), self.tx.eq(0)]
        with m.Elif(tick & (left > 1)):
            # The stop bit and the idle line are the ones shifted in.
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1),
                         shifted.eq(Cat(shifted[1:], 1)), self.tx.eq(shifted[0])]
        with m.Elif(tick):
            m.d.sync += left.eq(0)
        return m
