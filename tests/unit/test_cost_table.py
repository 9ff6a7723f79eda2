"""The cost table: files, schema, formula, and rows that are missing or stale."""

import csv
import dataclasses
import json
import re

import jsonschema
import pytest

from vitrtl.hw.accelerator.onchip_memory import read_latency
from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.host_protocol import memory_map
from vitrtl.sw.accelerator.predict import Bus, predict
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.boards.bitstream import Bitstream
from vitrtl.sw.boards.board import load_board
from vitrtl.sw.catalog import unit
from vitrtl.sw.cost import accelerator
from vitrtl.sw.cost import table as table_module
from vitrtl.sw.cost.accelerator import ACCELERATOR, accelerator_row
from vitrtl.sw.cost.builds import table_builds
from vitrtl.sw.cost.table import (
    SHIPPED_FOLDER,
    CostError,
    CostRow,
    CostTable,
    cycle_formula,
    load_table,
)
from vitrtl.sw.cost.target import target_names
from vitrtl.sw.cost.tools import Tools
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest

SCHEMA = json.loads((SHIPPED_FOLDER.parent / "schema" / "cost_table.schema.json").read_text())
SPEC = unit("softmax_shiftmax").golden.spec()

ROW = CostRow(
    unit="softmax_shiftmax", operator="softmax", method="shiftmax", spec=SPEC.asdict(),
    spec_digest=SPEC.digest, target="ecp5-85k", part="a part", speed_grade="6",
    clock_mhz=130.5, clock_mhz_seeds={"1": 129.0, "2": 131.0, "3": 130.5}, area=600,
    area_unit="lut4eq", resources={"lut4eq": 600, "lut": 400, "ccu2c": 100, "ff": 500, "dsp": 3,
                                   "bram": 2},
    latency_fixed=34, latency_per_beat=2, interval_min=17, cycles="34 + 3*N",
    tools={"amaranth": "0.5.10"}, verilog="0123456789abcdef")
AREA_ONLY = dataclasses.replace(
    ROW, target="xc7", speed_grade=None, clock_mhz=None, clock_mhz_seeds={}, area=400,
    area_unit="lut", resources={"lut": 400, "lutram": 10, "ff": 450, "dsp": 2, "bram": 2})
TABLE = CostTable((AREA_ONLY, ROW))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Work in an empty folder, so that no `build/cost` is in the way."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_written_and_read_again_is_the_same(tmp_path) -> None:
    json_path, _ = TABLE.save(tmp_path)
    assert load_table(json_path) == TABLE


def test_equal_tables_are_equal_files(tmp_path) -> None:
    paths = TABLE.save(tmp_path / "a") + CostTable((ROW, AREA_ONLY)).save(tmp_path / "b")
    assert paths[0].read_bytes() == paths[2].read_bytes()
    assert paths[1].read_bytes() == paths[3].read_bytes()


def test_written_table_is_as_the_schema_says(tmp_path) -> None:
    json_path, _ = TABLE.save(tmp_path)
    jsonschema.validate(json.loads(json_path.read_text()), SCHEMA)


@pytest.mark.parametrize(("field", "value"), [
    ("clock_mhz", "fast"), ("area", -1), ("verilog", "today"), ("cycles", "about 7"),
    ("resources", {"lut": 1}), ("surplus", 1),
])
def test_schema_refuses(field, value, tmp_path) -> None:
    json_path, _ = TABLE.save(tmp_path)
    content = json.loads(json_path.read_text())
    content["rows"][0][field] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, SCHEMA)


def test_csv_has_a_flat_column_for_each_figure(tmp_path) -> None:
    _, csv_path = TABLE.save(tmp_path)
    first, second = csv.DictReader(csv_path.read_text().splitlines())
    assert (first["target"], first["lut4eq"], first["clock_mhz_seed2"]) == (
        "ecp5-85k", "600", "131.0")
    assert (second["target"], second["lut4eq"], second["clock_mhz"]) == ("xc7", "", "")
    assert second["lutram"] == "10"
    assert "in_width=8" in first["spec"].split()


def test_row_is_found_by_spec_or_digest() -> None:
    assert TABLE.row("softmax_shiftmax", SPEC, "ecp5-85k") == ROW
    assert TABLE.row("softmax_shiftmax", SPEC.digest, "xc7", AREA_ONLY.verilog) == AREA_ONLY


def test_missing_row_names_the_command_that_mends_it() -> None:
    other = dataclasses.replace(SPEC, lanes=2, longest_row=512)
    message = (f"the cost table has no row for softmax_shiftmax spec {other.digest} on xc7: "
               "`vitrtl cost softmax_shiftmax --target xc7 --spec lanes=2 longest_row=512` "
               "measures it")
    with pytest.raises(CostError, match=f"^{re.escape(message)}$"):
        TABLE.row("softmax_shiftmax", other, "xc7")


def test_stale_row_names_the_command_that_mends_it() -> None:
    message = (f"the cost table's row for softmax_shiftmax spec {SPEC.digest} on xc7 is stale, "
               "its Verilog is 0123456789abcdef, not fedcba9876543210: "
               "`vitrtl cost softmax_shiftmax --target xc7` measures it")
    with pytest.raises(CostError, match=f"^{re.escape(message)}$"):
        TABLE.row("softmax_shiftmax", SPEC, "xc7", "fedcba9876543210")


def test_two_rows_of_one_key_are_refused() -> None:
    with pytest.raises(CostError, match=f"^cost table: two rows for softmax_shiftmax {SPEC.digest}"
                                        " xc7$"):
        CostTable((AREA_ONLY, AREA_ONLY))


def test_newer_rows_replace_older_ones() -> None:
    newer = dataclasses.replace(ROW, area=500)
    assert TABLE.updated([newer]).rows == (newer, AREA_ONLY)


def test_rows_measured_here_come_before_the_shipped_ones(elsewhere) -> None:
    shipped = load_table()
    newer = dataclasses.replace(ROW, area=1)
    CostTable((newer,)).save(table_module.BUILD_FOLDER)
    assert load_table().row("softmax_shiftmax", SPEC, "ecp5-85k").area == 1
    assert len(load_table().rows) == len(shipped.updated([newer]).rows)


@pytest.mark.parametrize(("content", "complaint"), [
    ("{", "is not JSON"),
    ("[]", "is not a cost table$"),
    ('{"schema": "vitrtl.costs", "version": 0}',
     "is a cost table of version 0, this program reads version 1"),
    ('{"schema": "vitrtl.costs", "version": 1}', "a row is not as the schema says"),
    ('{"schema": "vitrtl.costs", "version": 1, "rows": [{}]}', "a row is not as the schema says"),
])
def test_a_broken_file_is_one_clear_line(content, complaint, tmp_path) -> None:
    path = tmp_path / "costs.json"
    path.write_text(content)
    with pytest.raises(UserError, match=complaint) as error:
        load_table(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(("arguments", "formula"), [
    ((7, 0, 1), "7 + N"), ((34, 2, 1), "34 + 3*N"), ((34, 1, 4), "34 + 2*N/4"),
])
def test_formula(arguments, formula) -> None:
    assert cycle_formula(*arguments) == formula


def test_cycles_of_a_row_follow_the_formula() -> None:
    assert ROW.row_cycles(64) == 34 + 3 * 64
    assert (ROW.row_interval(64), ROW.row_interval(5)) == (64, 17)
    lanes = dataclasses.replace(ROW, spec={**ROW.spec, "lanes": 4})
    assert lanes.row_cycles(65) == 34 + 3 * 17


def test_shipped_table_is_as_the_schema_says() -> None:
    jsonschema.validate(json.loads((SHIPPED_FOLDER / "costs.json").read_text()), SCHEMA)


def test_shipped_table_has_all_its_builds_on_every_target(elsewhere) -> None:
    keys = {(build.unit, build.spec.digest, target)
            for build in table_builds() for target in target_names()}
    assert {row.key for row in load_table().rows if row.unit != ACCELERATOR} == keys


def test_the_row_of_an_accelerator_is_of_its_network(network, tmp_path, monkeypatch) -> None:
    def build(board, verilog, folder, seed, tools, on_step) -> Bitstream:
        folder.mkdir(parents=True)
        cells = {"LUT4": 5, "CCU2C": 2, "TRELLIS_FF": 7, "DP16KD": 3, "EHXPLLL": 1}
        (folder / "stat.json").write_text(json.dumps(
            {"design": {"num_cells_by_type": cells}}))
        return Bitstream(path=folder / "top.bit", clock_mhz=90.5, required_mhz=80.0,
                         utilization={}, cached=False)

    monkeypatch.setattr(accelerator, "build_bitstream", build)
    monkeypatch.setattr("vitrtl.sw.boards.network_design.serial_system", lambda program: program)
    monkeypatch.setattr("vitrtl.sw.boards.network_design.board_verilog",
                        lambda board, component: f"{component.network_digest} on {board.name}")
    row = accelerator_row(network, load_board("ulx3s"), tmp_path, Tools(), lambda step: None)
    program = compile_network(network, size_accelerator(network))
    latency = read_latency(memory_map(program).words)
    assert row.key == (ACCELERATOR, program.spec.digest, "ecp5-85k")
    assert row.cycles == str(predict(program, Bus(latency=latency)).cycles)
    assert (row.area, row.resources["ff"], row.resources["bram"]) == (5 + 2 * 2, 7, 3)
    assert (row.clock_mhz, row.clock_mhz_seeds) == (90.5, {"1": 90.5})
    assert row.verilog == digest(f"{network.digest} on ulx3s")


def test_an_accelerator_is_not_measured_on_a_board_of_another_flow(network, tmp_path) -> None:
    with pytest.raises(UserError, match="arty_a7 has not"):
        accelerator_row(network, load_board("arty_a7"), tmp_path, Tools(), lambda step: None)


def test_shipped_csv_says_what_the_json_says(elsewhere) -> None:
    _, csv_path = load_table().save(elsewhere / "again")
    assert csv_path.read_bytes() == (SHIPPED_FOLDER / "costs.csv").read_bytes()
