"""What the accelerator's IP core promises on its AXI ports: logits, registers, under any pauses."""

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, First, RisingEdge
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiRam, AxiResp

from vitrtl.sw.accelerator.isa import MAGIC, PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.program import load, pack_image, unpack_logits
from vitrtl.sw.accelerator.registers import REGISTERS, VERSION, spec_value

JOB = json.loads(Path(os.environ["VITRTL_JOB"]).read_text())
PROGRAM = load(Path(JOB["program"]))
IMAGES = np.load(JOB["images"])
LOGITS = np.array(JOB["logits"])

PAUSES = {"none": 0.0, "random": 0.4}
"""Chance of a pause in a cycle."""

PAGE = 4096
"""What a burst must not cross, so that images and logits begin near the end of one."""


def place(after: int) -> int:
    """Return an address behind another one, a beat before a page's end."""
    return -(-after // PAGE) * PAGE + PAGE - PROGRAM.spec.bus_bytes


AT_PROGRAM = PROGRAM_ALIGNMENT
AT_IMAGE = place(AT_PROGRAM + len(PROGRAM.memory))
AT_OUTPUT = place(AT_IMAGE + PROGRAM.image_bytes)


class Core:
    """The core's drivers.

    Parameters
    ----------
    dut : the bench.
    pauses : chance of a pause at every channel, one of `PAUSES`.
    """

    def __init__(self, dut: SimHandleBase, pauses: str) -> None:
        self.dut = dut
        Clock(dut.aclk, 2, unit="ns").start()
        reset = {"clock": dut.aclk, "reset": dut.aresetn, "reset_active_level": False}
        self.registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), **reset)
        size = 1 << (AT_OUTPUT + PROGRAM.output_bytes).bit_length()
        self.memory = AxiRam(AxiBus.from_prefix(dut, "m_axi"), size=size, **reset)
        write, read = self.registers.write_if, self.registers.read_if
        sink, source = self.memory.write_if, self.memory.read_if
        channels = [write.aw_channel, write.w_channel, write.b_channel, read.ar_channel,
                    read.r_channel, sink.aw_channel, sink.w_channel, sink.b_channel,
                    source.ar_channel, source.r_channel]
        for number, channel in enumerate(channels):
            channel.log.setLevel(logging.WARNING)
            if PAUSES[pauses]:
                channel.set_pause_generator(_pauses(PAUSES[pauses], number))
        for interface in (write, read, sink, source):
            interface.log.setLevel(logging.WARNING)

    async def reset(self) -> None:
        """Put the core back to the start."""
        self.dut.aresetn.value = 0
        await ClockCycles(self.dut.aclk, 4)
        self.dut.aresetn.value = 1
        await ClockCycles(self.dut.aclk, JOB["reset_cycles"])

    async def read(self, name: str) -> int:
        """Return a register."""
        answer = await self.registers.read(REGISTERS[name].address, 4)
        assert answer.resp == AxiResp.OKAY, f"{name} cannot be read"
        return int.from_bytes(answer.data, "little")

    async def write(self, name: str, value: int) -> None:
        """Write a register."""
        answer = await self.registers.write(REGISTERS[name].address, value.to_bytes(4, "little"))
        assert answer.resp == AxiResp.OKAY, f"{name} cannot be written"

    async def command(self, name: str) -> None:
        """Set one bit of CONTROL."""
        await self.write("control", REGISTERS["control"].field(name).mask)

    async def status(self) -> dict[str, int]:
        """Return the fields of STATUS."""
        value = await self.read("status")
        return {field.name: field.of(value) for field in REGISTERS["status"].fields}

    async def run(self, image: np.ndarray) -> np.ndarray:
        """Return the logits of an image; the interrupt is taken back."""
        self.memory.write(AT_IMAGE, pack_image(PROGRAM, image))
        self.memory.write(AT_OUTPUT, b"\xa5" * PROGRAM.output_bytes)
        await self.command("start")
        risen = RisingEdge(self.dut.irq)
        patience = ClockCycles(self.dut.aclk, 20 * PROGRAM.predicted_cycles)
        assert await First(risen, patience) is risen, "the run does not end"
        status = await self.status()
        assert (status["done"], status["busy"], status["fault"]) == (1, 0, 0), status
        assert await self.read("cycles") > 0
        await self.command("clear")
        assert not self.dut.irq.value
        return unpack_logits(PROGRAM, self.memory.read(AT_OUTPUT, PROGRAM.output_bytes))


@cocotb.test
@cocotb.parametrize(pauses=tuple(PAUSES))
async def logits_are_those_of_the_network(dut: SimHandleBase, pauses: str) -> None:
    """Image after image, with images and logits across the ends of pages."""
    core = Core(dut, pauses)
    await core.reset()
    for name, value in (("id", MAGIC), ("version", VERSION), ("spec", spec_value(PROGRAM.spec))):
        assert await core.read(name) == value, f"{name} must be {value:#x}"
    core.memory.write(AT_PROGRAM, PROGRAM.memory)
    for name, address in (("program", AT_PROGRAM), ("image", AT_IMAGE), ("output", AT_OUTPUT)):
        await core.write(name, address)
    for number, (image, expected) in enumerate(zip(IMAGES, LOGITS, strict=True)):
        found = await core.run(image)
        assert np.array_equal(found, expected), (
            f"logits of image {number} must be {expected.tolist()}, not {found.tolist()}")


@cocotb.test
async def a_run_goes_on_after_a_reset(dut: SimHandleBase) -> None:
    """A reset between two runs leaves nothing behind."""
    core = Core(dut, "none")
    for image, expected in zip(IMAGES[:1].repeat(2, axis=0), LOGITS[:1].repeat(2, axis=0),
                               strict=True):
        await core.reset()
        core.memory.write(AT_PROGRAM, PROGRAM.memory)
        for name, address in (("program", AT_PROGRAM), ("image", AT_IMAGE),
                              ("output", AT_OUTPUT)):
            await core.write(name, address)
        assert np.array_equal(await core.run(image), expected)


@cocotb.test
async def what_cannot_be_written_is_refused(dut: SimHandleBase) -> None:
    """A read-only register, and one that is not there."""
    core = Core(dut, "random")
    await core.reset()
    for address in (REGISTERS["id"].address, 4 * len(REGISTERS)):
        answer = await core.registers.write(address, bytes(4))
        assert answer.resp == AxiResp.SLVERR, f"address {address:#x} must be refused"
    assert await core.read("id") == MAGIC


def _pauses(chance: float, seed: int) -> Iterator[bool]:
    """Yield whether a channel pauses in the next cycle."""
    rng = np.random.default_rng((JOB["seed"], seed))
    while True:
        yield bool(rng.random() < chance)
