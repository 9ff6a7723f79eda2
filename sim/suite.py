"""All units on all devices: what must run again, two jobs at once, one summary."""

import contextlib
import dataclasses
import fcntl
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any
from xml.etree import ElementTree

from vitrtl.sim.job import Job, cached_verilog, job_to_json, result_key
from vitrtl.sim.toolchain import require_programs
from vitrtl.sw import vectors
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, write_if_changed

__all__ = ["JOBS_AT_ONCE", "Result", "run_suite", "write_summary"]

JOBS_AT_ONCE = 2

Progress = Callable[[Job, str], None]
"""Called with a job and what it does now."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Outcome of one job.

    Parameters
    ----------
    job : what was simulated.
    passed : every test passed.
    cached : nothing had changed since it passed.
    failures : one line for each failed test, or what kept the job from running.
    record : line of the summary, or None if nothing was measured.
    """

    job: Job
    passed: bool
    cached: bool
    failures: tuple[str, ...]
    record: dict[str, Any] | None


def run_suite(jobs: list[Job], progress: Progress, jobs_at_once: int = JOBS_AT_ONCE
              ) -> list[Result]:
    """Run the jobs whose result is not known yet; return all results in the order of the jobs.

    An interruption ends the running jobs; what had finished is found again by the next call.
    """
    with _exclusive(jobs[0].build) if jobs else contextlib.nullcontext():
        return _run_all(jobs, progress, jobs_at_once)


def _run_all(jobs: list[Job], progress: Progress, jobs_at_once: int) -> list[Result]:
    results: dict[str, Result] = {}
    waiting: queue.SimpleQueue[Job] = queue.SimpleQueue()
    for job in jobs:
        known = _cached_result(job)
        if known is None:
            waiting.put(job)
        else:
            results[job.name] = known
            progress(job, "unchanged")
    if not waiting.empty():
        require_programs()
    running: dict[str, subprocess.Popen[str]] = {}
    stopped = threading.Event()

    def work() -> None:
        while not stopped.is_set():
            try:
                job = waiting.get_nowait()
            except queue.Empty:
                return
            results[job.name] = _run(job, progress, running)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(jobs_at_once)]
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, _interrupt) if in_main else None
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            while worker.is_alive():
                worker.join(0.2)
    finally:
        stopped.set()
        if in_main:
            signal.signal(signal.SIGTERM, before)
        for process in list(running.values()):
            _end(process)
    return [results[job.name] for job in jobs]


def write_summary(results: list[Result], folder: Path) -> None:
    """Write `summary.json` and `junit.xml`: the jobs just asked for, and no other."""
    records = [result.record for result in results if result.record is not None]
    write_if_changed(folder / "summary.json", json_text(records))
    suites = ElementTree.Element("testsuites")
    for result in results:
        path = result.job.folder / "results.xml"
        inner = list(ElementTree.parse(path).getroot().iter("testsuite")) if path.is_file() else []
        for suite in inner:
            suite.set("name", result.job.name)
            suites.append(suite)
        if not inner:
            suite = ElementTree.SubElement(suites, "testsuite", name=result.job.name, tests="1",
                                           errors="1", failures="0")
            case = ElementTree.SubElement(suite, "testcase", name="run", classname=result.job.name)
            ElementTree.SubElement(case, "error", message="; ".join(result.failures))
    ElementTree.indent(suites)
    write_if_changed(folder / "junit.xml", ElementTree.tostring(suites, encoding="unicode") + "\n")


@contextlib.contextmanager
def _exclusive(build: Path) -> Iterator[None]:
    """Hold a folder for one simulation; refuse it to a second one."""
    build.mkdir(parents=True, exist_ok=True)
    with open(build / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another simulation is running in {build}") from None
        yield


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End on a termination signal as on an interrupt from the keyboard."""
    raise KeyboardInterrupt


def _cached_result(job: Job) -> Result | None:
    """Return the result of an earlier run that passed, if everything it depends on is the same."""
    if job.waves or (job.label == "apply" and not (job.folder / "output.npy").is_file()):
        return None
    try:
        stored = json.loads((job.folder / "result.json").read_text())
    except (OSError, json.JSONDecodeError):
        return None
    verilog = cached_verilog(job, vectors.load(job.vectors).spec)
    if verilog is None or not stored["passed"] or stored["key"] != result_key(job, verilog):
        return None
    return Result(job=job, passed=True, cached=True, failures=(), record=stored["record"])


def _run(job: Job, progress: Progress, running: dict[str, subprocess.Popen[str]]) -> Result:
    """Run one job in a process group of its own."""
    description = job.build / "jobs" / f"{job.name}.json"
    write_if_changed(description, json_text(job_to_json(job)))
    with subprocess.Popen([sys.executable, "-m", "vitrtl.sim.job", str(description)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          start_new_session=True) as process:
        running[job.name] = process
        trouble = ""
        for line in process.stdout:
            kind, _, text = line.rstrip().partition(": ")
            if kind == "stage":
                progress(job, text)
            elif text or kind:
                trouble = text if kind == "error" else line.rstrip()
    del running[job.name]
    if process.returncode not in (0, 1):
        progress(job, "failed")
        return Result(job=job, passed=False, cached=False, record=None,
                      failures=(trouble or f"ended with status {process.returncode}",))
    stored = json.loads((job.folder / "result.json").read_text())
    progress(job, "passed" if stored["passed"] else "failed")
    return Result(job=job, passed=stored["passed"], cached=False,
                  failures=tuple(stored["failures"]), record=stored["record"])


def _end(process: subprocess.Popen[str]) -> None:
    """End a job with everything that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
