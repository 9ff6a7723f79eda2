"""Poly-GELU against the published formula in fractions, against float, and by its width."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.golden.gelu_poly4 import GOLDEN, Poly4Constants

CODES = np.arange(-128, 128)
SCALES = ["0.01", "0.02", "0.0321", "0.05", "0.0723", "0.1", "0.137", "0.2", "0.25"]
SQRT2 = Fraction(isqrt(2 * 10**40), 10**20)


def published(x: Fraction) -> Fraction:
    """GELU(x) = x/2 * (1 + L(x / sqrt(2))), exactly."""
    a, b = Fraction("-0.019913"), Fraction("-2.698088")
    u = x / SQRT2
    sign = (u > 0) - (u < 0)
    return x / 2 * (1 + sign * (a * (min(abs(u), -b) + b) ** 4 + 1))


def error(spec, scale, exact) -> float:
    constants, out_scale = GOLDEN.derive(spec, scale)
    found = GOLDEN.function(CODES, spec, constants) * float(out_scale)
    return np.abs(found - exact).max()


@pytest.mark.parametrize("scale", SCALES)
def test_it_is_the_published_formula_but_for_its_width(scale):
    exact = [float(published(x * Fraction(scale))) for x in CODES.tolist()]
    # The complement takes one last place of the weight; the powers take some near zero.
    for width in (12, 14, 18):
        spec = GOLDEN.spec(inner_width=width, gain_width=min(width + 1, 18))
        assert error(spec, scale, exact) <= max(128 * float(scale), 8) * 2.0**-width


def test_its_integers_are_those_of_the_powers():
    spec = GOLDEN.spec()
    constants, out_scale = GOLDEN.derive(spec, "0.05")
    assert constants == Poly4Constants(knee=13964, gain=2928)
    expected = []
    for x in CODES.tolist():
        t = max(13964 - (abs(x) * 2928 // 16), 0)
        p = (t * t // 2**14) ** 2 // 2**14
        expected.append(x * (p if x < 0 else 2**14 - 1 - p))
    assert GOLDEN.function(CODES, spec, constants).tolist() == expected
    assert out_scale == Fraction(1, 20 * 2**14)


def test_its_error_is_within_its_statement_at_every_scale():
    worst = max(error(GOLDEN.spec(), Fraction(step, 1000), reference.gelu(CODES * step / 1000))
                for step in range(10, 251))
    assert 0.95 * GOLDEN.error_limit(0.25) <= worst <= GOLDEN.error_limit(0.25)


def test_narrower_inner_widths_cost_what_the_page_says():
    found = []
    for width in (10, 12, 14, 16, 18):
        spec = GOLDEN.spec(inner_width=width, gain_width=min(width + 1, 18))
        found.append(max(error(spec, Fraction(step, 100), reference.gelu(CODES * step / 100))
                         for step in range(1, 26)))
    np.testing.assert_allclose(found, [0.031, 0.0096, 0.0094, 0.0093, 0.0093], rtol=0.01)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"in_scale": "0.6"}, "^scale must be smaller for a gain of 15 bits, not 0.6$"),
    ({"in_scale": "0.05", "a": Fraction(1)},
     r"^a and b must be negative with a \* b\*\*4 above -2, not 1.0 and -2.698088$"),
])
def test_derive_refuses_what_it_cannot_hold(arguments, message):
    with pytest.raises(ValueError, match=message):
        GOLDEN.derive(GOLDEN.spec(), **arguments)
