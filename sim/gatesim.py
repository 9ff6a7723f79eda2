"""Jobs of `vitrtl gatesim`: those of `vitrtl sim` on netlists, with fewer vectors."""

import concurrent.futures
import dataclasses
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from vitrtl.sim.job import Job
from vitrtl.sim.netlist import mapped_netlist
from vitrtl.sw.catalog import unit
from vitrtl.sw.cost.tools import Tools
from vitrtl.sw.vectors import read_head

__all__ = ["plan_netlists"]

LABEL = "netlist"


def plan_netlists(jobs: list[Job], values: int, folder: Path, workers: int) -> list[Job]:
    """Return jobs that simulate the netlists in place of the generated Verilog.

    Parameters
    ----------
    jobs : of the same units, for the device of the netlists.
    values : of each kind of vector at most.
    folder : where the netlists are kept.
    workers : how many are made at once, with progress.
    """
    tools = Tools()
    progress = Progress(TextColumn("synthesis"), BarColumn(), MofNCompleteColumn(),
                        TimeElapsedColumn(), console=Console(stderr=True), transient=True)

    def planned(job: Job) -> Job:
        head = read_head(job.vectors)
        spec = unit(job.unit).golden.spec.fromdict(head["spec"])
        path = mapped_netlist(job.unit, spec, folder, tools).resolve()
        progress.advance(task)
        return dataclasses.replace(job, verilog=path, limit=values, label=LABEL)

    with progress, concurrent.futures.ThreadPoolExecutor(workers) as pool:
        task = progress.add_task("", total=len(jobs))
        futures = [pool.submit(planned, job) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            tools.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
