"""A simulation on the terminal: progress while it runs, a table when it has ended."""

import time
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.table import Table

from vitrtl.sim.job import Job
from vitrtl.sim.suite import Result

__all__ = ["JobProgress", "print_outcome", "summary_table"]

ENDS = ("unchanged", "passed", "failed")


class JobProgress:
    """One line for each running job and one for all; plain lines where there is no terminal.

    Parameters
    ----------
    total : number of jobs.
    """

    def __init__(self, total: int) -> None:
        self._console = Console(stderr=True)
        self._live = self._console.is_terminal
        self._begin = time.monotonic()
        self._total = total
        self._ended = 0
        self._progress = Progress(TextColumn("{task.description}"), BarColumn(),
                                  MofNCompleteColumn(), TextColumn("{task.fields[stage]}"),
                                  console=self._console, transient=True)
        self._all = self._progress.add_task("simulation", total=total, stage="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "JobProgress":
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()

    def __call__(self, job: Job, stage: str) -> None:
        """Show what a job does now."""
        if stage in ENDS:
            self._ended += 1
            if job.name in self._tasks:
                self._progress.remove_task(self._tasks.pop(job.name))
            self._progress.update(self._all, completed=self._ended)
            if stage != "unchanged" or not self._live:
                seconds = time.monotonic() - self._begin
                self._console.print(f"[{seconds:5.0f} s] {self._ended}/{self._total} {job.name}: "
                                    f"{stage}", markup=False, highlight=False)
        elif job.name not in self._tasks:
            self._tasks[job.name] = self._progress.add_task(job.name, total=None, stage=stage)
        else:
            self._progress.update(self._tasks[job.name], stage=stage)


def print_outcome(console: Console, results: list[Result], seconds: float) -> None:
    """Print every failure, and the line that sums all results up."""
    failed = [result for result in results if not result.passed]
    for result in failed:
        for line in result.failures:
            console.print(f"FAILED {result.job.name}: {line}", soft_wrap=True, markup=False,
                          highlight=False)
    values = sum(result.record["values"] for result in results if result.record)
    mismatches = sum(result.record["mismatches"] for result in results if result.record)
    unchanged = sum(result.cached for result in results)
    console.print(f"{mismatches} mismatches in {values:,} values compared; {len(results)} runs, "
                  f"{unchanged} unchanged, {len(failed)} failed; {seconds:.0f} s",
                  highlight=False)


def summary_table(results: list[Result]) -> Table:
    """Return the table of all results."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, caption_justify="left", caption=(
        "B: beats of a row. Values: results compared over all runs. Cycles and elements a cycle: "
        "the network's rows without pauses, loading of constants included."))
    for name in ("unit", "method", "device"):
        table.add_column(name, overflow="fold")
    for name in ("vectors", "values", "mis-\nmatches", "cycles", "elements\n/cycle", "latency"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for result in sorted(results, key=lambda r: (r.job.unit, r.job.spec_digest, r.job.device)):
        state = "unchanged" if result.cached else "passed" if result.passed else "FAILED"
        record = result.record
        if record is None:
            table.add_row(result.job.unit, "", result.job.device, *[""] * 6, state)
            continue
        table.add_row(
            record["module"], record["method"], record["device"], f"{record['vectors']:,}",
            f"{record['values']:,}", f"{record['mismatches']:,}", _number(record["cycles"]),
            _number(record["elements_per_cycle"]), record["latency"], state)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"
