"""L1 LayerNorm against the published formula in plain integers, and against float."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import layernorm_rows, quantized
from vitrtl.sw.golden.layernorm_l1 import GOLDEN


def normalised(rows: np.ndarray, scale: str = "0.01", **parameters: bool) -> np.ndarray:
    spec, length = GOLDEN.spec(), rows.shape[-1]
    constants, scales = GOLDEN.derive(spec, scale, gamma=[1.0] * length, beta=[0.0] * length,
                                      **parameters)
    return GOLDEN.function(rows, spec, constants) * float(scales[0])


def rows_of(length: int, width: int = 16) -> np.ndarray:
    rng = np.random.default_rng(length)
    top = 2 ** (width - 1)
    rows = [rng.normal(rng.normal(0, d), d, (12, length)) for d in (1, 3, 30, 300, 3000, 30000)]
    places = np.arange(length)
    extremes = [0 * places, places % 2 * (2 * top - 1) - top, 15 * (places == 0), places == 0]
    return np.clip(np.rint(np.concatenate([*rows, extremes])), -top, top - 1).astype(int)


@pytest.mark.parametrize(("length", "width"), [(1, 16), (5, 16), (192, 16), (256, 16), (64, 8)])
def test_it_is_the_published_formula_in_integers(length, width):
    spec = GOLDEN.spec(in_width=width)
    rng = np.random.default_rng(1)
    constants, _ = GOLDEN.derive(spec, "0.01", gamma=rng.normal(1, 0.2, length).tolist(),
                                 beta=rng.normal(0, 0.1, length).tolist())
    rows = rows_of(length, width)
    expected = []
    for row in rows.tolist():
        y = [x - round(Fraction(sum(row), length)) for x in row]
        factor = (2**35 - 1) // max(sum(map(abs, y)), 1)
        expected.append([v * factor // 32 + b
                         for v, b in zip(y, constants.bias.tolist(), strict=True)])
    assert GOLDEN.function(rows, spec, constants).tolist() == expected


def test_it_divides_by_the_mean_absolute_deviation():
    rows = rows_of(192)[36:72]
    y = rows - rows.mean(axis=-1, keepdims=True)
    published = y / np.abs(y).mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(normalised(rows, gaussian=False), published, atol=0.02)


@pytest.mark.parametrize("scale", ["0.01", "0.0321", "0.05", "0.1", "0.137", "0.2", "0.25"])
@pytest.mark.parametrize("length", [65, 197])
def test_the_error_depends_on_the_distribution(length, scale):
    limits = {"normal, outlier channels": GOLDEN.error_limit(float(scale)), "uniform, -2 to 2": 0.3}
    for kind, real in layernorm_rows(length).items():
        rows = quantized(real, GOLDEN.spec().in_format, float(scale))
        error = np.abs(normalised(rows, scale) - reference.layernorm(rows.astype(float), 1, 0))
        limit = limits.get(kind, 0.25)
        assert limit / 4 <= error.max() <= limit


def test_a_normally_distributed_row_needs_the_factor():
    # Mean errors in standard deviations, rows of 192: 0.02 with sqrt(2 / pi), 0.20 without.
    rows = np.rint(np.random.default_rng(1).normal(0, 100, (50, 192))).astype(int)
    expected = reference.layernorm(rows.astype(float), 1, 0)
    with_it, without = (np.abs(normalised(rows, gaussian=g) - expected).mean()
                        for g in (True, False))
    assert with_it <= 0.02
    assert without == pytest.approx(0.20, abs=0.01)


def test_a_row_of_equal_elements_gives_the_bias():
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, "0.01", gamma=[1.0] * 9, beta=[0.5] * 9)
    assert GOLDEN.function(np.full(9, -77), spec, constants).tolist() == constants.bias.tolist()


def test_derive_refuses_a_gamma_that_leaves_no_room():
    with pytest.raises(ValueError, match=r"^gamma\[1\] must be at least .* not 1e-09$"):
        GOLDEN.derive(GOLDEN.spec(), "0.01", gamma=[1.0, 1e-9], beta=[0.0, 0.5])
