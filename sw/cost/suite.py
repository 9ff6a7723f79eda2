"""Many builds on many targets: parallel, resumable, with progress."""

import concurrent.futures
import dataclasses
from collections.abc import Callable, Iterable
from pathlib import Path

from vitrtl.sw.catalog import unit
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.flow import Measurement, Work, measure
from vitrtl.sw.cost.table import CostRow, cycle_formula
from vitrtl.sw.cost.target import Target
from vitrtl.sw.cost.tools import Tools, tool_versions
from vitrtl.sw.engine import LOCAL, completed, open_engine
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest

__all__ = ["Job", "Outcome", "plan", "run", "verilog_checksum"]


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """One row to measure.

    Parameters
    ----------
    build, operator, method : what the row is of.
    work : what is measured.
    latency_fixed, latency_per_beat, interval_min, cycles : of the row, see `CostRow`.
    """

    build: Build
    operator: str
    method: str
    work: Work
    latency_fixed: int
    latency_per_beat: int
    interval_min: int
    cycles: str

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"{self.work.top} on {self.work.target.name}"


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a job: a measurement and its row, or an error."""

    job: Job
    measurement: Measurement | None = None
    row: CostRow | None = None
    error: str = ""


def verilog_checksum(name: str, spec: object, device: str) -> str:
    """Return the checksum by which a row is known to be of the gates that are built now."""
    from vitrtl.hw.verilog import generate

    return digest(generate(name, spec, device))


def plan(builds: Iterable[Build], targets: Iterable[Target], cache: Path) -> list[Job]:
    """Generate the Verilog of each build for each target; the largest come first."""
    from vitrtl.hw.verilog import generate, module_name

    targets = list(targets)
    jobs = []
    for build in builds:
        entry = unit(build.unit)
        timing = entry.timing(build.spec)
        cycles = cycle_formula(timing.latency_fixed, timing.latency_per_beat,
                               getattr(build.spec, "lanes", 1))
        texts = {device: generate(build.unit, build.spec, device)
                 for device in dict.fromkeys(target.device for target in targets)}
        for target in targets:
            work = Work(top=module_name(build.unit, build.spec), verilog=texts[target.device],
                        target=target, cache=cache)
            jobs.append(Job(build, entry.operator, entry.method, work, timing.latency_fixed,
                            timing.latency_per_beat, timing.interval_min, cycles))
    return sorted(jobs, key=lambda job: -len(job.work.verilog) * job.work.steps)


def run(jobs: list[Job], workers: int, on_step: Callable[[Job, str], None],
        engine: str = LOCAL) -> list[Outcome]:
    """Measure all jobs, some at a time; an interrupt ends the tools and keeps what is done.

    Parameters
    ----------
    jobs : see `plan`.
    workers : tools that run at the same time.
    on_step : called after each step of each job, from another thread; on another engine, for all
        steps of a job together when it is done.
    engine : see `vitrtl.sw.engine`.
    """
    if engine != LOCAL:
        return _run_on(engine, jobs, workers, on_step)
    tools = Tools()
    # The tools are processes: threads are enough to wait for them.
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_run_one, job, tools, on_step) for job in jobs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            tools.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _run_on(engine: str, jobs: list[Job], workers: int,
            on_step: Callable[[Job, str], None]) -> list[Outcome]:
    """Measure all jobs on an engine whose workers see the cache."""
    sent = [dataclasses.replace(job, work=dataclasses.replace(
        job.work, cache=job.work.cache.absolute())) for job in jobs]
    outcomes: dict[int, Outcome] = {}
    with open_engine(engine, workers) as pool:
        for place, (outcome, steps) in completed(pool, _run_alone, sent):
            outcomes[place] = dataclasses.replace(outcome, job=jobs[place])
            for step in steps:
                on_step(jobs[place], step)
    return [outcomes[place] for place in range(len(jobs))]


def _run_alone(job: Job) -> tuple[Outcome, list[str]]:
    """Measure one job wherever this runs; return the steps that it took as well."""
    steps: list[str] = []
    return _run_one(job, Tools(), lambda _, step: steps.append(step)), steps


def _run_one(job: Job, tools: Tools, on_step: Callable[[Job, str], None]) -> Outcome:
    """Measure one job; a tool's failure is an outcome, so that the others go on."""
    try:
        found = measure(job.work, tools, lambda step: on_step(job, step))
    except UserError as error:
        on_step(job, "failed")
        return Outcome(job, error=str(error))
    return Outcome(job, found, _row(job, found))


def _row(job: Job, found: Measurement) -> CostRow:
    """Join what the tools found with what is known of the gates."""
    build, target = job.build, job.work.target
    pnr = target.place_and_route
    return CostRow(
        unit=build.unit, operator=job.operator, method=job.method,
        spec=build.spec.asdict(), spec_digest=build.spec.digest,
        target=target.name, part=target.part, speed_grade=target.speed_grade,
        clock_mhz=found.clock_mhz, clock_mhz_seeds=found.clock_mhz_seeds,
        area=found.resources[target.area], area_unit=target.area, resources=found.resources,
        latency_fixed=job.latency_fixed, latency_per_beat=job.latency_per_beat,
        interval_min=job.interval_min, cycles=job.cycles,
        tools=tool_versions(pnr.module if pnr else None), verilog=digest(job.work.verilog))
