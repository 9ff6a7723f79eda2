"""AILayerNorm against its published squares in plain integers, and against float."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import affine, layernorm_rows, quantized
from vitrtl.sw.golden import layernorm_ailn, layernorm_ptf
from vitrtl.sw.golden.layernorm_ailn import GOLDEN, SQUARES, compressed_squares

SCALES = (0.01, 0.0321, 0.05, 0.1, 0.137, 0.2, 0.25)
CODES = np.arange(-128, 128)


def published(q: int) -> tuple[int, int]:
    """SOLE's compressed magnitude and the shift of its square."""
    return (abs(q) >> 4, 8) if abs(q) >= 64 else (abs(q) >> 2, 4)


def layer(kind, length, scale):
    spec = GOLDEN.spec(longest_row=max(length, 256))
    gamma, beta = affine(length)
    real = layernorm_rows(length)
    codes = {name: quantized(rows, spec.in_format, scale) for name, rows in real.items()}
    constants, out_scale = GOLDEN.export(
        spec, Fraction(scale), np.concatenate(list(codes.values())), gamma=gamma.tolist(),
        beta=beta.tolist())
    rows = np.concatenate(list(codes.values())) if kind is None else codes[kind]
    return rows, reference.layernorm(rows * scale, gamma, beta), spec, constants, float(out_scale)


def test_the_squares_are_those_of_the_published_compression():
    # What the paper's c stands for is open: here the mean square of the values that share it,
    # exact within 5/8 of the step of the finer half.
    for q, square in zip(CODES.tolist(), compressed_squares(CODES).tolist(), strict=True):
        c, shift = published(q)
        assert square == (4 * c * c + 3 * c + 1) << shift - 2
        same = [v * v for v in range(64) if v >> 2 == c]
        if shift == 4:
            assert abs(square - Fraction(sum(same), len(same))) <= Fraction(5, 8)
        assert abs(isqrt(square) - abs(q)) <= 1 << shift // 2 - 1 | 3
    assert len(SQUARES) == 16


def test_all_but_the_squares_is_the_layernorm_on_the_same_codes(monkeypatch):
    rows, _, spec, constants, _ = layer(None, 65, 0.05)
    expected = layernorm_ptf.layernorm(rows, spec, constants)
    assert (layernorm_ailn.layernorm(rows, spec, constants) != expected).any()
    monkeypatch.setattr(layernorm_ailn, "compressed_squares", lambda q: q * q)
    assert layernorm_ailn.layernorm(rows, spec, constants).tolist() == expected.tolist()


@pytest.mark.parametrize("length", [17, 65, 197])
@pytest.mark.parametrize("scale", SCALES)
def test_the_error_is_within_its_statement(length, scale):
    rows, expected, spec, constants, out_scale = layer(None, length, scale)
    found = GOLDEN.function(rows, spec, constants) * out_scale
    assert np.abs(found - expected).max() <= GOLDEN.error_limit(scale)


@pytest.mark.parametrize(("kind", "ours", "floor"), [("normal, mean 0", 0.03, 0.05),
                                                     ("normal, mean 2", 0.05, 0.3)])
def test_the_square_of_the_floor_would_be_far_too_small(monkeypatch, kind, ours, floor):
    # c**2 as it stands: a mean of two deviations is enough to lose most of the variance.
    rows, expected, spec, constants, out_scale = layer(kind, 197, 0.05)
    found = GOLDEN.function(rows, spec, constants) * out_scale
    assert np.abs(found - expected).mean() <= ours
    monkeypatch.setattr(layernorm_ailn, "SQUARES", 4 * np.arange(16) ** 2)
    found = GOLDEN.function(rows, spec, constants) * out_scale
    assert np.abs(found - expected).mean() >= floor


def test_a_row_whose_squares_say_too_little_saturates():
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, "1", gamma=[1.0] * 64, beta=[0.0] * 64)
    row = np.full(64, 79)
    row[:2] = 64, 78
    found = GOLDEN.function(row, spec, constants)
    assert found[0] == -128
    assert (found[2:] == 127).all()
