"""L1 LayerNorm against the published formula in plain integers, and against float."""

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


@pytest.mark.parametrize(("length", "width"), [(1, 16), (5, 16), (192, 16), (256, 16), (64, 8)])
def test_it_is_the_published_formula_in_integers(length, width, results_and_formula):
    def scaled(y: list[int]) -> list[int]:
        factor = (2**35 - 1) // max(sum(map(abs, y)), 1)
        return [v * factor // 32 for v in y]

    found, expected = results_and_formula(GOLDEN, length, width, scaled)
    assert found == expected


def test_it_divides_by_the_mean_absolute_deviation(spread_rows):
    rows = spread_rows(192)[36:72]
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
