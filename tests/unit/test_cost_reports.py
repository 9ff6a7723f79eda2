"""Readers of the tools' reports: real reports, and broken ones."""

import json
import re
from pathlib import Path

import pytest

from vitrtl.sw.cost import nextpnr_report, yosys_report
from vitrtl.sw.cost.report import ReportError
from vitrtl.sw.cost.target import load_target

REPORTS = Path(__file__).parents[1] / "data" / "reports"


@pytest.mark.parametrize(("report", "target", "expected"), [
    ("yosys-ecp5", "ecp5-85k", {"lut4eq": 32, "lut": 0, "ccu2c": 12, "dpr16x4": 2, "ff": 32,
                                "dsp": 1, "bram": 0}),
    ("yosys-xc7", "xc7", {"lut": 8, "lutram": 8, "carry4": 0, "ff": 8, "dsp": 1, "bram": 0}),
])
def test_every_resource_of_a_yosys_report(report, target, expected) -> None:
    path = REPORTS / report / "stat.json"
    assert yosys_report.resources(path, load_target(target)) == expected


def test_a_cell_that_nobody_counts_is_an_error() -> None:
    path = REPORTS / "yosys-xc7" / "stat.json"
    with pytest.raises(ReportError, match="^" + re.escape(
            f"{path}: cell DSP48E1 is not among the cells of target ecp5-85k") + "$"):
        yosys_report.resources(path, load_target("ecp5-85k"))


def test_clock_of_a_nextpnr_report() -> None:
    assert round(nextpnr_report.fmax_mhz(REPORTS / "nextpnr-ecp5" / "seed1.json"), 2) == 116.93


def test_critical_path_of_a_nextpnr_report_adds_up_to_its_clock() -> None:
    path = REPORTS / "nextpnr-ecp5" / "seed1.json"
    hops = nextpnr_report.critical_path(path)
    assert (hops[0].kind, hops[0].cell) == ("clk-to-q", "harness.a[7]")
    assert hops[1].net == "a[7]"
    assert 1000 / sum(hop.delay_ns for hop in hops) == pytest.approx(
        nextpnr_report.fmax_mhz(path), rel=1e-4)


@pytest.mark.parametrize("reader", [yosys_report.cells, nextpnr_report.fmax_mhz,
                                    nextpnr_report.critical_path])
@pytest.mark.parametrize(("content", "complaint"), [
    (None, "there is no such report"),
    ('{"fmax": {"clk"', "not a whole JSON report"),
    ("[]", "no "),
    ("{}", "no "),
])
def test_a_broken_report_names_the_file_and_what_is_missing(
        reader, content, complaint, tmp_path) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ReportError, match=f"^{re.escape(str(path))}: {complaint}"):
        reader(path)


@pytest.mark.parametrize(("fmax", "complaint"), [
    ({}, "fmax must be of one clock, not of 0"),
    ({"a": {"achieved": 1.0}, "b": {"achieved": 2.0}}, "fmax must be of one clock, not of 2"),
    ({"clk": {}}, "no fmax.clk.achieved"),
])
def test_a_nextpnr_report_without_one_clock(fmax, complaint, tmp_path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps({"fmax": fmax}))
    with pytest.raises(ReportError, match=f"^{re.escape(f'{path}: {complaint}')}$"):
        nextpnr_report.fmax_mhz(path)


def test_a_yosys_report_whose_counts_are_no_numbers(tmp_path) -> None:
    path = tmp_path / "stat.json"
    path.write_text('{"design": {"num_cells_by_type": {"LUT4": "many"}}}')
    with pytest.raises(ReportError, match="num_cells_by_type is not a table of counts$"):
        yosys_report.cells(path)
