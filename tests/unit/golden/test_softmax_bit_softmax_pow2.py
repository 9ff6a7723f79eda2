"""Bit-Softmax at power-of-two scales against its formula in plain Python, and against float."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.softmax_bit_softmax_pow2 import GOLDEN

EXPONENTS = range(8)


def softmax(row: list[int], k: int, rounding: str) -> list[int]:
    """The tangent of each octave with `I0 = 2**7`, and one reciprocal."""
    exps = []
    for x in row:
        d = (x - max(row)) << (7 - k)
        octaves = min(Fraction(-(d + (d >> 1) - (d >> 4)), 128), Fraction(15))
        q = floor(octaves if rounding == "floor" else octaves + Fraction(1, 2))
        exps.append(floor((1 + Fraction(11, 16) * (q - octaves)) * Fraction(2) ** (15 - q)))
    return [exp * ((2**31 - 1) // sum(exps)) >> 16 for exp in exps]


@pytest.mark.parametrize("rounding", ["floor", "nearest"])
@pytest.mark.parametrize("k", EXPONENTS)
def test_it_is_its_formula(k, rounding):
    spec = GOLDEN.spec(rounding=rounding)
    constants, out_scale = GOLDEN.derive(spec, Fraction(1, 2**k))
    assert out_scale == Fraction(1, 2**15)
    rows = np.random.default_rng(k).normal(0, 2.0**k, (6, 37)).clip(-128, 127).astype(int)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        softmax(row, k, rounding) for row in rows.tolist()]


def largest_error(k: int, rounding: str) -> float:
    spec, scale = GOLDEN.spec(longest_row=1024, rounding=rounding), Fraction(1, 2**k)
    constants, out_scale = GOLDEN.derive(spec, scale)
    worst = 0.0
    for length in (17, 65, 197, 577):
        rows = np.concatenate(list(softmax_rows(length).values()))
        codes = quantized(rows, spec.in_format, float(scale))
        found = GOLDEN.function(codes, spec, constants) * float(out_scale)
        error = np.abs(found - reference.softmax(codes * float(scale))).max()
        worst = max(worst, float(error))
    return worst


@pytest.mark.parametrize("k", EXPONENTS)
def test_its_error_is_within_its_statement(k):
    assert largest_error(k, "nearest") <= GOLDEN.error_limit(2.0**-k)


def test_the_octave_by_floor_is_more_than_four_times_worse():
    assert max(largest_error(k, "nearest") for k in EXPONENTS) <= 0.015
    assert 0.06 <= max(largest_error(k, "floor") for k in EXPONENTS) <= 0.07


def test_a_wrong_rounding_is_refused():
    with pytest.raises(ValueError, match="^rounding must be floor or nearest, not 'up'$"):
        GOLDEN.spec(rounding="up")
