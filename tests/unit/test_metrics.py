"""Measures of error against their formulas, written out by hand."""

import math

import numpy as np
import pytest

from vitrtl.sw.ptq.metrics import NORMALIZATIONS, ErrorMeter, NoiseMeter, omega, softplus

X = np.array([[1.0, -2.0, 3.0], [0.5, 0.0, -0.5]])
Q = np.array([[1.1, -2.0, 2.8], [0.5, 0.1, -0.5]])
RATIOS = [(1 + 4 + 9) / (0.01 + 0.04), 0.5 / 0.01]


def meter(x=X, q=Q) -> NoiseMeter:
    """Return a meter that has seen one batch."""
    result = NoiseMeter()
    result.update(x, q)
    return result


def test_asqnr_takes_the_mean_of_the_images_ratios_inside_the_logarithm():
    assert meter().asqnr == pytest.approx(20 * math.log10(sum(RATIOS) / 2))


def test_asqnr_is_twice_the_decibels_of_one_image():
    assert meter(X[:1], Q[:1]).asqnr == pytest.approx(2 * meter(X[:1], Q[:1]).sqnr)


def test_sqnr_is_the_ratio_of_the_powers_of_all_images():
    assert meter().sqnr == pytest.approx(10 * math.log10(14.5 / 0.06))


def test_perturbation_is_the_squared_error_of_an_image_and_of_an_element():
    assert meter().perturbation_sum == pytest.approx(0.06 / 2)
    assert meter().perturbation_mean == pytest.approx(0.06 / 6)


def test_batches_do_not_matter():
    whole, pieces = meter(), meter(X[:1], Q[:1])
    pieces.update(X[1:], Q[1:])
    for name in ("images", "asqnr", "sqnr", "perturbation_sum", "perturbation_mean"):
        assert getattr(whole, name) == pytest.approx(getattr(pieces, name))


@pytest.mark.parametrize("x, q, decibels", [(X, X, 300), (0 * X, X, -300), (0 * X, 0 * X, -300)])
def test_measures_stay_finite(x, q, decibels):
    assert meter(x, q).sqnr == pytest.approx(decibels)
    assert meter(x, q).asqnr == pytest.approx(2 * decibels)


def test_values_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"^both values must have one shape, not \(2, 3\) and "
                                         r"\(2, 2\)$"):
        meter(X, Q[:, :2])


def test_softplus_neither_overflows_nor_vanishes():
    assert softplus(0) == pytest.approx(math.log(2))
    assert softplus(1000) == 1000
    assert softplus(-30) == pytest.approx(math.exp(-30))


def test_omega_is_the_harmonic_mean_of_quality_and_the_reciprocals_of_error_and_cost():
    parts = [softplus(20), 1 / softplus(0.3), 1 / softplus(0.8)]
    assert omega(20, 0.3, 0.8) == pytest.approx(3 / sum(1 / part for part in parts))


def test_omega_rewards_quality_and_punishes_error_and_cost():
    assert omega(30, 0.5, 0.5) > omega(20, 0.5, 0.5)
    assert omega(20, 0.4, 0.5) > omega(20, 0.5, 0.5)
    assert omega(20, 0.5, 0.4) > omega(20, 0.5, 0.5)


def test_raw_cost_would_leave_nothing_but_the_cost():
    precise, rough = (40.0, 0.1), (15.0, 1.0)
    assert omega(*precise, 410) < omega(*rough, 400)
    assert omega(*precise, 1.0) > omega(*rough, 400 / 410)


@pytest.mark.parametrize(("name", "expected"), [
    ("largest", [1, 0.25, 0, 1]), ("sum", [0.8, 0.2, 0, 1]), ("range", [1, 0.25, 0, 0]),
    ("smallest", [4, 1, 0, 1]), ("global", [0.5, 0.125, 0, 1]),
    ("logarithm", np.log1p([200, 50, 0, 400])), ("none", [200, 50, 0, 400]),
])
def test_normalizations_are_of_each_layer_but_the_global_one(name, expected):
    normalize = NORMALIZATIONS[name].apply
    assert normalize([200, 50, 0, 400], ["a", "a", "a", "b"]) == pytest.approx(list(expected))
    assert normalize([0, 0], ["a", "a"]) == [0, 0]


def test_error_of_logits_is_over_their_deviation():
    found = ErrorMeter()
    found.update(X[:1], Q[:1])
    found.update(X[1:], Q[1:])
    assert found.variance == pytest.approx(X.var())
    assert found.relative_error == pytest.approx(np.sqrt(((X - Q) ** 2).mean()) / X.std())
