"""The generated parts of the documents: pages, methods beside each other, figures."""

import dataclasses
import inspect
import json
from pathlib import Path

import pytest

from vitrtl.sw import comparison, figures
from vitrtl.sw.accuracy.study import SCALES, Errors, subjects
from vitrtl.sw.accuracy.table import ErrorTable, ErrorTableError
from vitrtl.sw.catalog import OPERATORS, methods_of, unit
from vitrtl.sw.cost.table import CostError, CostRow, CostTable, load_table
from vitrtl.sw.docs import MARKER, TABLES, Sources, refresh
from vitrtl.sw.errors import UserError
from vitrtl.sw.method_tables import comparison_table, conclusion_list, published_table

DOCS = Path(__file__).parents[2] / "docs"
METHODS = [u.name for operator in OPERATORS for u in methods_of(operator)]

FIGURES = {"gelu_ierf": (135, 180.0, 0.1), "gelu_shiftgelu_elem": (459, 160.0, 0.04),
           "requantize": (212, 150.0, None)}
"""LUT4eq, MHz and largest error of made-up measurements."""


@pytest.fixture
def measured(monkeypatch):
    """Two GELUs and the requantizer, with made-up costs and errors."""
    monkeypatch.setattr(comparison, "methods_of",
                        lambda operator: [unit("gelu_ierf"), unit("gelu_shiftgelu_elem")])

    def measure(**changed):
        costs, errors = [], []
        for name, (area, clock, error) in (FIGURES | changed).items():
            entry = unit(name)
            for subject in subjects([entry]):
                spec = subject.spec
                costs.append(CostRow(
                    unit=name, operator=entry.operator, method=entry.method, spec=spec.asdict(),
                    spec_digest=spec.digest, target="ecp5-85k", part="a part", speed_grade="6",
                    clock_mhz=clock, clock_mhz_seeds={}, area=area, area_unit="lut4eq",
                    resources={"ff": 100, "dsp": 2, "bram": 0}, latency_fixed=7,
                    latency_per_beat=0, interval_min=1, cycles="7 + N", tools={}, verilog="0"))
                if error:
                    errors += [Errors(
                        unit=name, build=subject.build, operator=entry.operator,
                        method=entry.method, scale=float(scale), fitted_scale=float(scale),
                        largest=error, mean=error / 4, worst_code=1, worst_input=0.1, falls=0,
                        made_from=subject.made_from) for scale in SCALES]
        monkeypatch.setattr(comparison, "load_table", lambda: CostTable(tuple(costs)))
        monkeypatch.setattr(comparison, "load_errors", lambda: ErrorTable(tuple(errors)))

    measure()
    return measure


@pytest.mark.parametrize("name", METHODS)
def test_the_page_of_a_method_shows_its_errors(name):
    assert f"<!-- BEGIN errors {name}: " in (DOCS / "units" / f"{name}.md").read_text()


def test_a_method_is_dominated_by_one_that_is_smaller_and_no_worse(measured):
    small, exact = comparison.lines("gelu")
    assert comparison.dominators(small, [small, exact]) == []
    assert comparison.dominators(exact, [small, exact]) == []
    measured(gelu_ierf=(135, 180.0, 0.04))
    small, exact = comparison.lines("gelu")
    assert comparison.dominators(exact, [small, exact]) == [small]
    assert comparison_table("gelu").splitlines()[-1].endswith("| `ierf` |")


def test_a_wide_result_has_the_requantizer_added(measured):
    line = comparison.lines("gelu")[0]
    assert (line.alone.area, line.whole.area) == (135, 135 + 212)
    assert (line.alone.mhz, line.whole.mhz) == (180.0, 150.0)


def test_each_published_unit_is_judged_by_area_and_rate(measured):
    text = conclusion_list("gelu")
    assert "**ITA ita_gelu** (s8 to s26), 206 LUT4eq at 57 M elements/s: `ierf` does more" in text
    assert "**MASE fixed_gelu**" in text and "**wins**" in text
    measured(gelu_ierf=(135, 20.0, 0.1), gelu_shiftgelu_elem=(459, 20.0, 0.04))
    assert "**ITA ita_gelu** (s8 to s26), 206 LUT4eq at 57 M elements/s, **wins**" in (
        conclusion_list("gelu"))


@pytest.mark.parametrize("operator", [*OPERATORS, "requantize"])
def test_published_units_are_read_whole(operator):
    found = comparison.published(operator)
    assert found and all(p.lut4eq > 0 and p.interval > 0 and p.repository for p in found)
    assert published_table(operator).count("\n") == len(found) + 2


def test_every_marker_of_the_documents_has_a_table():
    for path in (DOCS.parent / "README.md", *DOCS.rglob("*.md")):
        for _, name, arguments, _, _ in MARKER.findall(path.read_text()):
            try:
                inspect.signature(TABLES[name]).bind("sources", *arguments.split())
            except TypeError as error:
                pytest.fail(f"{path} {name}: {error}")


def test_a_missing_cost_is_an_error_that_names_the_command(measured, monkeypatch):
    monkeypatch.setattr(comparison, "load_table", CostTable)
    with pytest.raises(CostError, match="`vitrtl cost requantize --target ecp5-85k` measures it$"):
        comparison.lines("gelu")


def test_errors_of_other_sources_are_refused(measured, monkeypatch):
    stale = ErrorTable(tuple(dataclasses.replace(row, made_from="other")
                             for row in comparison.load_errors().rows))
    monkeypatch.setattr(comparison, "load_errors", lambda: stale)
    with pytest.raises(ErrorTableError, match="^the error table's rows for gelu_ierf are stale, "
                                              "made from other sources: `vitrtl errors --ship` "
                                              "measures it$"):
        comparison.lines("gelu")


def test_a_figure_is_current_until_what_it_shows_changes(measured, tmp_path):
    path = tmp_path / "gelu.svg"
    assert not figures.is_current(path, figures.picture("gelu"))
    assert figures.write(path, figures.picture("gelu"))
    assert figures.is_current(path, figures.picture("gelu"))
    assert not figures.write(path, figures.picture("gelu"))
    measured(gelu_ierf=(136, 180.0, 0.1))
    assert not figures.is_current(path, figures.picture("gelu"))


def test_bitstreams_are_listed_once_all_are_built(tmp_path):
    marker = "<!-- BEGIN bitstreams one.unit two.net: x -->\n{}<!-- END -->\n"
    for name, utilization in (("one/unit", {"ICESTORM_LC": [528, 5280]}),
                              ("two/net", {"TRELLIS_COMB": [1000, 10000], "DP16KD": [3, 6],
                                           "EHXPLLL": [1, 4]})):
        assert refresh(marker.format("old\n"), Sources(tmp_path)) == marker.format("old\n")
        folder = tmp_path / "boards" / name
        folder.mkdir(parents=True)
        (folder / "build.json").write_text(json.dumps(
            {"required_mhz": 80.0, "clock_mhz": 91.26, "utilization": utilization}))
    assert refresh(marker.format("old\n"), Sources(tmp_path)).splitlines()[1:-1] == [
        "| board | design | clock, MHz | reached, MHz | LUT4 | FF | DSP | block RAM |",
        "|---|---|---|---|---|---|---|---|",
        "| `one` | `unit` | 80 | 91.3 | 528 (10%) | 0 | 0 | 0 |",
        "| `two` | `net` | 80 | 91.3 | 1,000 (10%) | 0 | 0 | 3 (50%) |",
    ]


def test_precisions_are_beside_each_other_once_all_were_run(tmp_path):
    marker = "<!-- BEGIN precisions hard few: x -->\n{}<!-- END -->\n"
    names = {"joint": 900, "mix by omega": 1500, "vitrtl": 1100, "I-ViT": 1400, "I-BERT": 1300,
             "IPTQ-ViT": 1200, "FQ-ViT": None, "all float": None}

    def write(folder, precision, images=200):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "networks.json").write_text(json.dumps({
            "version": 2, "network": "net", "test_images": images, "float_accuracy": 0.9,
            "area_unit": "lut4eq", "target": "ecp5-85k", "made_from": {"precision": precision},
            "records": [{"name": name, "accuracy": 0.8 if name == "I-ViT" else 0.895,
                         "agreement": 0.97, "nonlinear_area": area,
                         "logit_error": 0.01 if name == "IPTQ-ViT" else 0.02}
                        for name, area in names.items()]}))

    write("hard", "w4a8")
    assert refresh(marker.format("old\n"), Sources(tmp_path)) == marker.format("old\n")
    write("few", "w6a6")
    rows = refresh(marker.format("old\n"), Sources(tmp_path)).splitlines()[1:-1]
    assert rows[:2] == [
        ("| `net`, 200 test images, float 90.00% | methods | accuracy | minus float, %p "
        "| same class as float | logit error | chosen units, lut4eq on ecp5-85k |"),
        "|---|---|---|---|---|---|---|",
    ]
    for precision, at in (("W4A8", 2), ("W6A6", 6)):
        assert rows[at:at + 4] == [
            f"| {precision} | joint | 89.50% | -0.50 | 97.00% | 2.00% | 900 |",
            f"| {precision} | default | 89.50% | -0.50 | 97.00% | 2.00% | 1,100 |",
            (f"| {precision} | each layer by IPTQ-ViT's Omega | 89.50% | -0.50 | 97.00% | 2.00% "
             "| 1,500 |"),
            (f"| {precision} | IPTQ-ViT, the best published family | 89.50% | -0.50 | 97.00% "
             "| 1.00% | 1,200 |"),
        ]
    write("few", "w6a6", images=201)
    with pytest.raises(UserError, match="^hard, few must be of one network on the same test"):
        refresh(marker.format("old\n"), Sources(tmp_path))


def test_a_shortlist_shows_its_best_and_what_was_taken(tmp_path):
    marker = "<!-- BEGIN search shortlist hard: x -->\n{}<!-- END -->\n"
    assert refresh(marker.format("old\n"), Sources(tmp_path)) == marker.format("old\n")
    records = [{"name": f"rank {i} by proxy", "taken": i == 10, "lut4eq": 1000 - i, "dsp": 3,
                "bram": 4, "loss": 0.01 * i, "logit_error": 0.02 + 0.001 * i} for i in range(1, 12)]
    (tmp_path / "hard").mkdir()
    (tmp_path / "hard/shortlist.json").write_text(json.dumps(
        {"version": 2, "area_unit": "lut4eq", "shortlist_images": 512, "records": records}))
    rows = refresh(marker.format("old\n"), Sources(tmp_path)).splitlines()[1:-1]
    assert rows[0] == ("| choice within the budgets | lut4eq | DSP | BRAM | loss proxy "
                       "| logit error, 512 training images |")
    assert rows[2] == "| rank 1 by proxy | 999 | 3 | 4 | 0.01 | 2.10% |"
    assert rows[-1] == "| rank 10 by proxy (taken) | 990 | 3 | 4 | 0.1 | 3.00% |"
    assert len(rows) == 2 + 8 + 1


def test_a_hard_network_has_a_row_for_each_family(tmp_path):
    marker = "<!-- BEGIN hard hard-networks net: x -->\n{}<!-- END -->\n"
    assert refresh(marker.format("old\n"), Sources(tmp_path)) == marker.format("old\n")
    (tmp_path / "hard-networks").mkdir()
    (tmp_path / "hard-networks/net.json").write_text(json.dumps(
        {"model": "net", "test_images": 5000, "float_accuracy": 0.9, "records": [
            {"methods": methods, "scheme": scheme, "accuracy": accuracy, "agreement": 1.0,
             "logit_error": 0.5} for scheme, accuracy in (("plain", 0.1), ("whole", 0.8))
            for methods in ("I-ViT", "vitrtl")]}))
    assert refresh(marker.format("old\n"), Sources(tmp_path)).splitlines()[1:-1] == [
        ("| `net`, 5,000 test images, float 90.00% | plain: accuracy | plain: logit error "
         "| whole: accuracy | whole: logit error |"),
        "|---|---|---|---|---|",
        "| I-ViT | 10.00% | 50.0% | 80.00% | 50.0% |",
        "| vitrtl | 10.00% | 50.0% | 80.00% | 50.0% |",
    ]


def test_rows_that_only_this_machine_has_are_on_no_page(monkeypatch, tmp_path):
    rows = load_table().rows
    page = TABLES["resources"](Sources(tmp_path), "gelu_lut")
    row = next(row for row in rows if row.unit == "gelu_lut")
    other = CostTable((*rows, dataclasses.replace(row, spec_digest="0", area=123456)))
    monkeypatch.setattr("vitrtl.sw.docs.load_table", lambda: other)
    assert TABLES["resources"](Sources(tmp_path), "gelu_lut") == page
    assert page.count("\n") > 3
