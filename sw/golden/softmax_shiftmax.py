"""Shiftmax, the softmax of I-ViT: numbers and golden model. Gates: `vitrtl.hw.softmax_shiftmax`."""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.shift_exp import (
    ShiftExpConstants,
    ShiftExpSpec,
    i0_of,
    reciprocal_of,
    shift_exp,
    shift_exp_registers,
)
from vitrtl.sw.golden.unit import (
    ErrorLimit,
    Golden,
    Register,
    check_range,
    check_row,
    scale_of,
)

__all__ = ["GOLDEN", "ShiftmaxSpec", "derive", "shiftmax"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftmaxSpec(ShiftExpSpec):
    """Numbers of one Shiftmax unit.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    out_bits : k of the paper; the result is unsigned at scale `2**-(k-1)`.
    n : octaves below the row's maximum that are told apart; 15 in the official code.
    i0_width : bits of `I0`, the codes in one octave: it bounds the input scale from below.
    longest_row : elements that the row buffers hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    out_bits: int = 16
    n: int = 15
    i0_width: int = 8
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("out_bits", self.out_bits, 4, 16, "bits")
        check_range("n", self.n, 1, 15)
        check_range("i0_width", self.i0_width, 1, 8, "bits")
        check_range("longest_row", self.longest_row, 1, 1024, "elements")

    @property
    def out_format(self) -> Format:
        # The largest result is 2**(k-1) - 1: E * f never exceeds 2**31 - 1.
        return Format(self.out_bits - 1, False)

    @property
    def mantissa_format(self) -> Format:
        """Format of `u`, at most `2 * I0`."""
        return Format(self.i0_width + 1, False)

    @property
    def exp_format(self) -> Format:
        """Format of one exponential."""
        return Format(self.i0_width + self.n, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row, before it is clamped to `2**31 - 1`."""
        return Format(self.exp_format.width + (self.longest_row - 1).bit_length(), False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**31 - 1) / sum)`; the sum is at least `2**n`."""
        return Format(31 - self.n, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return shift_exp_registers(self.i0_width, self.reciprocal_shift + 1,
                                   "codes in one octave, ceil(1/S)")


def derive(spec: ShiftmaxSpec, in_scale: Fraction) -> tuple[ShiftExpConstants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `in_scale`.

    Raises
    ------
    ValueError
        If the scale is so small that `I0` does not fit its width.
    """
    i0 = i0_of(scale_of(in_scale))
    if i0 >= 1 << spec.i0_width:
        raise ValueError(f"scale must be above 1/{1 << spec.i0_width} for an I0 of "
                         f"{spec.i0_width} bits, not {in_scale}")
    reciprocal = reciprocal_of(i0, spec.magnitude_width, spec.i0_width)
    return (ShiftExpConstants(i0=i0, reciprocal=reciprocal),
            Fraction(1, 1 << (spec.out_bits - 1)))


def shiftmax(x: np.ndarray, spec: ShiftmaxSpec, constants: ShiftExpConstants) -> np.ndarray:
    """Softmax of each row: `E = ShiftExp(x - max)`, `out = (E * floor((2**31-1)/sum E)) >> (32-k)`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits - 1`, scale `2**-(out_bits - 1)`.

    Error
    -----
    At most `GOLDEN.limits`: `I0` is a whole number of codes, which is coarse where the octave has
    few; the largest errors lie just below scales that divide 1. With 8 bits out a row of 197 can
    lose all of its mass to the floor. Upheld by `tests/unit/test_accuracy.py`.

    Source
    ------
    I-ViT, Algorithm 1, in exact integers, with `I0` frozen at export.
    """
    x = check_row(x, spec)
    e = shift_exp(x - x.max(axis=-1, keepdims=True), constants.i0, spec.n)
    require(e, spec.exp_format, "exponential")
    total = require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    factor = require((2**31 - 1) // np.minimum(total, 2**31 - 1), spec.factor_format, "factor")
    return require((e * factor) >> (32 - spec.out_bits), spec.out_format, "output")


GOLDEN = Golden(spec=ShiftmaxSpec, constants=ShiftExpConstants, derive=derive, function=shiftmax,
                limits=(ErrorLimit(0.02, 0.04), ErrorLimit(0.05, 0.065), ErrorLimit(0.1, 0.14),
                        ErrorLimit(0.25, 0.34)),
                variants={"8 bits out": ShiftmaxSpec(out_bits=8)})
