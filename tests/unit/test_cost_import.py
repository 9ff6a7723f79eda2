"""Vivado's reports into the cost table: figures by name, and one line for whatever is amiss."""

import json
from pathlib import Path

import jsonschema
import pytest

from vitrtl.hw.verilog import generate, module_name
from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main
from vitrtl.sw.cost.builds import table_builds
from vitrtl.sw.cost.imported import build_of_module, find_target, import_rows
from vitrtl.sw.cost.suite import verilog_checksum
from vitrtl.sw.cost.table import CostTable, load_table, mend_all_command
from vitrtl.sw.cost.vivado_report import read_report
from vitrtl.sw.errors import UserError

REPORTS = Path(__file__).parents[1] / "data" / "reports"
UNIT = "softmax_exp2"


@pytest.fixture(scope="module")
def synthesized():
    return generate(UNIT, unit(UNIT).golden.spec())


@pytest.fixture
def reports(tmp_path, synthesized):
    """Return a function that copies the two reports of a family, with changes, and the Verilog."""
    (tmp_path / "verilog").mkdir()
    (tmp_path / "verilog" / f"{UNIT}.v").write_text(synthesized)

    def write(family="xc7", changes=(), kinds=("utilization", "timing")):
        paths = []
        for kind in kinds:
            text = (REPORTS / f"vivado-{family}" / f"{UNIT}_{kind}.rpt").read_text()
            for old, new in changes:
                text = text.replace(old, new)
            paths.append(tmp_path / f"{family}_{kind}.rpt")
            paths[-1].write_text(text)
        return paths
    return write


@pytest.mark.parametrize(("family", "part", "grade", "lut", "clock"), [
    ("xc7", "xc7a100tcsg324-1", "-1", 243, 1000 / (5.0 - 0.479)),
    ("usp", "xczu7ev-ffvc1156-2-e", "-2", 229, 1000 / (2.5 + 0.125)),
])
def test_figures_are_those_of_the_reports(reports, tmp_path, family, part, grade, lut, clock):
    row, = import_rows(reports(family), "mine", tmp_path / "verilog")
    assert (row.unit, row.target, row.part, row.speed_grade) == (UNIT, "mine", part, grade)
    # One and a half tiles of 36 kbit are three blocks of 18.
    assert row.resources == {"lut": lut, "lutram": 31, "ff": 391, "dsp": 4, "bram": 3}
    assert (row.area, row.area_unit) == (lut, "lut")
    assert row.clock_mhz == round(clock, 2)
    assert row.tools == {"vivado": "2023.2"}
    spec = unit(UNIT).golden.spec()
    assert row.verilog == verilog_checksum(UNIT, spec, "generic")
    shipped = load_table().row(UNIT, spec, "xc7")
    assert (row.cycles, row.interval_min) == (shipped.cycles, shipped.interval_min)


def test_older_reports_have_fewer_columns(reports, tmp_path):
    changes = [(" Prohibited |", ""), ("|          0 |     63400 |", "|     63400 |"),
               ("|          0 |    126800 |", "|    126800 |"),
               ("|          0 |     19000 |", "|     19000 |"),
               ("|          0 |       135 |", "|       135 |"),
               ("|          0 |       240 |", "|       240 |")]
    row, = import_rows(reports(changes=changes), "mine", tmp_path / "verilog")
    assert row.resources["lut"] == 243 and row.resources["dsp"] == 4


@pytest.mark.parametrize("build", table_builds(), ids=lambda b: module_name(b.unit, b.spec))
def test_every_module_name_leads_back_to_its_unit(build):
    assert build_of_module(module_name(build.unit, build.spec)) == build


@pytest.mark.parametrize("name", ["top", "softmax", "softmax_exp2_lanes3", "softmax_exp2_x1",
                                  "softmax_exp2_lanes"])
def test_another_module_is_refused(name):
    with pytest.raises(UserError, match=f"as `vitrtl verilog` names it, not '{name}'$"):
        build_of_module(name)


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ("| Tool Version : Vivado", "| Tool Version : Quartus",
     "not a report of Vivado, it has no header with a Tool Version"),
    ("report_utilization -file", "report_power -file", ("the report must be of report_utilization "
     "or report_timing_summary, not of report_power")),
    ("| Design       : ", "| Designer     : ", "its header has no Design"),
    ("Site Type", "Site Kind", "no table with a column Site Type"),
    ("Used |", "Count|", "a table by Site Type has no column Used"),
    ("| Slice LUTs*", "| Some LUTs* ", "no row Slice LUTs or CLB LUTs in a table by Site Type"),
    ("| DSPs ", "| MACs ", "no row DSPs in a table by Site Type"),
    ("| Block RAM Tile    |  1.5 |", "| Block RAM Tile    |  n/a |",
     "no row Block RAM Tile in a table by Site Type"),
    ("| Clock Summary", "| Clock Digest", "no table Clock Summary"),
    ("| Intra Clock Table", "| Other Clock Table", "no table Intra Clock Table"),
    ("Period(ns)", "Interval  ", "table Clock Summary has no column Period(ns)"),
    ("WNS(ns)", "Slack  ", "table Intra Clock Table has no column WNS(ns)"),
    ("clk    {0.000", "", "no clock, its constraints have no create_clock"),
    ("Design State : Routed", "Design State : Synthesized", ("the design must be routed for its "
     "timing to count, its state is 'Synthesized'")),
    ("| Speed File   : -1 ", "| Speed File   : ", "its header has no Speed File"),
])
def test_what_a_report_lacks_is_one_line(reports, tmp_path, old, new, complaint):
    paths = reports(changes=[(old, new)])
    assert any(old in (REPORTS / "vivado-xc7" / f"{UNIT}_{kind}.rpt").read_text()
               for kind in ("utilization", "timing"))
    with pytest.raises(UserError) as caught:
        import_rows(paths, "mine", tmp_path / "verilog")
    path, _, said = str(caught.value).partition(": ")
    assert Path(path) in paths and said == complaint


def test_files_that_are_no_reports_are_refused(tmp_path):
    with pytest.raises(UserError, match=": there is no such report$"):
        read_report(tmp_path / "none.rpt")
    (tmp_path / "binary.rpt").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(UserError, match=": not a report of Vivado$"):
        read_report(tmp_path / "binary.rpt")
    with pytest.raises(UserError, match=": not a report of Vivado$"):
        read_report(tmp_path)


def test_reports_must_come_in_pairs_of_one_version(reports, tmp_path):
    verilog = tmp_path / "verilog"
    with pytest.raises(UserError, match=f"^{UNIT} has no report of report_timing_summary$"):
        import_rows(reports(kinds=("utilization",)), "mine", verilog)
    with pytest.raises(UserError, match=f"^{UNIT} has no report of report_utilization$"):
        import_rows(reports(kinds=("timing",)), "mine", verilog)
    with pytest.raises(UserError, match=f"there is such a report of {UNIT} already, "):
        import_rows([*reports(), *reports("usp")], "mine", verilog)
    used, timing = reports()
    timing.write_text(timing.read_text().replace("v.2023.2", "v.2024.1"))
    with pytest.raises(UserError, match="must be of one version of Vivado, not of 2023.2 and "
                                        "2024.1$"):
        import_rows([used, timing], "mine", verilog)
    with pytest.raises(UserError, match=r"^there is no file .*softmax_exp2\.v$"):
        import_rows(reports(), "mine", tmp_path)


def test_a_clock_is_chosen_by_name(reports, tmp_path):
    paths = reports(changes=[("clk    {0.000 2.500}      5.000           200.000         \n",
                              ("clk    {0.000 2.500}      5.000           200.000         \n"
                              "slow   {0.000 5.000}      10.000          100.000         \n")),
                             ("clk                 0.479", ("slow                1.000        "
                              "0.000                      0                    7        0.100"
                              "        0.000                      0                    7"
                              "        4.500        0.000                       0"
                              "                     9  \nclk                 0.479"))])
    verilog = tmp_path / "verilog"
    with pytest.raises(UserError, match="clock must be one of clk, slow, name it with --clock$"):
        import_rows(paths, "mine", verilog)
    row, = import_rows(paths, "mine", verilog, "slow")
    assert row.clock_mhz == round(1000 / 9.0, 2)
    with pytest.raises(UserError, match="clock must be one of clk, slow with a slack, not 'x'$"):
        import_rows(paths, "mine", verilog, "x")


def test_command_adds_rows_and_refuses_another_device_under_the_name(reports, tmp_path, capsys):
    arguments = ["cost", "import", *map(str, reports()), "--target", "mine", "--verilog",
                 str(tmp_path / "verilog"), "--build", str(tmp_path / "cost")]
    assert main(arguments) == 0
    assert UNIT in capsys.readouterr().out
    path = tmp_path / "cost" / "costs.json"
    table = load_table(path)
    assert len(table.rows) == 1
    target = find_target("mine", table)
    assert (target.part, target.area, target.device) == ("xc7a100tcsg324-1", "lut", "generic")
    assert "lutram" in target.resources
    assert main(arguments) == 0
    assert load_table(path) == table

    before = path.read_bytes()
    capsys.readouterr()
    other = ["cost", "import", *map(str, reports("usp")), *arguments[4:]]
    assert main(other) == 2
    assert capsys.readouterr().err == (
        f"vitrtl cost import: target mine is of xc7a100tcsg324-1 in {path}, the reports are of "
        "xczu7ev-ffvc1156-2-e: give it another name\n")
    assert path.read_bytes() == before


@pytest.mark.parametrize(("name", "complaint"), [
    ("xc7", "target must be a name of your own, 'xc7' is measured by `vitrtl cost`"),
    ("My board", ("target must be of lower-case letters, digits, '.', '_' and '-', "
     "not 'My board'")),
])
def test_a_wrong_name_is_refused(reports, name, complaint, capsys):
    assert main(["cost", "import", *map(str, reports()), "--target", name]) == 2
    assert capsys.readouterr().err == f"vitrtl cost import: {complaint}\n"


def test_an_imported_row_is_of_the_schema(reports, tmp_path):
    rows = import_rows(reports(), "mine", tmp_path / "verilog")
    path, _ = CostTable(tuple(rows)).save(tmp_path / "cost")
    schema = Path(__file__).parents[2] / "sw" / "cost" / "schema" / "cost_table.schema.json"
    jsonschema.validate(json.loads(path.read_text()), json.loads(schema.read_text()))


def test_a_missing_row_of_an_imported_target_asks_for_its_reports():
    assert mend_all_command("mine") == "vitrtl cost import REPORTS --target mine"
    with pytest.raises(UserError, match="has no row for softmax_exp2 spec .* on mine: `vitrtl cost "
                                        "import REPORTS --target mine` measures it$"):
        CostTable().row(UNIT, unit(UNIT).golden.spec(), "mine")
    with pytest.raises(UserError, match="^target must be one of ecp5-85k, xc7, not 'mine'$"):
        find_target("mine", CostTable())
