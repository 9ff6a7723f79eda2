"""Every method within its stated error, and the error study's own parts."""

import json
from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw.accuracy.rows import every_code, softmax_rows
from vitrtl.sw.accuracy.study import SCALES, measure, plan, subjects, worst
from vitrtl.sw.accuracy.table import ErrorTable, ErrorTableError, load_errors, rounded
from vitrtl.sw.catalog import OPERATORS, methods_of, unit
from vitrtl.sw.cli import main
from vitrtl.sw.golden.fixed_point import Format

METHODS = [u for operator in OPERATORS for u in methods_of(operator)]


@pytest.mark.parametrize("entry", METHODS, ids=lambda entry: entry.name)
def test_a_method_is_within_its_stated_error(entry):
    default = subjects([entry])[0]
    found = [e for e in map(measure, plan([default], SCALES, (17, 197))) if not e.refused]
    exceeded = [(e.scale, e.length, e.largest, e.worst_rows) for e in found
                if e.largest > entry.golden.error_limit(e.scale)]
    assert exceeded == []
    # The statement covers all scales of the study, and is no empty one.
    assert entry.golden.error_limit(0.25) <= 3 * max(e.largest for e in found)


def test_a_refused_scale_is_reported_with_its_reason():
    point, = plan(subjects([unit("gelu_ierf")]), [Fraction("0.001")])
    found = measure(point)
    assert found.largest is None
    assert found.refused.startswith("scale must be larger for coefficients of 17 bits")


def test_only_row_wise_methods_have_row_lengths():
    points = plan(subjects([unit("gelu_ierf"), unit("gelu_shiftgelu")]), [Fraction("0.05")], (3, 5))
    assert [point.length for point in points] == [None, 3, 5]


@pytest.mark.parametrize("length", [None, 17, 300])
def test_a_gelu_is_measured_on_every_code(length):
    rows = every_code(Format(8, True), length)
    assert set(rows.ravel()) == set(range(-128, 128))
    assert length in (None, rows.shape[-1])


def test_rows_are_the_same_each_time():
    for first, second in zip(softmax_rows(17).values(), softmax_rows(17).values(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_shiftmax_with_8_bits_loses_a_whole_row():
    lost = [measure(point).lost_most for point in plan(
        subjects([unit("softmax_shiftmax")]), [Fraction("0.05")], (577,))]
    assert lost[0] < 0.2 and lost[1] == 1


def test_the_worst_of_several_keeps_the_widest_range():
    found = [measure(point) for point in plan(subjects([unit("softmax_iexp")]),
                                              [Fraction("0.05")])]
    top = worst(found)
    assert top.largest == max(e.largest for e in found)
    assert top.lost_least == min(e.lost_least for e in found)


def test_written_and_read_again_is_the_same(tmp_path):
    chosen = subjects([unit("softmax_shiftmax"), unit("gelu_ierf")])
    points = plan(chosen, [Fraction("0.001"), Fraction("0.05")], (17,))
    table = ErrorTable(tuple(map(measure, points)))
    csv_path, json_path = table.save(tmp_path)
    again = load_errors(csv_path)
    assert [rounded(row) for row in again.rows] == [rounded(row) for row in table.rows]
    assert json.loads(json_path.read_text())["rows"] == [rounded(row) for row in table.rows]
    with pytest.raises(ErrorTableError, match="^the error table has no row for softmax_shiftmax at "
                                              "scale 0.01: `vitrtl errors --ship` measures it$"):
        again.of(chosen[0])


def test_the_command_writes_tables_and_plots_the_same_twice(tmp_path, capsys):
    def files(folder):
        assert main(["errors", "gelu_ierf", "softmax_iexp", "--scale", "0.05", "--length", "17",
                     "--out", str(folder)]) == 0
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    first = files(tmp_path / "a")
    assert set(first) == {"errors.csv", "errors.json", *(
        f"{name}.{kind}" for name in ("gelu", "exp", "softmax") for kind in ("svg", "png"))}
    assert first == files(tmp_path / "b")
    assert "largest absolute error at each scale" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "message"), [
    (["requantize"], "errors are those of softmax, gelu, layernorm: requantize is exact"),
    (["gelu_ierf", "--operator", "softmax"], "none of gelu_ierf is a softmax"),
    (["--length", "1"], "length must be at least 2 elements, not 1"),
    (["--ship", "--scale", "1"], ("the shipped table holds all methods at all scales: --ship goes "
                                  "without units, --operator, --scale and --length")),
])
def test_the_command_refuses_what_makes_no_sense(arguments, message, capsys):
    assert main(["errors", *arguments]) == 2
    assert capsys.readouterr().err == f"vitrtl errors: {message}\n"
