"""Base-two softmax against its formula in plain Python, against float, and the mass it keeps."""

from fractions import Fraction
from math import ceil

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.exact import exp
from vitrtl.sw.golden.softmax_exp2 import COARSE, FINE, GOLDEN, LOG2_E

SCALES = ["0.01", "0.0196", "0.05", "0.0706", "0.137", "0.2", "0.25"]


@pytest.mark.parametrize(("words", "width", "exponents", "steps"), [
    (COARSE, 16, range(16), 16), (FINE, 11, range(1, 33, 2), 512)])
def test_tables_are_the_nearest_powers(words, width, exponents, steps):
    assert words[0] == 2**width - 1
    for i, word in zip(exponents[1:], words[1:], strict=True):
        # |word - 2**(width - i / steps)| <= 1/2, to the power of `steps`, doubled.
        assert (2 * word - 1) ** steps <= 2 ** ((width + 1) * steps - i) <= (2 * word + 1) ** steps


def test_its_logarithm_is_that_of_e():
    assert abs(exp(1 / LOG2_E) - 2) < Fraction(1, 10**28)


def power(below: int, octaves: int) -> Fraction:
    """An exponential before its bits below 2**-17 are dropped."""
    p = Fraction(max(below * octaves - 1, 0), 2**17)
    i, j = int(p % 1 * 16), int(p * 16 % 1 * 16)
    return Fraction(COARSE[i] * FINE[j] // 2**10, 2 ** int(p))


def exponential(below: int, octaves: int) -> Fraction:
    value = power(below, octaves)
    return value // 1 + Fraction(1, 2) if value >= 2 else Fraction(0)


@pytest.mark.parametrize("scale", ["0.01", "0.05", "0.25"])
def test_exponentials_are_close_beside_the_maximum(scale):
    octaves = round(Fraction(scale) * LOG2_E * 2**17)
    largest = power(0, octaves)
    ratios = [float(power(d, octaves) / largest * exp(d * Fraction(scale))) for d in range(256)]
    assert 0.9985 < min(ratios)
    assert max(ratios) < 1.003


def by_formula(row: list[int], octaves: int, k: int) -> list[int]:
    exps = [exponential(max(row) - x, octaves) for x in row]
    factor = (2**29 - 1) // ceil(sum(exps) / 32)
    return [int(2 * e) * factor >> (35 - k) for e in exps]


def by_carrying(row: list[int], octaves: int, k: int, lanes: int) -> list[int]:
    out, rest = [], [0] * lanes
    for place, fine in enumerate(by_formula(row, octaves, 16)):
        total = fine + rest[place % lanes]
        out.append(total >> (16 - k))
        rest[place % lanes] = total % 2 ** (16 - k)
    return out


@pytest.mark.parametrize(("bits", "carry", "lanes"), [(16, False, 1), (8, False, 4), (8, True, 1),
                                                      (6, True, 4)])
@pytest.mark.parametrize("scale", [*SCALES[::3], "1.3"])
def test_it_is_its_formula(scale, bits, carry, lanes):
    spec = GOLDEN.spec(out_bits=bits, carry=carry, lanes=lanes)
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert out_scale == Fraction(1, 2**bits)
    rows = np.random.default_rng(1).normal(0, 30, (6, 37)).clip(-128, 127).astype(int)
    octaves = round(Fraction(scale) * LOG2_E * 2**17)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        by_carrying(row, octaves, bits, lanes) if carry else by_formula(row, octaves, bits)
        for row in rows.tolist()]


def respond(golden, scale: str, length: int, **fields) -> tuple[np.ndarray, np.ndarray]:
    spec = golden.spec(longest_row=1024, **fields)
    constants, out_scale = golden.derive(spec, scale)
    rows = np.concatenate(list(softmax_rows(length).values()))
    codes = quantized(rows, spec.in_format, float(scale))
    return (golden.function(codes, spec, constants) * float(out_scale),
            reference.softmax(codes * float(scale)))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_its_error_is_within_its_statement(scale, length):
    found, exact = respond(GOLDEN, scale, length)
    assert np.abs(found - exact).max() <= GOLDEN.error_limit(float(scale))
    assert found.sum(axis=-1).min() > 0.99


@pytest.mark.parametrize("lanes", [1, 4])
def test_eight_bits_keep_the_mass_with_carry(lanes):
    fields = {"out_bits": 8, "carry": True, "lanes": lanes}
    found, exact = respond(GOLDEN, "0.05", 197, **fields)
    assert found.sum(axis=-1).min() >= 1 - lanes / 256
    assert np.abs(found - exact).max() < 1.1 / 256
    floor, _ = respond(GOLDEN, "0.05", 197, out_bits=8)
    shiftmax, _ = respond(unit("softmax_shiftmax").golden, "0.05", 197, out_bits=8)
    assert floor.sum(axis=-1).mean() == pytest.approx(0.767, abs=1e-3)
    assert shiftmax.sum(axis=-1).mean() == pytest.approx(0.571, abs=1e-3)


@pytest.mark.parametrize("scale", ["0.000002", "1.387"])
def test_it_refuses_a_scale_that_its_register_does_not_hold(scale):
    with pytest.raises(ValueError, match="^scale must be 0.0000027 to 1.386, not "):
        GOLDEN.derive(GOLDEN.spec(), scale)
