"""ShiftGELU at its own scales against the published exponential in fractions, and against float."""

from fractions import Fraction
from math import floor, log2

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.golden.gelu_pow2 import GOLDEN, OCTAVE, fit_scale

CODES = np.arange(-128, 128)
SPEC = GOLDEN.spec()


def published(x: int, i0: int) -> int:
    """I-ViT's ShiftExp of -|x| with i0 codes in an octave and log2(e) in the scale; a division."""
    q = floor(Fraction(-abs(x), -i0))
    r = -abs(x) + i0 * q
    e = floor((Fraction(r, 2 * i0) + 1) / 2**q * 2**6)
    # One itself has no room; it belongs to x = 0, whose product is zero anyway.
    sigmoid = (2**17 - 1) // (2**6 + min(e, 2**6 - 1))
    return x * (sigmoid if x >= 0 else 2**11 - 1 - sigmoid)


@pytest.mark.parametrize("k", range(6))
def test_it_is_shiftgelu_with_a_power_of_two_for_i0(k):
    constants, out_scale = GOLDEN.derive(SPEC, OCTAVE / 2**k)
    assert constants.exponent == k
    assert out_scale == OCTAVE / 2 ** (k + 11)
    assert GOLDEN.function(CODES, SPEC, constants).tolist() == [
        published(x, 2**k) for x in CODES.tolist()]


def largest_error(spec, k: int) -> float:
    constants, out_scale = GOLDEN.derive(spec, OCTAVE / 2**k)
    found = GOLDEN.function(CODES, spec, constants) * float(out_scale)
    return np.abs(found - reference.gelu(CODES * float(OCTAVE) / 2**k)).max()


def test_its_error_is_within_its_statement_at_each_of_its_scales():
    errors = [largest_error(SPEC, k) for k in range(6)]
    assert max(errors[1:]) <= GOLDEN.error_limit(0.2)
    assert 0.95 * GOLDEN.error_limit(0.25) <= errors[0] <= GOLDEN.error_limit(0.25)


def test_more_bits_of_the_exponential_gain_nothing():
    found = [max(largest_error(GOLDEN.spec(exp_width=width), k) for k in range(1, 6))
             for width in (5, 6, 7, 8)]
    np.testing.assert_allclose(found, [0.0405, 0.0210, 0.0233, 0.0233], rtol=0.01)


def test_an_octave_is_what_the_scale_says():
    assert abs(float(OCTAVE) * 1.702 * log2(np.e) - 1) < 7e-5


@pytest.mark.parametrize("wanted", ["0.001", "0.0127", "0.0128", "0.05", "0.05090332", "0.25"])
def test_the_fitted_scale_is_the_smallest_that_will_do(wanted):
    scale = fit_scale(SPEC, wanted)
    assert scale >= Fraction(wanted)
    assert scale / 2 < Fraction(wanted) or scale == OCTAVE / 32
    assert fit_scale(SPEC, scale) == scale
    # A float holds it exactly.
    assert fit_scale(SPEC, float(scale)) == scale
    GOLDEN.derive(SPEC, scale)


def test_other_scales_are_refused():
    with pytest.raises(ValueError, match=r"^scale must be at most 0.4072, not 0.5$"):
        fit_scale(SPEC, "0.5")
    with pytest.raises(ValueError, match=r"^scale must be 417/1024 \* 2\*\*-k for a k of 0..5, "
                                         "not 0.05$"):
        GOLDEN.derive(SPEC, "0.05")
