"""Claims of every vector unit, shown on the gates: one test per claim and stall mode."""

import functools
import itertools

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles

from vitrtl.hw.timing import Timing
from vitrtl.sim.benches.harness import (
    Outcome,
    current_job,
    first_difference,
    play,
    report,
    start,
)
from vitrtl.sim.script import (
    beat_count,
    expected_beats,
    read_stamps,
    side_by_side_scripts,
    unpack_beats,
    vector_fields,
    vector_script,
)
from vitrtl.sw.vectors import Case

__all__ = []

JOB = current_job()
SPEC = JOB.vectors.spec
TIMING = Timing(**JOB.timing)
DATA_KINDS = [kind for kind in JOB.vectors.kinds if kind != "timing"]
SYNTHETIC_KINDS = [kind for kind in DATA_KINDS if kind != "network"]
HAS_TIMING = "timing" in JOB.vectors.kinds
ORDERS = {"stream": {}, "cases": {"fence_cases": True}, "rows": {"fence_rows": True}}
SIDE_BY_SIDE = "side by side"
FEWEST_BEATS = 4
"""Beats of a row in which constants can be offered before the next row begins."""
NUMBERS = {key: number for number, key in enumerate(itertools.product(
    JOB.vectors.kinds, [*ORDERS, SIDE_BY_SIDE]))}


@functools.cache
def prepare(kind: str, order: str) -> tuple[list[Case], int, int]:
    """Write a script; return its cases, its number and the beats to expect."""
    cases = JOB.vectors.of_kind(kind)
    number = NUMBERS[kind, order]
    if order == SIDE_BY_SIDE:
        cases = [case for case in cases
                 if beat_count(case.lengths, SPEC.lanes).min() >= FEWEST_BEATS]
        rows, constants = side_by_side_scripts(SPEC, cases)
        rows.write(JOB.folder / f"script_{number}.bin")
        constants.write(JOB.folder / f"constants_{number}.bin")
    else:
        vector_script(SPEC, cases, **ORDERS[order]).write(JOB.folder / f"script_{number}.bin")
    beats = sum(int(beat_count(case.lengths, SPEC.lanes).sum()) for case in cases)
    return cases, number, beats


@functools.cache
def wanted(kind: str, order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return flags, elements and masks of all beats to expect."""
    parts = [expected_beats(case, SPEC.lanes) for case in prepare(kind, order)[0]]
    flags, elements, keep = (np.concatenate(part) for part in zip(*parts, strict=True))
    return flags, elements, keep


async def play_and_compare(dut: SimHandleBase, test: str, kind: str, order: str = "stream",
                           source: str = "none", sink: str = "none") -> Outcome:
    """Play all cases of a kind and compare every element, mask and row boundary."""
    cases, number, beats = prepare(kind, order)
    outcome = await play(dut, number, beats, source, sink)
    flags, elements, keep = unpack_beats(JOB.folder / f"out_{number}.bin",
                                         vector_fields(SPEC.lanes, SPEC.out_format),
                                         SPEC.out_format)
    want_flags, want, want_keep = wanted(kind, order)
    used = want_keep.astype(bool)
    got = elements[used]
    mismatches = int(np.count_nonzero(got != want[used]))
    if kind == "network" and source == sink == "none":
        np.save(JOB.folder / "output.npy", got)
    report(test, kind=kind, source=source, sink=sink, rows=outcome.rows_out, values=int(got.size),
           mismatches=mismatches, cycles=outcome.cycles, beats=beats)
    assert np.array_equal(flags, want_flags), "first and last do not stand where rows begin and end"
    assert np.array_equal(keep, want_keep), "keep does not mark the elements of the row"
    assert mismatches == 0, (f"{mismatches} of {got.size} values differ (seed {JOB.seed}); first: "
                             f"{first_difference(cases, got)}")
    return outcome


@cocotb.test
@cocotb.parametrize(kind=DATA_KINDS, source=("none", "random"), sink=("none", "random"))
async def every_vector_matches_golden(dut: SimHandleBase, kind: str, source: str,
                                      sink: str) -> None:
    """Bit for bit, in order, nothing left over; without pauses at one beat a cycle."""
    test = f"every_vector_matches_golden/{kind}/{source}/{sink}"
    await play_and_compare(dut, test, kind, source=source, sink=sink)
    if source == sink == "none":
        check_rate(kind)


@cocotb.test(skip=not SYNTHETIC_KINDS)
@cocotb.parametrize(kind=SYNTHETIC_KINDS or [""], stalled=("source", "sink", "both"))
async def long_stalls_change_nothing(dut: SimHandleBase, kind: str, stalled: str) -> None:
    """Pauses much longer than the pipeline fill and empty every stage of it."""
    source, sink = ("bursts" if stalled in (side, "both") else "none"
                    for side in ("source", "sink"))
    await play_and_compare(dut, f"long_stalls_change_nothing/{kind}/{stalled}", kind,
                           source=source, sink=sink)


@cocotb.test(skip=not HAS_TIMING)
async def latency_is_the_stated_one(dut: SimHandleBase) -> None:
    """For a row of every length that meets an empty unit."""
    await play_and_compare(dut, "latency_is_the_stated_one", "timing", "rows")
    beats, rows_in, rows_out = rows_of("timing", "rows")
    stated = np.array([TIMING.latency(int(b)) for b in beats])
    measured = rows_out[:, 0] - rows_in[:, 0]
    wrong = np.flatnonzero(measured != stated)
    assert not wrong.size, (
        f"a row of {beats[wrong[0]]} beats must come after {stated[wrong[0]]} cycles, not "
        f"{measured[wrong[0]]}; wrong for {np.unique(beats[wrong]).size} of "
        f"{np.unique(beats).size} lengths")
    assert np.array_equal(np.diff(rows_in)[:, 0] + 1, beats), "a row is not taken without a pause"
    assert np.array_equal(np.diff(rows_out)[:, 0] + 1, beats), "a row is not given without a pause"


@cocotb.test(skip=not HAS_TIMING)
async def interval_is_the_stated_one(dut: SimHandleBase) -> None:
    """For equal rows of every length, one right behind the other."""
    await play_and_compare(dut, "interval_is_the_stated_one", "timing", "cases")
    check_rate("timing", "cases")


@cocotb.test(skip=not HAS_TIMING)
@cocotb.parametrize(sink=("none", "random"))
async def constants_come_before_the_next_row(dut: SimHandleBase, sink: str) -> None:
    """Constants that wait side by side with a row are taken first, after the rows before."""
    await play_and_compare(dut, f"constants_come_before_the_next_row/{sink}", "timing",
                           SIDE_BY_SIDE, sink=sink)


@cocotb.test(skip=not SYNTHETIC_KINDS)
async def reset_in_a_row_leaves_no_trace(dut: SimHandleBase) -> None:
    """A unit reset while rows are in flight answers the next rows as a fresh one does."""
    kind = SYNTHETIC_KINDS[-1]
    _, number, beats = prepare(kind, "stream")
    await start(dut, number, beats, "none", "random")
    await ClockCycles(dut.clk, 1234)
    await play_and_compare(dut, "reset_in_a_row_leaves_no_trace", kind)


def rows_of(kind: str, order: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return each row's beats, and the cycles of its first and last beat in and out."""
    cases, number, _ = prepare(kind, order)
    beats = beat_count(np.concatenate([case.lengths for case in cases]), SPEC.lanes)
    return (beats, read_stamps(JOB.folder / f"rows_in_{number}.bin"),
            read_stamps(JOB.folder / f"rows_out_{number}.bin"))


def check_rate(kind: str, order: str = "stream") -> None:
    """Assert the distance of equal rows under the same constants, at the input and the output."""
    beats, rows_in, rows_out = rows_of(kind, order)
    cases = prepare(kind, order)[0]
    number = np.repeat(np.arange(len(cases)), [case.rows for case in cases])
    alike = (np.diff(number) == 0) & (np.diff(beats) == 0)
    for case in range(len(cases)):
        inside = number == case
        if np.unique(beats[inside]).size > 1:
            # Rows of different lengths wait for one another; only equal ones have one distance.
            alike[inside[1:]] = False
    stated = np.array([TIMING.interval(int(b)) for b in beats[1:]])
    out_gap = np.diff(rows_out[:, 0])
    wrong = np.flatnonzero(alike & (out_gap != stated))
    assert not wrong.size, (f"rows of {beats[wrong[0]]} beats must leave every {stated[wrong[0]]} "
                            f"cycles, not {out_gap[wrong[0]]}")
    in_gap = np.diff(rows_in[:, 0])
    wrong = np.flatnonzero(alike & (stated == beats[1:]) & (in_gap != stated))
    assert not wrong.size, (f"rows of {beats[wrong[0]]} beats must be taken every "
                            f"{stated[wrong[0]]} cycles, not {in_gap[wrong[0]]}")
