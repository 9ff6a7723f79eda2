"""What every bench needs: the job it was started for, one run of the player, the comparison."""

import dataclasses
import functools
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer

from vitrtl.sw import vectors
from vitrtl.sw.files import json_text, write_if_changed

__all__ = ["PAUSES", "Job", "Outcome", "current_job", "first_difference", "play", "report",
           "start"]

PAUSES = {"none": (0.0, 1.0), "random": (0.25, 0.6), "bursts": (1 / 64, 1 / 48)}
"""Chance a cycle that a pause begins, and that it ends."""

PATIENCE = 20_000
"""Cycles without any movement after which a unit counts as stuck."""


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """What `vitrtl.sim.job` wants to be run.

    Parameters
    ----------
    vectors : what to play and to expect.
    timing : numbers of `vitrtl.hw.timing`.
    folder : where scripts, records and measurements go.
    seed : of the pauses.
    """

    vectors: vectors.VectorSet
    timing: dict[str, int]
    folder: Path
    seed: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one run of the player left in the bench's counters."""

    beats: int
    words: int
    rows_in: int
    rows_out: int
    violations: int
    first_cycle: int
    last_cycle: int

    @property
    def cycles(self) -> int:
        """Cycles from the first beat taken to the last beat given back."""
        return self.last_cycle - self.first_cycle + 1


@functools.cache
def current_job() -> Job:
    """Read the job that the environment names."""
    fields = json.loads(Path(os.environ["VITRTL_JOB"]).read_text())
    return Job(vectors=vectors.load(Path(fields["vectors"])), timing=fields["timing"],
               folder=Path(fields["folder"]), seed=fields["seed"])


async def start(dut: SimHandleBase, script: int, expected_beats: int, source: str = "none",
                sink: str = "none") -> None:
    """Reset everything and let the player go."""
    dut.rst.value = 1
    dut.start.value = 0
    dut.script.value = script
    dut.expected_beats.value = expected_beats
    dut.drain.value = 2000
    dut.patience.value = PATIENCE
    dut.seed.value = current_job().seed
    for side, name in (("source", source), ("sink", sink)):
        enter, leave = PAUSES[name]
        getattr(dut, f"{side}_enter").value = round(enter * 65535)
        getattr(dut, f"{side}_leave").value = round(leave * 65535)
    await ClockCycles(dut.clk, 8)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 2)
    dut.start.value = 1
    await ClockCycles(dut.clk, 1)
    dut.start.value = 0


async def play(dut: SimHandleBase, script: int, expected_beats: int, source: str = "none",
               sink: str = "none") -> Outcome:
    """Play a script to its end.

    Raises
    ------
    AssertionError
        If the unit gets stuck, gives back too few or too many beats, or breaks the handshake.
    """
    await start(dut, script, expected_beats, source, sink)
    await RisingEdge(dut.done)
    # The recorders close their files in the cycle after.
    await ClockCycles(dut.clk, 2)
    await ReadOnly()
    outcome = Outcome(**{field.name: int(getattr(dut, field.name).value)
                         for field in dataclasses.fields(Outcome)})
    stuck = bool(dut.stuck.value)
    await Timer(1, "step")
    assert not stuck, (
        f"the unit is stuck: {PATIENCE} cycles without a beat, after {outcome.words} "
        f"configuration words, {outcome.rows_in} rows in and {outcome.rows_out} rows out; "
        f"{outcome.beats} of {expected_beats} beats came back")
    assert outcome.violations == 0, (
        f"the handshake is broken {outcome.violations} times: a result was withdrawn or changed "
        f"before it was taken")
    assert outcome.beats == expected_beats, (
        f"{outcome.beats - expected_beats} beats are left over after the {expected_beats} expected")
    return outcome


def report(test: str, **values: Any) -> None:
    """Put the measurements of a test among those of the job."""
    path = current_job().folder / "measured.json"
    measured = json.loads(path.read_text()) if path.is_file() else {}
    measured[test] = values
    write_if_changed(path, json_text(measured))


def first_difference(cases: list[Any], got: np.ndarray) -> str:
    """Describe the first value that differs."""
    begin = 0
    for case in cases:
        values = got[begin:begin + case.values]
        wrong = np.flatnonzero(values != case.expected.ravel())
        if wrong.size:
            place = int(wrong[0])
            return (f"{case.kind} case '{case.name}', {case.locate(place)}: gates "
                    f"{values[place]}, golden {case.expected.ravel()[place]}")
        begin += case.values
    return "none"
