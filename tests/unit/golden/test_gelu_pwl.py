"""The piecewise linear GELU against its lines, computed anew, and against float."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import ndtr

from vitrtl.sw import reference
from vitrtl.sw.golden import gelu_pwl
from vitrtl.sw.golden.exact import normal_cdf

GOLDEN = gelu_pwl.GOLDEN
CODES = np.arange(-128, 128)


def bump(u: Fraction) -> Fraction:
    return u * normal_cdf(-u)


def test_the_lines_are_chords_set_where_their_largest_error_is_smallest():
    slopes, bases = [], []
    for k in range(16):
        slope = round((bump(Fraction(k + 1, 4)) - bump(Fraction(k, 4))) * 4 * 2**9)
        # A code of the real value stands for the span up to the next one: take its middle.
        rests = [bump(Fraction(k, 4) + Fraction(2 * r + 1, 2**11)) * 2**10 - ((slope * r) >> 9)
                 for r in range(2**8)]
        slopes.append(slope)
        bases.append(round((min(rests) + max(rests)) / 2))
    assert gelu_pwl.SLOPES == tuple(slopes)
    assert gelu_pwl.BASES == tuple(bases)


def test_the_number_of_lines_is_the_page_s():
    found = []
    for lines in (8, 16, 32):
        worst = 0
        for k in range(lines):
            u = np.linspace(4 * k / lines, 4 * (k + 1) / lines, 101)
            h = u * ndtr(-u)
            rest = h - np.linspace(h[0], h[-1], u.size)
            worst = max(worst, np.ptp(rest) / 2)
        found.append(worst)
    np.testing.assert_allclose(found, [0.0116, 0.0031, 0.0008], rtol=0.05)


@pytest.mark.parametrize("scale", ["0.001", "0.01", "0.0321", "0.05", "0.137", "0.25", "0.5"])
def test_it_is_the_rectifier_less_the_line(scale):
    spec = GOLDEN.spec()
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert out_scale == Fraction(1, 1024)
    expected = []
    for x in CODES.tolist():
        value = x * round(Fraction(scale) * 2**18) // 2**8
        k, r = divmod(value if value >= 0 else -value - 1, 256)
        h = gelu_pwl.BASES[k] + gelu_pwl.SLOPES[k] * r // 512 if k < 16 else 0
        expected.append(max(value, 0) - h)
    assert GOLDEN.function(CODES, spec, constants).tolist() == expected


def test_its_error_is_within_its_statement_at_every_scale():
    spec = GOLDEN.spec()
    worst = 0
    for step in range(1, 1001):
        scale = Fraction(step, 2000)
        constants, out_scale = GOLDEN.derive(spec, scale)
        found = GOLDEN.function(CODES, spec, constants) * float(out_scale)
        worst = max(worst, np.abs(found - reference.gelu(CODES * float(scale))).max())
    assert 0.9 * GOLDEN.error_limit(0.25) <= worst <= GOLDEN.error_limit(0.25)


def test_a_scale_that_leaves_the_range_is_refused():
    with pytest.raises(ValueError, match="^scale must be at most 0.5 for activations of 6 bits "
                                         "before the point, not 0.6$"):
        GOLDEN.derive(GOLDEN.spec(), "0.6")
