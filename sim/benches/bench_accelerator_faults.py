"""What ends a run early: a status that says why, no hang, and a next run that is right."""

import dataclasses

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles

from vitrtl.sim.accelerator_job import Run, RunResult
from vitrtl.sim.benches.bench_accelerator import (
    JOB,
    begin,
    command,
    complete,
    end,
    load,
    over,
    read,
    reset,
    status,
    write,
)
from vitrtl.sw.accelerator.registers import CONTROL_ENGINE
from vitrtl.sw.accelerator.spec import ARRAY, DMA

__all__ = []

FAULTS = JOB.faults
GOOD = dataclasses.replace(JOB.runs[0], record=False)
EXPECTED = bytes.fromhex(FAULTS["expected"])
CYCLES = FAULTS["cycles"]
ENGINES = range(JOB.spec.engine_count)
MOMENTS = [CYCLES * part // 16 for part in (0, 1, 3, 6, 10, 15)]
"""Cycles at which a run is ended from outside."""


async def check_good(dut: SimHandleBase, run: Run = GOOD) -> RunResult:
    """Assert that a run from here on is right."""
    result = await complete(dut, run)
    assert result.trouble == "", f"the next run is not right: {result.trouble}"
    assert result.engine_done == FAULTS["instructions"]
    assert output(dut, run) == EXPECTED, "the next run gives other logits"
    return result


def output(dut: SimHandleBase, run: Run) -> bytes:
    """Return the logits that a run has left in memory."""
    return (JOB.folder / f"dump_{run.number}.bin").read_bytes()[:len(EXPECTED)]


async def check_fault(dut: SimHandleBase, run: Run, fault: str, engine: int) -> None:
    """Assert that a run ends with a fault, and that the next one is right."""
    await load(dut)
    result = await complete(dut, run)
    assert result.interrupted, f"the accelerator hangs: no interrupt after {run.patience} cycles"
    assert not result.busy
    assert result.violations == 0, result.trouble
    assert (result.fault, result.engine) == (fault, engine)
    fields = await status(dut)
    assert not fields["done"] and fields["interrupt"]
    await check_good(dut)


@cocotb.test
async def a_good_run_is_good(dut: SimHandleBase) -> None:
    """Twice, with the interrupt taken back between; cycles are the same."""
    await load(dut)
    first = await check_good(dut)
    await command(dut, "clear")
    assert not dut.irq.value
    second = await check_good(dut)
    assert first.cycles == second.cycles


@cocotb.test
@cocotb.parametrize(what=("magic", "spec", "engines"))
async def a_bad_header_is_refused(dut: SimHandleBase, what: str) -> None:
    """No program, a program for another accelerator."""
    run = dataclasses.replace(GOOD, program=FAULTS["programs"][what])
    await check_fault(dut, run, "bad program", CONTROL_ENGINE)


@cocotb.test
@cocotb.parametrize(engine=list(ENGINES), what=("opcode", "truncated"))
async def a_bad_stream_is_refused(dut: SimHandleBase, engine: int, what: str) -> None:
    """An opcode that an engine does not know, in its last instruction; a stream without its last
    word."""
    run = dataclasses.replace(GOOD, program=FAULTS["programs"][f"{what} {engine}"])
    await check_fault(dut, run, "bad program", engine)


@cocotb.test
@cocotb.parametrize(register=("program", "image", "output"))
async def a_misaligned_register_is_refused(dut: SimHandleBase, register: str) -> None:
    """Address registers are multiples of what they must be."""
    run = dataclasses.replace(GOOD, **{register: getattr(GOOD, register) + JOB.spec.bus_bytes // 2})
    await check_fault(dut, run, "misaligned address", CONTROL_ENGINE)


@cocotb.test
async def a_misaligned_load_is_refused(dut: SimHandleBase) -> None:
    """So are the offsets of loads."""
    run = dataclasses.replace(GOOD, program=FAULTS["programs"]["offset"])
    await check_fault(dut, run, "misaligned address", DMA)


@cocotb.test
@cocotb.parametrize(where=("header", "array", "weights", "image", "output"), latency=(0, 60))
async def an_error_of_the_memory_ends_the_run(dut: SimHandleBase, where: str, latency: int) -> None:
    """SLVERR to a read of each kind, and to a write."""
    base, size = FAULTS["regions"][where]
    engine = {"header": CONTROL_ENGINE, "array": ARRAY}.get(where, DMA)
    run = dataclasses.replace(GOOD, error_base=base, error_size=size, latency=latency)
    await check_fault(dut, run, "bus error", engine)


@cocotb.test
async def a_program_that_waits_for_ever_times_out(dut: SimHandleBase) -> None:
    """An instruction that waits for what never ends."""
    run = dataclasses.replace(GOOD, program=FAULTS["programs"]["endless"], timeout=1000)
    await check_fault(dut, run, "timeout", CONTROL_ENGINE)


@cocotb.test
@cocotb.parametrize(cycle=MOMENTS, latency=(0, 60))
async def a_reset_in_a_run_leaves_no_trace(dut: SimHandleBase, cycle: int, latency: int) -> None:
    """At any moment, with words on their way."""
    await load(dut)
    await begin(dut, dataclasses.replace(GOOD, latency=latency))
    await ClockCycles(dut.clk, 1 + cycle)
    await reset(dut)
    fields = await status(dut)
    assert not any(fields.values())
    await check_good(dut)


@cocotb.test
@cocotb.parametrize(cycle=MOMENTS, latency=(0, 60), paused=(False, True))
async def an_aborted_run_leaves_no_trace(dut: SimHandleBase, cycle: int, latency: int,
                                         paused: bool) -> None:
    """It ends as soon as the memory has answered, without a broken rule of the bus."""
    await load(dut)
    pauses = {"enter": 20_000, "leave": 20_000} if paused else {}
    run = dataclasses.replace(GOOD, latency=latency, patience=CYCLES + 20_000, **pauses)
    await begin(dut, run)
    await ClockCycles(dut.clk, 1 + cycle)
    await command(dut, "abort")
    await over(dut, [])
    result = await end(dut, run)
    assert result.interrupted, "the accelerator hangs after an abort"
    assert (result.fault, result.engine) == ("aborted", CONTROL_ENGINE)
    assert result.violations == 0, result.trouble
    assert result.cycles < cycle + 5000
    assert int(dut.reading.value) == int(dut.writing.value) == 0, "the bus is not at rest"
    await check_good(dut)


@cocotb.test
async def a_start_while_busy_is_ignored(dut: SimHandleBase) -> None:
    """The run goes on, STATUS says so until the next start."""
    await load(dut)
    await begin(dut, GOOD)
    await ClockCycles(dut.clk, CYCLES // 2)
    assert (await status(dut))["busy"]
    await write(dut, "image", 0)
    await command(dut, "start")
    assert (await status(dut))["ignored"]
    await over(dut, [])
    result = await end(dut, GOOD)
    assert result.well and output(dut, GOOD) == EXPECTED
    assert (await status(dut))["ignored"]
    await check_good(dut)
    assert not (await status(dut))["ignored"]


@cocotb.test
@cocotb.parametrize(seed=(1, 2, 3))
async def pauses_of_the_bus_change_nothing(dut: SimHandleBase, seed: int) -> None:
    """Random pauses on every channel."""
    await load(dut)
    await check_good(dut, dataclasses.replace(GOOD, enter=20_000, leave=20_000, seed=seed,
                                              latency=10 * seed, bandwidth=256 // seed))


@cocotb.test
async def counters_are_of_the_run(dut: SimHandleBase) -> None:
    """CYCLES counts on while it runs and then stands still."""
    await load(dut)
    await begin(dut, GOOD)
    await ClockCycles(dut.clk, 100)
    early = await read(dut, "cycles")
    await over(dut, [])
    result = await end(dut, GOOD)
    assert 100 <= early < result.cycles
    await ClockCycles(dut.clk, 50)
    assert await read(dut, "cycles") == result.cycles
