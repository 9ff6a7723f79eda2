"""The other end of a simulated board's serial line."""

import collections
from collections.abc import Mapping
from typing import Any

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.simtime import get_sim_time
from cocotb.task import resume
from cocotb.triggers import FallingEdge, RisingEdge, Timer

__all__ = ["SimulatedPort", "powered"]

PATIENCE_BITS = 20_000
"""Bits of the line for which a read waits."""


class SimulatedPort:
    """The other end of the line, with the interface of `vitrtl.sw.boards.link.Port`.

    Its methods are called from the host's thread; the line goes on in the simulator's.

    Parameters
    ----------
    dut : with pins `rx` and `tx`.
    baud : of the line.
    """

    def __init__(self, dut: SimHandleBase, baud: int) -> None:
        self.dut = dut
        self.bit_ps = round(1e12 / baud)
        self._down: collections.deque[int] = collections.deque()
        self._up: collections.deque[int] = collections.deque()

    async def line(self) -> None:
        """Drive the line to the board."""
        while True:
            if not self._down:
                await Timer(self.bit_ps, unit="ps")
                continue
            byte = self._down.popleft()
            for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
                self.dut.rx.value = bit
                await Timer(self.bit_ps, unit="ps")

    async def listen(self) -> None:
        """Take bytes from the line of the board."""
        while True:
            await FallingEdge(self.dut.tx)
            await Timer(self.bit_ps // 2, unit="ps")
            byte = 0
            for i in range(8):
                await Timer(self.bit_ps, unit="ps")
                byte |= int(self.dut.tx.value) << i
            await Timer(self.bit_ps, unit="ps")
            assert self.dut.tx.value == 1, "a byte of the board has no stop bit"
            self._up.append(byte)

    @resume
    async def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer after some time."""
        end = get_sim_time("ps") + PATIENCE_BITS * self.bit_ps
        while len(self._up) < size and get_sim_time("ps") < end:
            await Timer(self.bit_ps, unit="ps")
        return bytes(self._up.popleft() for _ in range(min(size, len(self._up))))

    @resume
    async def send_break(self) -> None:
        """Hold the line low for two bytes' time."""
        while self._down:
            await Timer(self.bit_ps, unit="ps")
        await Timer(12 * self.bit_ps, unit="ps")
        self.dut.rx.value = 0
        await Timer(20 * self.bit_ps, unit="ps")
        self.dut.rx.value = 1
        await Timer(20 * self.bit_ps, unit="ps")

    def write(self, data: bytes) -> None:
        """Queue bytes for the line."""
        self._down.extend(data)

    def reset_input_buffer(self) -> None:
        """Forget what has come."""
        self._up.clear()


async def powered(dut: SimHandleBase, job: Mapping[str, Any]) -> SimulatedPort:
    """Return the port of a board that has just come up.

    Parameters
    ----------
    dut : with pins `rx`, `tx` and `led`.
    job : its `baud`, and whether its light is `led_inverted`.
    """
    # The light says that the clock runs and the reset is over.
    await (FallingEdge if job["led_inverted"] else RisingEdge)(dut.led)
    port = SimulatedPort(dut, job["baud"])
    cocotb.start_soon(port.line())
    cocotb.start_soon(port.listen())
    return port
