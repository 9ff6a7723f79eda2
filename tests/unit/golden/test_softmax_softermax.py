"""Softermax against its published algorithm in plain Python, and against float."""

from fractions import Fraction
from math import ceil, floor

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.softmax_softermax import GOLDEN, KNOTS, LN2

SCALES = ["0.01", "0.0321", "0.05", "0.1", "0.137", "0.25"]
ROWS = np.random.default_rng(1).normal(0, 40, (8, 37)).clip(-128, 127).astype(int)
LENGTHS = (17, 65, 197, 577)
BALANCE = 2 ** (-1 / 770)
"""What takes a chord of a quarter octave to the line with the least largest error, nearly."""


def power(x: Fraction) -> Fraction:
    """`2**x` by the chord of its quarter octave, with 15 bits after the point."""
    octave, quarter = floor(x), floor(4 * (x % 1))
    low, high = (Fraction(round(2.0 ** (15 + i / 4))) for i in (quarter, quarter + 1))
    mantissa = floor(low + (high - low) * (4 * (x % 1) - quarter))
    return Fraction(floor(mantissa * Fraction(2) ** octave), 1 << 15)


def published(row: list[int], f: int, lanes: int, k: int) -> list[int]:
    """Online normaliser with an integer maximum; a rise of 16 octaves leaves nothing."""
    scores = [Fraction(x, 2**f) for x in row]
    peak, total = None, Fraction(0)
    for begin in range(0, len(row), lanes):
        beat = scores[begin:begin + lanes]
        before, peak = peak, max(ceil(x) for x in scores[:begin + lanes])
        rise = 0 if before is None else peak - before
        total = Fraction(floor(total * 2**15 / 2**rise), 2**15) if rise < 16 else Fraction(0)
        total += sum(power(x - peak) for x in beat)
    factor = floor((2**31 - 1) / (total * 2**15))
    return [floor(power(x - peak) * 2**15 * factor / 2 ** (32 - k)) for x in scores]


@pytest.mark.parametrize("f", range(8))
@pytest.mark.parametrize(("lanes", "bits"), [(1, 16), (4, 16), (2, 8)])
def test_it_is_the_published_algorithm(f, lanes, bits):
    spec = GOLDEN.spec(lanes=lanes, out_bits=bits)
    constants, out_scale = GOLDEN.derive(spec, LN2 / 2**f)
    assert (constants.exponent, out_scale) == (f, Fraction(1, 2 ** (bits - 1)))
    assert GOLDEN.function(ROWS, spec, constants).tolist() == [
        published(row, f, lanes, bits) for row in ROWS.tolist()]


def errors(spec, scale: str, lengths: tuple[int, ...] = LENGTHS) -> tuple[float, np.ndarray]:
    """Return the largest error at the scale that the unit takes, and the lost mass of each row."""
    fitted = GOLDEN.fit_scale(spec, scale)
    constants, out_scale = GOLDEN.derive(spec, fitted)
    largest, lost = 0.0, []
    for length in lengths:
        rows = np.concatenate(list(softmax_rows(length).values()))
        codes = quantized(rows, spec.in_format, float(fitted))
        found = GOLDEN.function(codes, spec, constants) * float(out_scale)
        error = np.abs(found - reference.softmax(codes * float(fitted))).max()
        largest = max(largest, float(error))
        lost.append(1 - found.sum(axis=-1))
    return largest, np.concatenate(lost)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("lanes", [1, 8])
def test_its_error_is_within_its_statement(scale, lanes):
    largest, lost = errors(GOLDEN.spec(longest_row=1024, lanes=lanes), scale)
    assert largest <= GOLDEN.error_limit(float(scale))
    assert 0 <= lost.min()
    assert lost.max() <= 0.022


def test_the_paper_s_8_bits_lose_the_mass_of_a_flat_row():
    spec = GOLDEN.spec(out_bits=8)
    largest, lost = errors(spec, "0.05", (17, 65, 197))
    assert 0.0078 <= largest <= 0.0081
    assert lost.max() == 1


def test_lines_with_balanced_error_would_change_nothing(monkeypatch):
    """They lie lower by the same factor everywhere, which the division takes out."""
    spec = GOLDEN.spec()
    chord, _ = errors(spec, "0.05", (65, 197))
    knots = tuple(round(k * BALANCE) for k in KNOTS)
    monkeypatch.setattr("vitrtl.sw.golden.softmax_softermax.KNOTS", knots)
    balanced, _ = errors(spec, "0.05", (65, 197))
    assert balanced == pytest.approx(chord, abs=2e-4)


def test_the_knots_are_the_nearest_integers():
    for i, knot in enumerate(KNOTS):
        assert (2 * knot - 1) ** 4 < 2 ** (64 + i) < (2 * knot + 1) ** 4


def test_a_late_maximum_shifts_the_sum_or_clears_it():
    spec = GOLDEN.spec()
    constants, _ = GOLDEN.derive(spec, LN2)
    for low, kept in ((-15, 1), (-16, 0)):
        row = np.array([low] * 99 + [0])
        assert GOLDEN.function(row, spec, constants)[-1] == (1 << 30) // ((1 << 15) + 99 * kept) - (
            1 - kept)


@pytest.mark.parametrize("scale", ["0.0001", "0.01", "0.3", LN2, LN2 / 128])
def test_a_fitted_scale_is_the_next_one_and_stays(scale):
    spec = GOLDEN.spec()
    fitted = GOLDEN.fit_scale(spec, scale)
    assert fitted == GOLDEN.fit_scale(spec, fitted)
    assert fitted / 2 < Fraction(scale) <= fitted or fitted == LN2 / 128
    GOLDEN.derive(spec, fitted)


def test_other_scales_are_refused():
    spec = GOLDEN.spec()
    with pytest.raises(ValueError, match=r"^scale must be ln2 \* 2\*\*-f for an f of 0\.\.7, not"):
        GOLDEN.derive(spec, "0.05")
    with pytest.raises(ValueError, match="^scale must be at most ln2, not 0.7$"):
        GOLDEN.fit_scale(spec, "0.7")
    with pytest.raises(ValueError, match=r"^finest must be 3\.\.7, not 2$"):
        GOLDEN.spec(finest=2)
