"""Rows and the frame of the formula that the tests of several LayerNorms share."""

from fractions import Fraction

import numpy as np
import pytest


@pytest.fixture
def spread_rows():
    """`spread_rows(length, width)`: rows of six spreads, and four extreme ones."""
    def rows_of(length, width=16):
        rng = np.random.default_rng(length)
        top = 2 ** (width - 1)
        rows = [rng.normal(rng.normal(0, d), d, (12, length)) for d in (1, 3, 30, 300, 3000, 30000)]
        places = np.arange(length)
        extremes = [0 * places, places % 2 * (2 * top - 1) - top, 15 * (places == 0), places == 0]
        return np.clip(np.rint(np.concatenate([*rows, extremes])), -top, top - 1).astype(int)
    return rows_of


@pytest.fixture
def results_and_formula(spread_rows):
    """`results_and_formula(golden, length, width, scaled)`: what the golden function gives for
    those rows, and the same by `scaled(deviations from the rounded mean)` in plain integers."""
    def compare(golden, length, width, scaled):
        spec = golden.spec(in_width=width)
        rng = np.random.default_rng(1)
        constants, _ = golden.derive(spec, "0.01", gamma=rng.normal(1, 0.2, length).tolist(),
                                     beta=rng.normal(0, 0.1, length).tolist())
        rows = spread_rows(length, width)
        expected = []
        for row in rows.tolist():
            y = [x - round(Fraction(sum(row), length)) for x in row]
            expected.append([v + b for v, b in zip(scaled(y), constants.bias.tolist(),
                                                   strict=True)])
        return golden.function(rows, spec, constants).tolist(), expected
    return compare
