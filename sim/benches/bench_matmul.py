"""Claims of the matrix multiplication, shown on the gates: one test per claim and stall mode."""

import functools

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles

from vitrtl.sim.benches.harness import (
    Outcome,
    current_job,
    first_difference,
    play,
    report,
    start,
)
from vitrtl.sim.script import matmul_scripts, read_stamps, result_fields, unpack_beats
from vitrtl.sw.golden.matmul import tile, untile
from vitrtl.sw.vectors import MatMulCase

__all__ = []

JOB = current_job()
SPEC = JOB.vectors.spec
LATENCY, SHORTEST_PASS = JOB.timing["latency_fixed"], JOB.timing["interval_min"]
DATA_KINDS = [kind for kind in JOB.vectors.kinds if kind != "timing"]
SYNTHETIC_KINDS = [kind for kind in DATA_KINDS if kind != "network"]
TIMED = [case.name for case in JOB.vectors.of_kind("timing")]
NUMBERS = {name: number for number, name in enumerate([*DATA_KINDS, *TIMED])}


@functools.cache
def prepare(name: str) -> tuple[list[MatMulCase], int, int]:
    """Write the scripts of a kind or a timed case; return cases, number and beats to expect."""
    cases = [case for case in JOB.vectors.cases if name in (case.kind, case.name)]
    number = NUMBERS[name]
    activations, weights = matmul_scripts(SPEC, cases)
    activations.write(JOB.folder / f"script_{number}.bin")
    weights.write(JOB.folder / f"weights_{number}.bin")
    return cases, number, sum(result_beats(case) for case in cases)


def column_tiles(case: MatMulCase) -> int:
    """Return how many tiles the result's columns make."""
    return -(-case.b.shape[1] // SPEC.columns)


def result_beats(case: MatMulCase) -> int:
    """Return the result beats of one multiplication."""
    return case.a.shape[0] * column_tiles(case)


def block_lengths(case: MatMulCase) -> list[int]:
    """Return the rows of each block of results, in the order in which they come."""
    rows, longest = case.a.shape[0], SPEC.longest_pass
    return [min(longest, rows - i) for i in range(0, rows, longest)] * column_tiles(case)


async def play_and_compare(dut: SimHandleBase, test: str, name: str, source: str = "none",
                           sink: str = "none") -> Outcome:
    """Play some multiplications and compare every result and block boundary."""
    cases, number, beats = prepare(name)
    outcome = await play(dut, number, beats, source, sink)
    flags, elements, _ = unpack_beats(JOB.folder / f"out_{number}.bin", result_fields(SPEC),
                                      SPEC.out_format)
    got, begin = [], 0
    for case in cases:
        part = elements[begin:begin + result_beats(case)]
        got.append(untile(part, case.a.shape[0], case.b.shape[1], SPEC).ravel())
        begin += len(part)
    values = np.concatenate(got)
    mismatches = int(np.count_nonzero(
        values != np.concatenate([case.expected.ravel() for case in cases])))
    macs = sum(case.a.size * case.b.shape[1] for case in cases)
    report(test, kind=name, source=source, sink=sink, rows=sum(case.rows for case in cases),
           values=int(values.size), mismatches=mismatches, cycles=outcome.cycles, beats=beats,
           utilization=round(macs / (outcome.cycles * SPEC.rows * SPEC.columns), 4))
    ends = np.cumsum([n for case in cases for n in block_lengths(case)])
    want = np.zeros((beats, 2), np.int64)
    want[np.concatenate([[0], ends[:-1]]), 0] = 1
    want[ends - 1, 1] = 1
    assert np.array_equal(flags, want), "first and last do not stand where blocks begin and end"
    assert mismatches == 0, (f"{mismatches} of {values.size} values differ (seed {JOB.seed}); "
                             f"first: {first_difference(cases, values)}")
    return outcome


@cocotb.test
@cocotb.parametrize(kind=DATA_KINDS, source=("none", "random"), sink=("none", "random"))
async def every_product_matches_golden(dut: SimHandleBase, kind: str, source: str,
                                       sink: str) -> None:
    """Bit for bit, in order, nothing left over; without pauses at one beat a cycle."""
    await play_and_compare(dut, f"every_product_matches_golden/{kind}/{source}/{sink}", kind,
                           source, sink)
    if source == sink == "none":
        check_rate(kind)


@cocotb.test(skip=not SYNTHETIC_KINDS)
@cocotb.parametrize(kind=SYNTHETIC_KINDS or [""], stalled=("source", "sink", "both"))
async def long_stalls_change_nothing(dut: SimHandleBase, kind: str, stalled: str) -> None:
    """Pauses much longer than the pipeline fill and empty every stage of it."""
    source, sink = ("bursts" if stalled in (side, "both") else "none"
                    for side in ("source", "sink"))
    await play_and_compare(dut, f"long_stalls_change_nothing/{kind}/{stalled}", kind, source, sink)


@cocotb.test(skip=not TIMED)
@cocotb.parametrize(case=TIMED or [""])
async def utilization_is_counted_over_all(dut: SimHandleBase, case: str) -> None:
    """From the first constant to the last result, activations enter without a pause."""
    await play_and_compare(dut, f"utilization_is_counted_over_all/{case}", case)
    check_rate(case)


@cocotb.test(skip=not SYNTHETIC_KINDS)
async def reset_in_a_pass_leaves_no_trace(dut: SimHandleBase) -> None:
    """An array reset while passes are in flight answers the next ones as a fresh one does."""
    kind = SYNTHETIC_KINDS[-1]
    _, number, beats = prepare(kind)
    await start(dut, number, beats, "none", "random")
    await ClockCycles(dut.clk, 1234)
    await play_and_compare(dut, "reset_in_a_pass_leaves_no_trace", kind)


def check_rate(name: str) -> None:
    """Assert the distance from pass to pass, and from a closing pass to its results."""
    cases, number, _ = prepare(name)
    passes_in = read_stamps(JOB.folder / f"rows_in_{number}.bin")
    blocks_out = read_stamps(JOB.folder / f"rows_out_{number}.bin")
    pass_number = block_number = 0
    for case in cases:
        lengths = np.array([len(p) for p in tile(case.a, case.b, SPEC).passes])
        begun = passes_in[pass_number:pass_number + lengths.size, 0]
        # A pass after the next one needs the tile that is loaded while this one runs.
        stated = np.maximum(lengths[:-1], SHORTEST_PASS)
        wrong = np.flatnonzero(np.diff(begun) != stated)
        assert not wrong.size, (
            f"{case.name}: a pass of {lengths[wrong[0]]} beats must be followed after "
            f"{stated[wrong[0]]} cycles, not {np.diff(begun)[wrong[0]]}")
        blocks = len(block_lengths(case))
        closing = begun.reshape(blocks, -1)[:, -1]
        delay = blocks_out[block_number:block_number + blocks, 0] - closing
        assert (delay == LATENCY).all(), (
            f"{case.name}: results must come {LATENCY} cycles after the closing pass begins, "
            f"not {delay[delay != LATENCY][0]}")
        pass_number += lengths.size
        block_number += blocks
