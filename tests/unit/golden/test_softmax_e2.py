"""E2Softmax against its formula in plain Python, and against float."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.softmax_e2 import GOLDEN

EXPONENTS = range(8)
LOW, HIGH = Fraction("0.818"), Fraction("0.568")


def softmax(row: list[int], k: int, bits: int) -> list[int]:
    """SOLE's log2 codes, their sum, and the sum's reciprocal by its two leading bits."""
    codes = []
    for x in row:
        d = (x - max(row)) << (7 - k)
        codes.append(min(ceil(Fraction(-(d + (d >> 1) - (d >> 4)), 128)), 15))
    total = sum(Fraction(1, 2**code) for code in codes)
    octave = 0
    while total >= 2 ** (octave + 1):
        octave += 1
    reciprocal = round((LOW if total < Fraction(3, 2) * 2**octave else HIGH) * 2**bits)
    return [reciprocal >> (code + octave) for code in codes]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("k", EXPONENTS)
def test_it_is_its_formula(k, bits):
    spec = GOLDEN.spec(out_bits=bits)
    constants, out_scale = GOLDEN.derive(spec, Fraction(1, 2**k))
    assert out_scale == Fraction(1, 2**bits)
    rng = np.random.default_rng(k)
    for length in (1, 2, 37, 200):
        rows = rng.normal(0, 2.0**k, (4, length)).clip(-128, 127).astype(int)
        assert GOLDEN.function(rows, spec, constants).tolist() == [
            softmax(row, k, bits) for row in rows.tolist()]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("k", EXPONENTS)
def test_its_error_is_within_its_statement(k, bits):
    spec, scale = GOLDEN.spec(longest_row=1024, out_bits=bits), Fraction(1, 2**k)
    constants, out_scale = GOLDEN.derive(spec, scale)
    for length in (17, 65, 197, 577):
        rows = np.concatenate(list(softmax_rows(length).values()))
        codes = quantized(rows, spec.in_format, float(scale))
        found = GOLDEN.function(codes, spec, constants) * float(out_scale)
        error = np.abs(found - reference.softmax(codes * float(scale))).max()
        assert error <= GOLDEN.error_limit(float(scale))


def test_the_reciprocals_are_near_those_of_least_relative_error():
    def worst(reciprocal: Fraction, lowest: Fraction, highest: Fraction) -> Fraction:
        return max(abs(1 - reciprocal * lowest), abs(1 - reciprocal * highest))

    # Equal errors at both ends of the mantissa's range are the least.
    spans = {LOW: (Fraction(1), Fraction(3, 2)), HIGH: (Fraction(3, 2), Fraction(2))}
    for published, (lowest, highest) in spans.items():
        best = 2 / (lowest + highest)
        assert 1 - best * lowest == best * highest - 1
        assert worst(best, lowest, highest) < worst(published, lowest, highest)
        assert worst(published, lowest, highest) < worst(best, lowest, highest) + Fraction(3, 100)
        assert abs(published - best) < Fraction(2, 100)


def test_the_reciprocals_are_those_given():
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, "0.25", low=Fraction(4, 5), high=Fraction(4, 7))
    assert (constants.exponent, constants.low, constants.high) == (2, floor(204.8 + 0.5), 146)
    for name, value in (("low", 1), ("high", Fraction(1, 4))):
        with pytest.raises(ValueError, match=rf"^{name} must be in \[1/2, 1\) after rounding"):
            GOLDEN.derive(spec, "0.25", **{name: value})


def test_a_scale_that_is_no_power_of_two_is_refused():
    with pytest.raises(ValueError, match=r"^scale must be 2\*\*-k for a k of 0\.\.7, not 0\.05$"):
        GOLDEN.derive(GOLDEN.spec(), "0.05")
