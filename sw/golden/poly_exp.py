"""Exponential of I-BERT: octaves, and a quadratic in each, brought to 16 bits.

Gates: `vitrtl.hw.softmax_iexp`.
"""

import dataclasses
from fractions import Fraction
from math import ceil, floor
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, round_shift_even
from vitrtl.sw.golden.shift_exp import reciprocal_of, reciprocal_shift
from vitrtl.sw.golden.unit import Register, VectorSpec, check_range, check_row, scale_of

__all__ = ["PolyExpConstants", "PolyExpSpec", "freeze", "poly_exp"]

LN2 = Fraction(6931, 10000)
"""As the official code writes it."""
QUADRATIC = Fraction(35815147, 10**8)
LINEAR = Fraction(96963238, 10**8)
"""`exp(p)` is about `QUADRATIC * p**2 + LINEAR * p + 1` for p in (-ln 2, 0]."""
ONE16 = 32767
"""What exp(0) becomes where the exponentials are brought to 16 bits."""
OCTAVES = 30
"""n of I-BERT: the exponential is floored this many octaves below one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolyExpSpec(VectorSpec):
    """Numbers of a softmax over polynomial exponentials.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    i0_width : bits of the codes in one octave: it bounds the input scale from below.
    constant_width : bits of c, which grows as `2.79 / S**2`.
    longest_row : elements that the row buffers hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    in_width: int = 8
    i0_width: int = 7
    constant_width: int = 15
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("i0_width", self.i0_width, 1, 8, "bits")
        check_range("constant_width", self.constant_width, 3, 15, "bits")
        check_range("longest_row", self.longest_row, 1, 1024, "elements")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def magnitude_width(self) -> int:
        """Bits of the distance below the maximum."""
        return self.in_width

    @property
    def polynomial_format(self) -> Format:
        """Format of z, at most c."""
        return Format(self.constant_width, False)

    @property
    def exp_format(self) -> Format:
        """Format of one exponential, after it was brought to 16 bits."""
        return Format(15, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row."""
        return Format(15 + (self.longest_row - 1).bit_length(), False)

    @property
    def reciprocal_shift(self) -> int:
        """Shift after the multiplication that stands for the division by `I0`."""
        return reciprocal_shift(self.magnitude_width, self.i0_width)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (
            Register(name="i0", format=Format(self.i0_width, False), address=0,
                     doc="codes in one octave, ceil(0.6931 / S)"),
            Register(name="reciprocal", format=Format(self.reciprocal_shift + 1, False), address=1,
                     doc="ceil(2**shift / I0), which replaces the division by I0"),
            Register(name="linear", format=Format(self.i0_width + 2, False), address=2,
                     doc="b = floor(2.70732 / S)"),
            Register(name="constant", format=Format(15, False), address=3,
                     doc="c * 2**k, c = floor(2.79211 / S**2), at most 32767"),
            Register(name="normalise", format=Format(15, False), address=4,
                     doc="2**k, so that every layer needs the same shift"),
            Register(name="multiplier", format=Format(32, False), address=5,
                     doc="m of the dyadic pair that brings c to 32767"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolyExpConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    i0 : codes in one octave.
    reciprocal : stands for the division by `i0` in the gates.
    linear : b of the polynomial.
    constant : c of the polynomial, times `normalise`.
    normalise : power of two, so that the dyadic pair's shift is 30 in every layer.
    multiplier : m of the dyadic pair.
    """

    i0: int
    reciprocal: int
    linear: int
    constant: int
    normalise: int
    multiplier: int


def freeze(spec: PolyExpSpec, in_scale: Fraction) -> PolyExpConstants:
    """Freeze the constants of a layer whose scores have scale `in_scale`.

    The official code calibrates the 16-bit scale of the exponentials as a running maximum over
    32767. Every row holds its own maximum, whose exponential is c, so that maximum is c.

    Raises
    ------
    ValueError
        If a constant does not fit its width, naming the scale.
    """
    scale = scale_of(in_scale)
    i0 = ceil(LN2 / scale)
    linear = floor(LINEAR / QUADRATIC / scale)
    constant = floor(1 / QUADRATIC / scale**2)
    if i0 >= 1 << spec.i0_width or constant >= 1 << spec.constant_width or constant < 1:
        raise ValueError(f"scale must give 1..{(1 << spec.constant_width) - 1} for 2.792 / S**2 "
                         f"and at most {(1 << spec.i0_width) - 1} for 0.6931 / S, "
                         f"not {float(scale)}")
    # ratio = mantissa * 2**exponent with a mantissa in [1/2, 1), as frexp gives it.
    ratio = Fraction(ONE16, constant)
    exponent = (ONE16 // constant).bit_length()
    multiplier = floor(ratio / 2**exponent * 2**31 + Fraction(1, 2))
    normalise = 1 << (exponent - 1)
    return PolyExpConstants(
        i0=i0, reciprocal=reciprocal_of(i0, spec.magnitude_width, spec.i0_width), linear=linear,
        constant=constant * normalise, normalise=normalise, multiplier=multiplier)


def poly_exp(x: np.ndarray, spec: PolyExpSpec,
             constants: PolyExpConstants) -> tuple[np.ndarray, np.ndarray]:
    """Return the exponentials of each row, over its maximum, and their sum.

    With `d = max(x - max, -30*I0)`, `q = floor(d / -I0)` and `r = d + I0*q`:
    `z = (r + b) * r + c` and `E = round(z * 2**(30-q) * m / 2**e)` to 16 bits, ties to even.

    Shape
    -----
    (..., row), kept; (..., 1) for the sums.

    Format
    ------
    s`in_width` to u15, 32767 for the maximum.

    Source
    ------
    I-BERT, Algorithm 1 and the official code in exact integers. E itself has 45 bits there; n and
    e only ever meet as the shift `e - 30 + q`, so z is multiplied first and shifted once.
    """
    x = check_row(x, spec)
    distance = np.maximum(x - x.max(axis=-1, keepdims=True), -OCTAVES * constants.i0)
    q = (-distance) // constants.i0
    r = distance + constants.i0 * q
    z = require((r + constants.linear) * r * constants.normalise + constants.constant,
                Format(15, False), "polynomial")
    # z keeps its k places, which makes e - 30 the same 30 for every layer.
    e = round_shift_even(z * constants.multiplier, 30 + q)
    require(e, spec.exp_format, "exponential")
    return e, require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
