"""Rounding, saturation and width checks against exact rational arithmetic."""

from fractions import Fraction
from math import isqrt

import numpy as np
import pytest

from vitrtl.sw.golden.fixed_point import (
    Format,
    WidthError,
    bit_length,
    floor_sqrt,
    require,
    round_div_even,
    round_shift,
    round_shift_even,
    saturate,
)

VALUES = np.arange(-3000, 3000)


@pytest.mark.parametrize("shift", range(1, 9))
def test_round_shift_takes_ties_upward(shift):
    expected = [(Fraction(int(v), 1 << shift) + Fraction(1, 2)).__floor__() for v in VALUES]
    assert round_shift(VALUES, shift).tolist() == expected


@pytest.mark.parametrize("shift", range(1, 9))
def test_round_shift_even_takes_ties_to_even(shift):
    # Python's round of a fraction is exact and takes ties to even.
    expected = [round(Fraction(int(v), 1 << shift)) for v in VALUES]
    assert round_shift_even(VALUES, shift).tolist() == expected


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 64, 197])
def test_round_div_even_takes_ties_to_even(divisor):
    expected = [round(Fraction(int(v), divisor)) for v in VALUES]
    assert round_div_even(VALUES, divisor).tolist() == expected


def test_floor_sqrt_is_the_floor_at_every_square_and_beside_it():
    roots = np.array([0, 1, 2, 3, 180, 181, 213, 46340, 2**19 - 1, 2**25, 2**31 - 1])
    values = np.concatenate([roots**2 - (roots > 0), roots**2, roots**2 + 1, np.arange(5000)])
    assert floor_sqrt(values).tolist() == [isqrt(int(v)) for v in values]


def test_bit_length_matches_python():
    values = np.array([0, 1, 2, 3, 4, 255, 256, 2**31 - 1, 2**31, 2**62])
    assert bit_length(values).tolist() == [int(v).bit_length() for v in values]


@pytest.mark.parametrize(("text", "lo", "hi"), [("s8", -128, 127), ("u16", 0, 65535),
                                                ("u1", 0, 1), ("s2", -2, 1)])
def test_format_has_its_range_and_its_name(text, lo, hi):
    fmt = Format.parse(text)
    assert (fmt.lo, fmt.hi, str(fmt)) == (lo, hi, text)


def test_format_refuses_other_names():
    with pytest.raises(ValueError, match="^format must be written like s8 or u16, not 'int8'$"):
        Format.parse("int8")


def test_require_names_quantity_range_and_value():
    with pytest.raises(WidthError, match=r"^sum must fit s8 \(-128..127\), not 128$"):
        require(np.array([0, 128, 900]), Format(8, True), "sum")


def test_require_refuses_floats():
    with pytest.raises(TypeError, match="^input must be integers, not float64$"):
        require(np.array([0.0]), Format(8, True), "input")


def test_saturate_clamps_both_ends():
    assert saturate(np.array([-200, -128, 5, 127, 200]), Format(8, True)).tolist() == [
        -128, -128, 5, 127, 127]
