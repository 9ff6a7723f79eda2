"""Shiftmax at power-of-two scales against its formula in plain Python, and against float."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.softmax_shiftmax_pow2 import GOLDEN

EXPONENTS = range(8)


def parts(distance: int, k: int, aligned_first: bool = True) -> tuple[Fraction, int]:
    """Chord and octave of I-ViT with `I0 = 2**7`; it aligns nothing."""
    d = distance << (7 - k) if aligned_first else distance
    p = d + (d >> 1) - (d >> 4)
    p = max(p if aligned_first else p << (7 - k), -15 << 7)
    q, r = -p // 128, -(-p % 128)
    return 1 + Fraction(r, 256), q


def softmax(row: list[int], k: int, bits: int, aligned_first: bool = True) -> list[int]:
    chords = [parts(x - max(row), k, aligned_first) for x in row]
    exps = [floor(u * Fraction(2) ** (15 - q)) for u, q in chords]
    return [exp * ((2**31 - 1) // sum(exps)) >> (32 - bits) for exp in exps]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("k", EXPONENTS)
def test_it_is_its_formula(k, bits):
    spec = GOLDEN.spec(out_bits=bits)
    constants, out_scale = GOLDEN.derive(spec, Fraction(1, 2**k))
    assert out_scale == Fraction(1, 2 ** (bits - 1))
    rows = np.random.default_rng(k).normal(0, 2.0**k, (6, 37)).clip(-128, 127).astype(int)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        softmax(row, k, bits) for row in rows.tolist()]


@pytest.mark.parametrize("k", EXPONENTS)
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_its_error_is_within_its_statement(length, k):
    spec, scale = GOLDEN.spec(longest_row=1024), Fraction(1, 2**k)
    constants, out_scale = GOLDEN.derive(spec, scale)
    rows = np.concatenate(list(softmax_rows(length).values()))
    codes = quantized(rows, spec.in_format, float(scale))
    found = GOLDEN.function(codes, spec, constants) * float(out_scale)
    error = np.abs(found - reference.softmax(codes * float(scale))).max()
    assert error <= GOLDEN.error_limit(float(scale))


def test_aligning_first_is_what_makes_coarse_scales_right():
    codes = quantized(np.concatenate(list(softmax_rows(17).values())),
                      GOLDEN.spec().in_format, 0.25)
    exact = reference.softmax(codes * 0.25)
    errors = [np.abs(np.array([softmax(row, 2, 16, first) for row in codes.tolist()]) / 2**15
                     - exact).max() for first in (True, False)]
    assert errors[0] <= 0.015
    assert 0.045 <= errors[1] <= 0.055


def test_scales_fit_the_next_power_of_two():
    spec = GOLDEN.spec()
    for wanted, fitted in (("0.001", 2**-7), ("0.0079", 2**-6), ("0.05", 2**-4), ("0.0625", 2**-4),
                           ("0.51", 1), ("1", 1)):
        scale = GOLDEN.fit_scale(spec, Fraction(wanted))
        assert scale == GOLDEN.fit_scale(spec, scale) == fitted
        assert GOLDEN.derive(spec, scale)[0].exponent == -int(np.log2(fitted))


@pytest.mark.parametrize("scale", ["0.05", "2", "0.00390625"])
def test_another_scale_is_refused(scale):
    with pytest.raises(ValueError, match=r"^scale must be 2\*\*-k for a k of 0\.\.7, not "):
        GOLDEN.derive(GOLDEN.spec(), scale)


def test_no_scale_above_one_fits():
    with pytest.raises(ValueError, match=r"^scale must be at most 1, not 1\.5$"):
        GOLDEN.fit_scale(GOLDEN.spec(), Fraction(3, 2))
