"""Exact functions against the float library, and against identities it has no digits for."""

from fractions import Fraction

import numpy as np
from scipy.special import ndtr

from vitrtl.sw.golden.exact import exp, normal_cdf

POINTS = [Fraction(i, 16) for i in range(-240, 241)]


def test_exact_functions_agree_with_the_float_library():
    points = [float(x) for x in POINTS]
    np.testing.assert_allclose([float(exp(x)) for x in POINTS], np.exp(points), rtol=1e-14)
    np.testing.assert_allclose([float(normal_cdf(x)) for x in POINTS], ndtr(points), atol=1e-15)


def test_exact_functions_keep_thirty_digits():
    small = Fraction(1, 10**30)
    for x in POINTS[::7]:
        assert abs(exp(x) * exp(-x) - 1) <= small
        assert abs(normal_cdf(x) + normal_cdf(-x) - 1) <= small
    # Abramowitz and Stegun, table 26.1, and e to 31 digits.
    assert abs(normal_cdf(1) - Fraction("0.841344746068543")) < Fraction(1, 10**15)
    assert abs(exp(1) - Fraction("2.718281828459045235360287471352")) < small
