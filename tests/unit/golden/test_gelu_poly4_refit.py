"""The fit of Poly-GELU's coefficients, against the published ones and against float."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import erf

from vitrtl.sw.golden.gelu_poly4 import CURVATURE, SATURATION
from vitrtl.sw.golden.gelu_poly4 import GOLDEN as POLY4
from vitrtl.sw.golden.gelu_poly4_refit import GOLDEN, calibrate

SPEC = GOLDEN.spec()


def squares(scale: float, codes: np.ndarray, a: Fraction, b: Fraction) -> float:
    """The sum that the paper minimises."""
    u = codes * scale / np.sqrt(2)
    polynomial = np.sign(u) * (float(a) * (np.minimum(np.abs(u), -float(b)) + float(b)) ** 4 + 1)
    return ((erf(u) - polynomial) ** 2).sum()


def test_an_even_grid_of_seven_hundredths_gives_the_published_coefficients():
    found = calibrate(SPEC, Fraction("0.0989949494"), np.arange(-60, 61))
    assert abs(found["a"] - CURVATURE) < Fraction(1, 10**5)
    assert abs(found["b"] - SATURATION) < Fraction(1, 2**11)


@pytest.mark.parametrize(("scale", "mean", "deviation"), [
    ("0.01", 0, 0.1), ("0.02", -0.3, 0.5), ("0.05", -1, 1), ("0.2", 0, 5), ("0.25", -5, 10)])
def test_no_neighbour_has_a_smaller_sum(scale, mean, deviation):
    rng = np.random.default_rng(1)
    real = rng.normal(mean, deviation, (16, 64))
    codes = np.clip(np.rint(real / float(scale)), -128, 127).astype(int)
    fit = calibrate(SPEC, Fraction(scale), codes)
    best = squares(float(scale), codes, **fit)
    assert best < squares(float(scale), codes, CURVATURE, SATURATION)
    for b in (fit["b"] - Fraction(1, 512), fit["b"], fit["b"] + Fraction(1, 512)):
        for change in (-1, 1):
            a = fit["a"] * (fit["b"] / b) ** 4 * (1 + Fraction(change, 1000))
            assert squares(float(scale), codes, a, b) > best
    constants, _ = GOLDEN.export(SPEC, Fraction(scale), codes)
    assert constants == GOLDEN.derive(SPEC, Fraction(scale), **fit)[0]


@pytest.mark.parametrize("codes", [[0], [100], [-128, 0, 127], [40], [1]])
def test_codes_that_settle_little_give_coefficients_that_derive_takes(codes):
    GOLDEN.export(SPEC, Fraction("0.25"), np.array([codes]))
    GOLDEN.export(SPEC, Fraction("0.05"), np.array([codes]))


def test_without_calibration_it_is_the_published_method():
    assert GOLDEN.derive(SPEC, "0.05") == POLY4.derive(SPEC, "0.05")
