"""Shiftmax at power-of-two scales: numbers and golden model.

Gates: `vitrtl.hw.softmax_shiftmax_pow2`.
"""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.power_scale import (
    PowerScaleConstants,
    PowerScaleSpec,
    aligned,
    exponent_of,
    fit_scale,
)
from vitrtl.sw.golden.shift_exp import CHORD, Line, shift_exp_parts
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register, check_range, check_row

__all__ = ["GOLDEN", "ShiftmaxPow2Spec", "derive", "shiftmax_pow2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftmaxPow2Spec(PowerScaleSpec):
    """Numbers of one Shiftmax unit for scales `2**-k`.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    finest : largest k; codes are aligned to `2**-finest`.
    longest_row : elements that the row buffers hold.
    out_bits : k of I-ViT; the result is unsigned at scale `2**-(out_bits - 1)`.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True
    line: ClassVar[Line] = CHORD
    """Line that stands for the exponential in an octave."""
    n: ClassVar[int] = 15
    """Octaves below the row's maximum that are told apart, and fraction bits of an exponential."""

    out_bits: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("out_bits", self.out_bits, 4, 16, "bits")

    @property
    def out_format(self) -> Format:
        # E * f never exceeds 2**31 - 1.
        return Format(self.out_bits - 1, False)

    @property
    def unit_places(self) -> int:
        """Fraction bits of the mantissa `u`."""
        return self.finest + self.line.places

    @property
    def mantissa_format(self) -> Format:
        """Format of `u`: one, or what the line gives above it where r takes both signs."""
        return Format(self.unit_places + 1, False)

    @property
    def exp_format(self) -> Format:
        """Format of one exponential, up to `2**n`."""
        return Format(self.n + 1, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row."""
        return Format(self.exp_format.width + (self.longest_row - 1).bit_length(), False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**31 - 1) / sum)`; the sum is at least `2**n`."""
        return Format(31 - self.n, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (self.exponent_register,)


def derive(spec: ShiftmaxPow2Spec, in_scale: Fraction) -> tuple[PowerScaleConstants, Fraction]:
    """Freeze the constant of a layer whose scores have scale `2**-k`.

    Raises
    ------
    ValueError
        If the scale is not such a power of two.
    """
    return (PowerScaleConstants(exponent=exponent_of(spec, in_scale)),
            Fraction(1, 1 << (spec.out_bits - 1)))


def shiftmax_pow2(x: np.ndarray, spec: ShiftmaxPow2Spec,
                  constants: PowerScaleConstants) -> np.ndarray:
    """Softmax of each row: `out = (E * floor((2**31-1)/sum E)) >> (32-k)`, E in n fraction bits.

    The distance below the maximum is aligned to `2**-K`, K being `finest`, and split by
    `shift_exp_parts` with `I0 = 2**K` into `u` and `q`: `E = (u << (n - q)) >> (K + places)`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits - 1`, scale `2**-(out_bits - 1)`.

    Error
    -----
    At most 0.018 at each of its scales. Upheld by
    `tests/unit/golden/test_softmax_shiftmax_pow2.py`.

    Source
    ------
    I-ViT, Algorithm 1, at such scales. It differs in that codes are aligned before the
    multiplication by 1.4375, which then loses nothing to its floors at coarse scales, and in that
    exponentials have n fraction bits and no more, which leaves the reciprocal all of its bits.
    """
    x = check_row(x, spec)
    distance = aligned(x - x.max(axis=-1, keepdims=True), spec, constants)
    u, q = shift_exp_parts(distance, 1 << spec.finest, spec.n, spec.line)
    require(u, spec.mantissa_format, "mantissa")
    e = require((u << (spec.n - q)) >> spec.unit_places, spec.exp_format, "exponential")
    total = require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    factor = require((2**31 - 1) // total, spec.factor_format, "factor")
    return require((e * factor) >> (32 - spec.out_bits), spec.out_format, "output")


GOLDEN = Golden(spec=ShiftmaxPow2Spec, constants=PowerScaleConstants, derive=derive,
                function=shiftmax_pow2, fit_scale=fit_scale, limits=(ErrorLimit(1, 0.018),))
