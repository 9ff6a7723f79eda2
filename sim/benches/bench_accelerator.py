"""Runs of the accelerator, set up and awaited; what it did is in the files of the recorders.

Nothing is compared here but what a faulty run must leave behind: `vitrtl.sim` compares.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer

from vitrtl.sim.accelerator_job import MEASURED, PROGRESS, Run, RunResult, job_from_json
from vitrtl.sw.accelerator.registers import FAULTS, REGISTERS, spec_value
from vitrtl.sw.files import json_text, write_if_changed

__all__ = []

JOB = job_from_json(json.loads(Path(os.environ["VITRTL_JOB"]).read_text()))
PROGRESS_CYCLES = 1 << 17
OKAY = 0


async def write(dut: SimHandleBase, name: str, value: int) -> None:
    """Write a register."""
    await _access(dut, REGISTERS[name].address, value)
    assert int(dut.response.value) == OKAY, f"{name} cannot be written"


async def read(dut: SimHandleBase, name: str) -> int:
    """Read a register."""
    await _access(dut, REGISTERS[name].address, None)
    assert int(dut.response.value) == OKAY, f"{name} cannot be read"
    return int(dut.answer.value)


async def _access(dut: SimHandleBase, address: int, value: int | None) -> None:
    dut.address.value = address
    dut.write.value = value is not None
    dut.value.value = value or 0
    dut.request.value = 1
    await RisingEdge(dut.accessed)
    dut.request.value = 0
    # A cycle later it has fallen again.
    await ClockCycles(dut.clk, 2)


async def command(dut: SimHandleBase, name: str) -> None:
    """Set one bit of CONTROL."""
    await write(dut, "control", REGISTERS["control"].field(name).mask)


async def status(dut: SimHandleBase) -> dict[str, int]:
    """Return the fields of STATUS."""
    value = await read(dut, "status")
    return {field.name: field.of(value) for field in REGISTERS["status"].fields}


async def reset(dut: SimHandleBase) -> None:
    """Reset accelerator and bus; the memory keeps its contents."""
    dut.rst.value = 1
    await ClockCycles(dut.clk, 4)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)


async def load(dut: SimHandleBase) -> None:
    """Fill the memory, and reset."""
    dut.load.value = 1
    await ClockCycles(dut.clk, 1)
    dut.load.value = 0
    await reset(dut)


async def begin(dut: SimHandleBase, run: Run) -> None:
    """Set memory and registers up and write the start."""
    for name in ("number", "latency", "bandwidth", "enter", "leave", "seed", "error_base",
                 "error_size", "patience"):
        getattr(dut, name).value = getattr(run, name)
    dut.waves_from.value = run.waves
    for name in ("program", "image", "output", "timeout"):
        await write(dut, name, getattr(run, name))
    dut.opened.value = run.record
    await ClockCycles(dut.clk, 2)
    await command(dut, "start")


async def over(dut: SimHandleBase, done: list[RunResult]) -> None:
    """Wait until the run is over, leaving word of how far it is."""
    while not dut.over.value:
        # Two steps of time are a cycle.
        await First(RisingEdge(dut.over), Timer(2 * PROGRESS_CYCLES, "step"))
        write_if_changed(JOB.folder / PROGRESS, json_text(
            {"runs": len(done), "cycles": int(dut.cycle.value)}))


async def end(dut: SimHandleBase, run: Run) -> RunResult:
    """Return counters and status of a run that is over, and save its results."""
    dut.opened.value = 0
    await ClockCycles(dut.clk, 2)
    fields = await status(dut)
    engines = []
    for engine in range(JOB.spec.engine_count):
        await write(dut, "engine_select", engine)
        engines.append((await read(dut, "engine_done"), await read(dut, "engine_busy")))
    dut.dump_base.value, dut.dump_size.value, dut.dump.value = run.output, run.output_bytes, 1
    await ClockCycles(dut.clk, 1)
    dut.dump.value = 0
    await ClockCycles(dut.clk, 1)
    return RunResult(
        number=run.number, interrupted=bool(dut.irq.value), busy=bool(fields["busy"]),
        fault=next((name for name, code in FAULTS.items() if code == fields["fault"]),
                   f"code {fields['fault']}"),
        engine=fields["engine"], cycles=await read(dut, "cycles"),
        beats=await read(dut, "beats"), violations=int(dut.violations.value),
        violation=int(dut.violation.value),
        engine_done=[done for done, _ in engines], engine_busy=[busy for _, busy in engines])


def report(done: list[RunResult]) -> None:
    """Leave the results of all runs until now."""
    write_if_changed(JOB.folder / MEASURED, json_text([result.asdict() for result in done]))


async def complete(dut: SimHandleBase, run: Run) -> RunResult:
    """Do a run from its start to its end."""
    await begin(dut, run)
    await over(dut, [])
    return await end(dut, run)


@cocotb.test
async def runs(dut: SimHandleBase) -> None:
    """Do every run of the job, one after the other, without a reset between them."""
    await load(dut)
    assert await read(dut, "spec") == spec_value(JOB.spec), "the Verilog is of another spec"
    done: list[RunResult] = []
    for run in JOB.runs:
        await begin(dut, run)
        await over(dut, done)
        done.append(await end(dut, run))
        report(done)
        if not done[-1].well:
            # What is stuck or in an unknown state stays so.
            await reset(dut)
