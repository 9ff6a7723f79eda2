"""The verb `apply` on the golden functions, and what it says to wrong input."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with arrays of all sorts."""
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.integers(-128, 128, (3, 2, 64)).astype(np.int8), "floats": np.array([[0.5]]),
        "nan": np.array([[np.nan]]), "large": np.array([[1000]]),
        "long": np.zeros((1, 3000), np.int8), "empty": np.zeros((0, 4), np.int8),
        "wide": rng.integers(-3000, 3000, (5, 64)), "gamma": rng.uniform(0.5, 2, 64),
        "beta": rng.normal(0, 0.3, 64), "nans": np.full(64, np.nan),
    }
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:90])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_codes_are_those_of_the_golden_function(folder: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "softmax_shiftmax", "--scale", "0.05", "x.npy", "y.npy"]) == 0
    golden = unit("softmax_shiftmax").golden
    constants, _ = golden.derive(golden.spec(), Fraction(1, 20))
    got = np.load("y.npy")
    np.testing.assert_array_equal(got, golden.function(np.load("x.npy"), golden.spec(), constants))
    assert got.dtype == np.uint16
    said = capsys.readouterr().out
    assert "output scale: 1/32768" in said
    assert "error against float64: largest 0.0" in said


def test_bits_choose_the_published_width(folder: Path) -> None:
    assert main(["apply", "softmax_shiftmax", "--bits", "8", "--scale", "1/20", "x.npy",
                 "y.npy"]) == 0
    assert np.load("y.npy").max() <= 127
    assert main(["apply", "gelu_shiftgelu", "--bits", "8", "--scale", "1/20", "x.npy",
                 "z.npy"]) == 0
    golden = unit("gelu_shiftgelu").golden
    constants, _ = golden.derive(golden.spec(sigmoid_width=7), Fraction(1, 20))
    np.testing.assert_array_equal(np.load("z.npy"), golden.function(
        np.load("x.npy"), golden.spec(sigmoid_width=7), constants))


def test_layernorm_is_near_to_float(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["apply", "layernorm_newton", "--scale", "0.01", "wide.npy", "y.npy",
                 "--gamma", "gamma.npy", "--beta", "beta.npy"]) == 0
    largest = float(capsys.readouterr().out.split("largest ")[1].split(",")[0])
    assert largest < 0.01


@pytest.mark.parametrize("arguments, message", [
    ("nope --scale 1 x.npy y.npy", "unit must be one of .*, not 'nope'"),
    ("matmul --scale 1 x.npy y.npy", "apply takes units of one operand: .*"),
    ("gelu_ierf --scale 0 x.npy y.npy", "scale must be a finite positive number, not '0'"),
    ("gelu_ierf --scale nan x.npy y.npy", "scale must be a finite positive number, not 'nan'"),
    ("gelu_ierf --scale 1e999999999 x.npy y.npy", "scale must be a finite positive number, .*"),
    ("gelu_ierf --scale 1/0 x.npy y.npy", "scale must be a finite positive number, not '1/0'"),
    ("gelu_ierf --scale 1e-9 x.npy y.npy", "scale must be .*"),
    ("gelu_ierf --scale 0.05 floats.npy y.npy", "input floats.npy must hold integers, .*"),
    ("gelu_ierf --scale 0.05 nan.npy y.npy", "input nan.npy must hold integers, not float64"),
    ("gelu_ierf --scale 0.05 large.npy y.npy", "input must fit s8 .*, not 1000"),
    ("gelu_ierf --scale 0.05 empty.npy y.npy", "input empty.npy must hold at least one row, .*"),
    ("gelu_ierf --scale 0.05 cut.npy y.npy", "input cut.npy is not a .npy file of numbers: .*"),
    ("gelu_ierf --scale 0.05 none.npy y.npy", "there is no file none.npy"),
    ("gelu_ierf --bits 8 --scale 0.05 x.npy y.npy", "gelu_ierf has no width to choose"),
    ("gelu_ierf --scale 0.05 x.npy y.npy --gamma gamma.npy", "gelu_ierf takes no gamma"),
    ("softmax_shiftmax --scale 0.05 long.npy y.npy", "row length must be 1..256, not 3000"),
    ("softmax_shiftmax --bits 99 --scale 0.05 x.npy y.npy", "out_bits must be 4..16 bits, not 99"),
    ("layernorm_newton --scale 0.05 wide.npy y.npy", "layernorm_newton needs --gamma and --beta"),
    ("layernorm_newton --scale 0.05 wide.npy y.npy --gamma nans.npy --beta beta.npy",
     "gamma nans.npy must hold one finite number per channel, .*"),
])
def test_wrong_input_gets_one_line_and_status_2(arguments: str, message: str, folder: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    import re

    assert main(["apply", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert re.fullmatch(f"vitrtl apply: {message}\n", said.err), said.err
    assert not said.out
    assert not Path("y.npy").exists()
