"""An IP core under cocotbext-axi's drivers: what benches of units and of the accelerator share."""

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

__all__ = ["PAUSES", "AxiCore"]

PAUSES = {"none": 0.0, "random": 0.4}
"""Chance of a pause in a cycle."""


class AxiCore:
    """Clock, reset and registers of a core.

    Parameters
    ----------
    dut : the bench.
    pauses : chance of a pause at every channel, one of `PAUSES`.
    seed : of the pauses.

    Attributes
    ----------
    registers : manager of `s_axi`.
    wiring : clock and reset, as every driver takes them.
    """

    def __init__(self, dut: SimHandleBase, pauses: str, seed: int) -> None:
        self.dut = dut
        self._chance, self._seed, self._channels = PAUSES[pauses], seed, 0
        Clock(dut.aclk, 2, unit="ns").start()
        self.wiring = {"clock": dut.aclk, "reset": dut.aresetn, "reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), **self.wiring)

    def pause(self, channels: Iterable[Any]) -> None:
        """Let channels pause, each by itself, and tell of troubles alone."""
        for channel in channels:
            channel.log.setLevel(logging.WARNING)
            if self._chance:
                channel.set_pause_generator(self._pauses(self._channels))
            self._channels += 1

    def pause_memory_mapped(self, driver: Any) -> None:
        """Do so with the five channels of an AXI4 or AXI4-Lite driver."""
        write, read = driver.write_if, driver.read_if
        for interface in (write, read):
            interface.log.setLevel(logging.WARNING)
        self.pause((write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                    read.r_channel))

    async def reset(self, cycles: int = 2) -> None:
        """Put the core back to the start, and wait until it is there."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, cycles)

    def _pauses(self, channel: int) -> Iterator[bool]:
        """Yield whether a channel pauses in the next cycle."""
        rng = np.random.default_rng((self._seed, channel))
        while True:
            yield bool(rng.random() < self._chance)
