"""Runs of the accelerator in some simulator processes side by side."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from vitrtl.sim.accelerator_job import MEASURED, PROGRESS, Job, Memory, Run, RunResult
from vitrtl.sim.build import BuildError
from vitrtl.sim.simulator import FAILURES
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.files import json_text, write_if_changed

__all__ = ["Ended", "simulate"]

BENCH = "bench_accelerator"
PAUSE_SECONDS = 0.2

Progress = Callable[[int], None]
"""Called with the cycles that have been simulated until now."""

Ended = tuple[Run, RunResult, Path]
"""A run that is over, and the folder with its records, which go when the next one is asked for."""


def simulate(model: Path, spec: AcceleratorSpec, memory: Memory, runs: Sequence[Run],
             folder: Path, processes: int, progress: Progress) -> Iterator[Ended]:
    """Yield every run when it is over.

    Parameters
    ----------
    model : folder that `build_model` returned.
    spec : of the accelerator.
    memory : contents of the memory.
    runs : to be done.
    folder : where the processes work.
    processes : side by side, at most.

    Raises
    ------
    BuildError
        If a simulator ends before its runs do.
    """
    memory.write(folder / "memory.bin")
    parts = [tuple(runs[i::processes]) for i in range(min(processes, len(runs)))]
    with contextlib.ExitStack() as stack:
        started = [stack.enter_context(_Process(model, spec, folder, i, part))
                   for i, part in enumerate(parts)]
        ended = [0] * len(started)
        while any(process.goes_on for process in started):
            time.sleep(PAUSE_SECONDS)
            progress(sum(process.cycles() for process in started))
            for i, process in enumerate(started):
                for result in process.results()[ended[i]:]:
                    run = process.runs[ended[i]]
                    ended[i] += 1
                    yield run, result, process.folder
                    process.forget(run)
                if process.failed and ended[i] < len(process.runs):
                    raise BuildError(process.failure())
                process.goes_on = ended[i] < len(process.runs)


class _Process:
    """One simulator and its part of the runs."""

    def __init__(self, model: Path, spec: AcceleratorSpec, folder: Path, index: int,
                 runs: tuple[Run, ...]) -> None:
        self.folder = folder.resolve() / f"process{index}"
        self.runs = runs
        self.goes_on = True
        self.failed = False
        self.folder.mkdir()
        os.link(folder / "memory.bin", self.folder / "memory.bin")
        write_if_changed(self.folder / "job.json", json_text(
            Job(spec=spec, folder=self.folder, runs=runs).tojson()))
        self._command = [sys.executable, "-m", "vitrtl.sim.simulator", BENCH, BENCH,
                         str(model.resolve()), str(self.folder)]

    def __enter__(self) -> "_Process":
        # A session of its own, so that an interruption ends the simulator with it.
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, start_new_session=True)
        return self

    def __exit__(self, *trouble: object) -> None:
        if self._process.poll() is None and (self.goes_on or trouble[0] is not None):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def results(self) -> list[RunResult]:
        """Return the runs that are over."""
        # Looked at first, so that what a process wrote before it ended is not missed.
        self.failed = self._process.poll() is not None
        return [RunResult(**fields) for fields in self._read(MEASURED, [])]

    def cycles(self) -> int:
        """Return the cycles that have been simulated."""
        done = self._read(MEASURED, [])
        now = self._read(PROGRESS, {"runs": -1, "cycles": 0})
        return sum(result["cycles"] for result in done) + (
            now["cycles"] if now["runs"] == len(done) else 0)

    def failure(self) -> str:
        """Return why the simulator ended."""
        lines = self._read(FAILURES, [])
        return (lines[0] if lines else "the simulator ended without a word") + (
            f"; see {self.folder / 'log.txt'}")

    def forget(self, run: Run) -> None:
        """Remove the records of a run."""
        for path in self.folder.glob(f"*_{run.number}.bin"):
            path.unlink()

    def _read(self, name: str, default: object) -> object:
        path = self.folder / name
        return json.loads(path.read_text()) if path.is_file() else default
