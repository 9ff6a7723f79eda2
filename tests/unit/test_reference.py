"""The float64 operators that errors are measured against."""

import numpy as np

from vitrtl.sw.reference import gelu, layernorm, softmax


def test_softmax_of_equal_scores_is_uniform_and_shift_free() -> None:
    np.testing.assert_allclose(softmax(np.full((2, 4), 1000.0)), 0.25)
    x = np.array([0.0, np.log(3)])
    np.testing.assert_allclose(softmax(x - 7), [0.25, 0.75])


def test_gelu_at_known_points() -> None:
    # 1/2 (1 + erf(1/sqrt 2)) is the normal distribution function at 1.
    np.testing.assert_allclose(gelu(np.array([0.0, 1.0, -1.0])),
                               [0, 0.8413447460685429, -0.15865525393145707])


def test_layernorm_has_mean_beta_and_deviation_gamma() -> None:
    x = np.random.default_rng(0).normal(3, 5, (4, 64))
    y = layernorm(x, np.full(64, 2.0), np.full(64, 0.5))
    np.testing.assert_allclose(y.mean(axis=-1), 0.5)
    np.testing.assert_allclose(y.std(axis=-1), 2)
    np.testing.assert_array_equal(layernorm(np.ones((1, 3)), np.ones(3), np.arange(3)),
                                  [[0, 1, 2]])
