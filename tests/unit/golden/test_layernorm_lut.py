"""Table LayerNorm against its formula in plain integers, and against float."""

from math import isqrt

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import affine, layernorm_rows, quantized
from vitrtl.sw.golden.layernorm_lut import GOLDEN
from vitrtl.sw.golden.reciprocal_root import reciprocal_root


def root_in_words(value: int, width: int) -> int:
    """The table's entry from its defining inequality, and its two shifts one after the other."""
    width += width % 2
    up = 0
    while up < width // 2 - 1 and value >> width - 2 == 0:
        value, up = value << 2, up + 1
    index = value >> width - 10
    if index == 0:
        return 65535 << 15 >> width // 2 - 1 - up
    # Nearest to 2**20 / sqrt(index + 1/2): (w - 1/2)**2 <= 2**40 / (index + 1/2) < (w + 1/2)**2.
    word = isqrt(2**41 // (2 * index + 1))
    word += (2 * word + 1) ** 2 * (2 * index + 1) <= 2**43
    return word << 15 >> width // 2 - 1 - up


@pytest.mark.parametrize("width", [20, 39, 43])
def test_reciprocal_root_is_its_definition_and_within_its_error(width):
    rng = np.random.default_rng(width)
    values = np.unique(np.concatenate([
        np.arange(70), 2 ** np.arange(width), 2 ** np.arange(1, width) - 1, [2**width - 1],
        (2 ** rng.uniform(0, width, 300)).astype(np.int64)]))
    found = reciprocal_root(values, width)
    assert found.tolist() == [root_in_words(v, width) for v in values.tolist()]
    exact = 2.0**31 / np.sqrt(np.maximum(values, 1))
    assert (np.abs(found - exact)[1:] <= exact[1:] / 1024 + 1).all()


@pytest.mark.parametrize(("length", "width"), [(1, 16), (5, 16), (192, 16), (256, 16), (64, 8)])
def test_it_is_its_formula_in_integers(length, width, results_and_formula):
    def scaled(y: list[int]) -> list[int]:
        factor = root_in_words(sum(v * v for v in y), 2 * width - 1 + 8)
        return [v * factor >> 1 for v in y]

    found, expected = results_and_formula(GOLDEN, length, width, scaled)
    assert found == expected


@pytest.mark.parametrize("length", [65, 197])
def test_the_error_is_within_its_statements(length):
    spec = GOLDEN.spec()
    gamma, beta = affine(length)
    constants, scales = GOLDEN.derive(spec, "0.01", gamma=gamma.tolist(), beta=beta.tolist())
    for scale in (0.01, 0.0321, 0.05, 0.1, 0.137, 0.2, 0.25):
        real = np.concatenate(list(layernorm_rows(length).values()))
        rows = quantized(real, spec.in_format, scale)
        found = GOLDEN.function(rows, spec, constants) * np.array([float(s) for s in scales])
        exact = reference.layernorm(rows.astype(float), gamma, beta)
        error = np.abs(found - exact)
        assert error.max() <= GOLDEN.error_limit(scale)
        table = np.abs(exact - beta) / 1024
        assert (error <= 1.5 * gamma.max() / rows.std(axis=-1, keepdims=True) + table).all()


def test_derive_refuses_a_gamma_that_leaves_no_room():
    with pytest.raises(ValueError, match=r"^gamma\[1\] must be at least .* not 1e-09$"):
        GOLDEN.derive(GOLDEN.spec(), "0.01", gamma=[1.0, 1e-9], beta=[0.0, 0.5])
