"""An IP core in Verilator between cocotbext-axi's drivers."""

from pathlib import Path

from vitrtl.sim.build import build_model
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.catalog import unit
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.packaging.core import UnitCore
from vitrtl.sw.stimuli import synthetic_cases
from vitrtl.sw.vectors import VectorSet, golden_digest, save

__all__ = ["BENCH", "simulate_core"]

BENCH = "bench_axi"

VALUES_OF_A_KIND = 400
"""Values of each kind of case that are played."""

CASES_OF_A_KIND = 2


def simulate_core(core: UnitCore, build: Path, seed: int = 1) -> list[str]:
    """Play cases on a core, with and without pauses; return what failed, one line each.

    Parameters
    ----------
    core : what is simulated, by its Verilog.
    build : folder of the simulation.
    seed : of the pauses.

    Raises
    ------
    BuildError
        If the simulation ends early.
    """
    model = build_model(core.verilog, BENCH, _defines(core), build)
    folder = build / "cores" / core.module
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vectors.npz"
    save(VectorSet(unit=core.unit, spec=core.spec, network=None, golden=golden_digest(core.unit),
                   made_from="vitrtl package", cases=tuple(_cases(core))), path)
    timing = {"latency_fixed": core.latency_fixed, "latency_per_beat": core.latency_per_beat,
              "interval_min": core.interval_min}
    write_if_changed(folder / "job.json", json_text({
        "vectors": str(path.resolve()), "timing": timing, "folder": str(folder.resolve()),
        "seed": seed}))
    return run_bench(BENCH, model, folder, seed=seed)


def _cases(core: UnitCore) -> list:
    """Return some cases of each kind, short enough for a bench that Python drives."""
    chosen, count, left = [], {}, {}
    for case in synthetic_cases(unit(core.unit), core.spec):
        room = left.setdefault(case.kind, VALUES_OF_A_KIND)
        if room <= 0 or case.kind == "timing" or count.get(case.kind, 0) == CASES_OF_A_KIND:
            continue
        case = case.shortened(room)
        if case.values > 10 * VALUES_OF_A_KIND:
            continue
        chosen.append(case)
        left[case.kind] -= case.values
        count[case.kind] = count.get(case.kind, 0) + 1
    return chosen


def _defines(core: UnitCore) -> dict[str, object]:
    """Return the macros in whose terms the bench is written."""
    width = {port.name: port.width for port in core.ports}
    defines = {"UNIT": core.module, "ADDRESS_BITS": width["s_axi_awaddr"],
               "OUT_BYTES": width["m_axis_tdata"] // 8}
    if core.operator == "matmul":
        return defines | {"MATMUL": 1, "WEIGHT_BYTES": width["s_axis_w_tdata"] // 8,
                          "IN_BYTES": width["s_axis_a_tdata"] // 8}
    return defines | {"IN_BYTES": width["s_axis_tdata"] // 8} | (
        {"KEEP": 1} if "s_axis_tkeep" in width else {})
