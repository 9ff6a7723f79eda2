"""What the accelerator's IP core promises on its AXI ports: logits, registers, under any pauses."""

import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, First, RisingEdge
from cocotbext.axi import AxiBus, AxiRam, AxiResp

from vitrtl.sim.benches.axi_core import PAUSES, AxiCore
from vitrtl.sw.accelerator.isa import MAGIC, PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.program import load, pack_image, unpack_logits
from vitrtl.sw.accelerator.registers import REGISTERS, VERSION, spec_value

JOB = json.loads(Path(os.environ["VITRTL_JOB"]).read_text())
PROGRAM = load(Path(JOB["program"]))
IMAGES = np.load(JOB["images"])
LOGITS = np.array(JOB["logits"])

PAGE = 4096
"""What a burst must not cross, so that images and logits begin near the end of one."""


def place(after: int) -> int:
    """Return an address behind another one, a beat before a page's end."""
    return -(-after // PAGE) * PAGE + PAGE - PROGRAM.spec.bus_bytes


AT_PROGRAM = PROGRAM_ALIGNMENT
AT_IMAGE = place(AT_PROGRAM + len(PROGRAM.memory))
AT_OUTPUT = place(AT_IMAGE + PROGRAM.image_bytes)


class Core(AxiCore):
    """The core's drivers; parameters as in `AxiCore`."""

    def __init__(self, dut: SimHandleBase, pauses: str) -> None:
        super().__init__(dut, pauses, JOB["seed"])
        size = 1 << (AT_OUTPUT + PROGRAM.output_bytes).bit_length()
        self.memory = AxiRam(AxiBus.from_prefix(dut, "m_axi"), size=size, **self.wiring)
        for driver in (self.registers, self.memory):
            self.pause_memory_mapped(driver)

    async def begin(self) -> None:
        """Reset, and put the program where the registers say it is."""
        await self.reset(JOB["reset_cycles"])
        self.memory.write(AT_PROGRAM, PROGRAM.memory)
        for name, address in (("program", AT_PROGRAM), ("image", AT_IMAGE),
                              ("output", AT_OUTPUT)):
            await self.write(name, address)

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
    await core.begin()
    for name, value in (("id", MAGIC), ("version", VERSION), ("spec", spec_value(PROGRAM.spec))):
        assert await core.read(name) == value, f"{name} must be {value:#x}"
    for number, (image, expected) in enumerate(zip(IMAGES, LOGITS, strict=True)):
        found = await core.run(image)
        assert np.array_equal(found, expected), (
            f"logits of image {number} must be {expected.tolist()}, not {found.tolist()}")


@cocotb.test
async def a_run_goes_on_after_a_reset(dut: SimHandleBase) -> None:
    """A reset between two runs leaves nothing behind."""
    core = Core(dut, "none")
    for _ in range(2):
        await core.begin()
        assert np.array_equal(await core.run(IMAGES[0]), LOGITS[0])


@cocotb.test
async def what_cannot_be_written_is_refused(dut: SimHandleBase) -> None:
    """A read-only register, and one that is not there."""
    core = Core(dut, "random")
    await core.reset(JOB["reset_cycles"])
    for address in (REGISTERS["id"].address, 4 * len(REGISTERS)):
        answer = await core.registers.write(address, bytes(4))
        assert answer.resp == AxiResp.SLVERR, f"address {address:#x} must be refused"
    assert await core.read("id") == MAGIC
