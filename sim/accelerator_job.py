"""What the accelerator's bench is asked to do, and what it answers: plain values in JSON files."""

import dataclasses
from pathlib import Path
from typing import Any

from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["MEASURED", "NEVER", "PAGE", "PROGRESS", "Job", "Memory", "Run", "RunResult",
           "job_from_json"]

MEASURED = "measured.json"
"""File with the results of the runs that have ended."""

PROGRESS = "progress.json"
"""File that says how many runs have ended, and the cycle of the one that goes on."""

PAGE = 4096
"""Bytes that no burst crosses the end of."""

NEVER = (1 << 32) - 1
"""A cycle that does not come."""

VIOLATIONS = {1: "a read address changed before it was taken",
              2: "a write address changed before it was taken",
              3: "a write beat changed before it was taken", 4: "a burst crosses 4 KB",
              5: "a burst is not of whole, aligned beats", 6: "WLAST is not at a burst's end"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a program on one image.

    Parameters
    ----------
    number : of its files.
    program, image, output : byte addresses.
    output_bytes : that are saved from `output` on.
    latency : cycles by which the memory answers later than it could.
    bandwidth : beats that it reads or writes in 256 cycles, 256 at most.
    enter, leave : chance of a pause on each channel to begin and to end, in 1/65536 a cycle.
    seed : of the pauses.
    error_base, error_size : bytes whose every access is answered with SLVERR.
    timeout : cycles without progress after which the accelerator gives up.
    patience : cycles after which the bench does.
    record : whether words and instructions are recorded.
    waves : first cycle of the waveform.
    """

    number: int
    program: int
    image: int
    output: int
    output_bytes: int
    latency: int = 0
    bandwidth: int = 256
    enter: int = 0
    leave: int = 65535
    seed: int = 1
    error_base: int = 0
    error_size: int = 0
    timeout: int = 1 << 16
    patience: int = 1 << 28
    record: bool = True
    waves: int = NEVER


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What the registers and the memory say of a run.

    Parameters
    ----------
    number : of the run.
    interrupted : whether the accelerator said by itself that it was over.
    busy, fault, engine : from STATUS.
    cycles, beats : from their registers.
    violations : broken rules of the bus, and which was the first.
    engine_done, engine_busy : instructions ended and cycles not idle, of each engine.
    """

    number: int
    interrupted: bool
    busy: bool
    fault: str
    engine: int
    cycles: int
    beats: int
    violations: int
    violation: int
    engine_done: list[int]
    engine_busy: list[int]

    @property
    def well(self) -> bool:
        """Whether nothing went wrong."""
        return self.trouble == ""

    @property
    def trouble(self) -> str:
        """What went wrong, or nothing."""
        if not self.interrupted:
            return f"the accelerator is stuck: no interrupt after {self.cycles} cycles"
        if self.fault != "none":
            return f"the run ended with the fault: {self.fault} (engine {self.engine})"
        if self.violations:
            return (f"{self.violations} rules of the bus were broken; first: "
                    f"{VIOLATIONS[self.violation]}")
        return ""

    def asdict(self) -> dict[str, Any]:
        """Fields as JSON values."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Runs of one simulator process.

    Parameters
    ----------
    spec : of the accelerator.
    folder : where the files are, `memory.bin` among them.
    runs : to be done, in order.
    faults : numbers and bytes for the bench of faults; empty for others.
    """

    spec: AcceleratorSpec
    folder: Path
    runs: tuple[Run, ...]
    faults: dict[str, Any] = dataclasses.field(default_factory=dict)

    def tojson(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"spec": self.spec.asdict(), "folder": str(self.folder),
                "runs": [dataclasses.asdict(run) for run in self.runs], "faults": self.faults}


class Memory:
    """Contents of the memory, put together part by part."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, content: bytes) -> int:
        """Append bytes; return their address, a multiple of a page, so that bursts are cut alike
        wherever they lie."""
        pad = -self.size % PAGE
        self._parts += [bytes(pad), content]
        address = self.size + pad
        self.size = address + len(content)
        return address

    def write(self, path: Path) -> None:
        """Write the contents, as the bench loads them."""
        with path.open("wb") as file:
            file.writelines(self._parts)


def job_from_json(fields: dict[str, Any]) -> Job:
    """Undo `Job.tojson`."""
    return Job(spec=AcceleratorSpec.fromdict(fields["spec"]), folder=Path(fields["folder"]),
               runs=tuple(Run(**run) for run in fields["runs"]),
               faults=fields["faults"])
