"""Bit-Softmax against its published formula in plain Python, and against float."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.softmax_bit_softmax import GOLDEN

SCALES = ["0.01", "0.0196", "0.0321", "0.05", "0.0723", "0.1", "0.1428", "0.2", "0.2499", "0.25"]


def exponential(distance: int, i0: int, rounding: str) -> int:
    """`(1 + Phi(r)) >> q` of the paper, its bits kept until after the shift."""
    p = max(distance + (distance >> 1) - (distance >> 4), -15 * i0)
    octaves = Fraction(-p, i0)
    q = floor(octaves) if rounding == "floor" else floor(octaves + Fraction(i0 // 2, i0))
    r = Fraction(p + i0 * q)
    return floor((i0 + r / 2 + r / 8 + r / 16) * Fraction(2) ** (15 - q))


def published(row: list[int], scale: str, rounding: str, k: int, m: int) -> list[int]:
    exps = [exponential(x - max(row), ceil(1 / Fraction(scale)), rounding) for x in row]
    factor = (2**m - 1) // sum(exps)
    return [exp * factor >> (m - (k - 1)) for exp in exps]


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
@pytest.mark.parametrize(("bits", "quotient_bits"), [(16, 31), (8, 24), (8, 28)])
@pytest.mark.parametrize("scale", SCALES[::3])
def test_it_is_the_published_formula(scale, bits, quotient_bits, rounding):
    spec = GOLDEN.spec(out_bits=bits, quotient_bits=quotient_bits, rounding=rounding)
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert out_scale == Fraction(1, 2 ** (bits - 1))
    rows = np.random.default_rng(1).normal(0, 40, (8, 37)).clip(-128, 127).astype(int)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        published(row, scale, rounding, bits, quotient_bits) for row in rows.tolist()]


def largest_error(scale: str, rounding: str, lengths: tuple[int, ...]) -> float:
    spec = GOLDEN.spec(longest_row=1024, rounding=rounding)
    constants, out_scale = GOLDEN.derive(spec, scale)
    worst = 0.0
    for length in lengths:
        rows = np.concatenate(list(softmax_rows(length).values()))
        codes = quantized(rows, spec.in_format, float(scale))
        found = GOLDEN.function(codes, spec, constants) * float(out_scale)
        error = np.abs(found - reference.softmax(codes * float(scale))).max()
        worst = max(worst, float(error))
    return worst


@pytest.mark.parametrize("scale", SCALES)
def test_its_error_is_within_its_statement(scale):
    assert largest_error(scale, "nearest", (17, 65, 197, 577)) <= GOLDEN.error_limit(float(scale))


def test_its_error_is_small_where_an_octave_has_a_whole_number_of_codes():
    assert largest_error("0.05", "nearest", (17, 65, 197, 577)) <= 0.01
    assert largest_error("0.25", "nearest", (17, 65, 197, 577)) <= 0.03


def test_the_octave_by_floor_is_four_times_worse():
    lengths = (17, 65, 197)
    assert largest_error("0.05", "nearest", lengths) <= 0.01
    assert 0.04 <= largest_error("0.05", "floor", lengths) <= 0.05


def test_the_octave_by_floor_is_not_monotone():
    steps = {}
    for rounding in ("floor", "nearest"):
        spec = GOLDEN.spec(rounding=rounding)
        constants, _ = GOLDEN.derive(spec, "0.05")
        row = GOLDEN.function(np.arange(-128, 128), spec, constants)
        steps[rounding] = np.diff(row).min()
    # One code further below, at the octave's end, the exponential rises from 0.35 to 0.5.
    assert steps["floor"] < 0 <= steps["nearest"]


@pytest.mark.parametrize(("fields", "message"), [
    ({"rounding": "up"}, "^rounding must be floor or nearest, not 'up'$"),
    ({"quotient_bits": 25}, r"^quotient_bits must be 26\.\.31 bits, not 25$"),
    ({"n": 3}, r"^n must be 4\.\.15, not 3$"),
])
def test_a_wrong_field_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        GOLDEN.spec(**fields)


def test_a_scale_too_small_for_i0_is_refused():
    with pytest.raises(ValueError, match="^scale must be above 1/256 for an I0 of 8 bits"):
        GOLDEN.derive(GOLDEN.spec(), "0.0039")
