"""Progress and tables of `vitrtl cost` on the terminal."""

import dataclasses
from collections.abc import Iterable, Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from vitrtl.sw.cost.flow import median_report
from vitrtl.sw.cost.nextpnr_report import Hop, critical_path
from vitrtl.sw.cost.suite import Job, Outcome
from vitrtl.sw.cost.table import CostRow
from vitrtl.sw.cost.target import Target

__all__ = ["CostProgress", "cost_table", "joined", "path_table"]

SHORT_NS = 0.1
"""Delay below which a hop is no step of its own."""


class CostProgress:
    """A bar over all tool runs, and a line for each job that is done."""

    def __init__(self, jobs: list[Job], console: Console) -> None:
        self._progress = Progress(
            TextColumn("cost"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("{task.description}"), console=console)
        self._task = self._progress.add_task("", total=sum(job.work.steps for job in jobs))
        self._left = {id(job): job.work.steps for job in jobs}

    def __enter__(self) -> "CostProgress":
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._progress.stop()

    def step(self, job: Job, what: str) -> None:
        """Count one step; a failure counts for all that the job had left."""
        steps = self._left[id(job)] if what == "failed" else 1
        self._left[id(job)] -= steps
        self._progress.update(self._task, advance=steps, description=f"{job.name}: {what}")


def cost_table(rows: Iterable[CostRow], targets: Mapping[str, Target]) -> Table:
    """Return the figures that people compare, slow clocks in red."""
    table = Table("unit", "spec", "target", "area", "FF", "DSP", "BRAM", "MHz", "cycles for N",
                  "interval", caption="Area is LUT4 equivalents on ecp5 and LUTs on xc7, BRAM is "
                                      "blocks of 18 kbit, interval is the least cycles from row "
                                      "to row.")
    for column in table.columns[3:8]:
        column.justify = "right"
    for row in sorted(rows, key=lambda row: (row.target, row.unit, row.spec_digest)):
        slow = row.clock_mhz is not None and row.clock_mhz < (targets[row.target].clock_mhz or 0)
        clock = "" if row.clock_mhz is None else f"{row.clock_mhz:.1f}"
        table.add_row(row.unit, row.spec_digest, row.target, f"{row.area:,}",
                      *(f"{row.resources[name]:,}" for name in ("ff", "dsp", "bram")),
                      f"[red]{clock}[/red]" if slow else clock, row.cycles,
                      f"{row.interval_min}")
    return table


def path_table(outcome: Outcome) -> Table:
    """Return the slowest path of the seed that is the median, carry chains drawn together."""
    report = median_report(outcome.job.work, outcome.measurement)
    table = Table("step", "ns", "cell", "pin", "net",
                  title=f"{outcome.job.name}: {outcome.measurement.clock_mhz} MHz",
                  title_justify="left")
    for hop in joined(critical_path(report)):
        table.add_row(hop.kind, f"{hop.delay_ns:.2f}", hop.cell, hop.pin, hop.net)
    return table


def joined(hops: list[Hop]) -> list[Hop]:
    """Return a path with every short hop, one bit of a carry chain, joined to the hop before."""
    path: list[Hop] = []
    for hop in hops:
        if path and hop.delay_ns < SHORT_NS:
            total = path[-1].delay_ns + hop.delay_ns
            path[-1] = dataclasses.replace(path[-1], delay_ns=total, cell=hop.cell, pin=hop.pin)
        else:
            path.append(hop)
    return path
