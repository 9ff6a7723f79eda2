"""i-LayerNorm against the published formula in plain integers, and against float."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import layernorm_rows, quantized
from vitrtl.sw.golden.layernorm_isqrt import GOLDEN


def published(row: list[int], bias: list[int], shift: int) -> list[int]:
    """The official code in exact arithmetic, its result a place shorter."""
    mean = round(Fraction(sum(row), len(row)))
    y = [x - mean for x in row]
    variance = sum((v >> shift) ** 2 for v in y)
    assert variance < 2**32
    factor = 2**31 // (max(isqrt(variance), 1) << shift)
    return [((v * factor) >> 1 >> 1) + b for v, b in zip(y, bias, strict=True)]


def normalised(rows: np.ndarray, scale: str, calibrated: bool = True) -> np.ndarray:
    length = rows.shape[-1]
    constants, scales = GOLDEN.export(GOLDEN.spec(), Fraction(scale), rows if calibrated else None,
                                      gamma=[1.0] * length, beta=[0.0] * length)
    return GOLDEN.function(rows, GOLDEN.spec(), constants) * float(scales[0])


@pytest.mark.parametrize(("length", "width", "calibrated"), [
    (1, 16, False), (5, 16, False), (64, 16, False), (256, 16, False), (65, 16, True),
    (192, 8, False)])
def test_it_is_the_published_formula(length, width, calibrated, spread_rows):
    spec = GOLDEN.spec(in_width=width)
    rng = np.random.default_rng(1)
    rows = spread_rows(length, width)
    rows = rows[:48] if calibrated else rows
    constants, scales = GOLDEN.export(spec, "0.01", rows if calibrated else None,
                                      gamma=rng.normal(1, 0.2, length).tolist(),
                                      beta=rng.normal(0, 0.1, length).tolist())
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        published(row, constants.bias.tolist(), constants.shift) for row in rows.tolist()]


@pytest.mark.parametrize(("length", "spread", "shift"), [
    (64, 8191, 0), (64, 8193, 1), (192, 4729, 0), (192, 4731, 1), (256, 32767, 3)])
def test_the_shift_is_the_smallest_without_overflow(length, spread, shift):
    row = np.where(np.arange(length) % 2, spread, -spread)
    assert GOLDEN.calibrate(GOLDEN.spec(), Fraction(1), row[None]) == {"shift": shift}


def test_a_row_wider_than_those_of_the_calibration_stays_in_its_format():
    spec = GOLDEN.spec()
    constants, scales = GOLDEN.derive(spec, "0.01", gamma=[1.0] * 256, beta=[0.0] * 256, shift=0)
    row = np.where(np.arange(256) % 2, 32767, -32768)
    found = GOLDEN.function(row, spec, constants) * float(scales[0])
    np.testing.assert_allclose(np.abs(found), 8, rtol=1e-3)


def test_a_place_more_would_leave_the_bias_no_room():
    # y / std = 1.875: with the code's floor(y * f / 2), 1.9 * 2**30 of the 2**31 that 32 bits hold.
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, "0.01", gamma=[1.0] * 192, beta=[0.0] * 192, shift=3)
    row = np.where(np.arange(192) == 0, 15, 0)
    assert GOLDEN.function(row, spec, constants).max() == 15 * 2**30 // 16


def test_a_row_of_equal_elements_gives_the_bias():
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, "0.01", gamma=[1.0] * 9, beta=[0.5] * 9)
    assert GOLDEN.function(np.full(9, -77), spec, constants).tolist() == constants.bias.tolist()


@pytest.mark.parametrize("scale", ["0.01", "0.0321", "0.05", "0.1", "0.137", "0.2", "0.25"])
@pytest.mark.parametrize("length", [17, 65, 197])
def test_the_error_is_within_its_limits(length, scale):
    spec = GOLDEN.spec()
    for real in layernorm_rows(length).values():
        rows = quantized(real, spec.in_format, float(scale))
        error = np.abs(normalised(rows, scale) - reference.layernorm(rows.astype(float), 1, 0))
        assert error.max() <= GOLDEN.error_limit(float(scale))


def test_without_calibration_the_shift_is_coarse():
    # Largest errors of rows of 192 with a deviation of 10 codes: 0.07 calibrated, 0.36 without.
    rows = np.rint(np.random.default_rng(1).normal(0, 10, (50, 192))).astype(int)
    expected = reference.layernorm(rows.astype(float), 1, 0)
    fine, coarse = (np.abs(normalised(rows, "0.1", c) - expected).max() for c in (True, False))
    assert fine == pytest.approx(0.07, abs=0.01)
    assert coarse == pytest.approx(0.36, abs=0.01)


@pytest.mark.parametrize(("parameters", "message"), [
    ({"shift": 4}, "^shift must be 0..3 places, not 4$"),
    ({"gamma": [1e-9, 1.0]}, r"^gamma\[0\] must be at least .* for its beta of 0.5, not 1e-09$"),
])
def test_derive_refuses_what_it_cannot_hold(parameters, message):
    with pytest.raises(ValueError, match=message):
        GOLDEN.derive(GOLDEN.spec(), "0.01", **{"gamma": [1.0, 1.0], "beta": [0.5, 0.5],
                                                **parameters})
