"""Scales that are powers of two, where octaves and remainders are bit slices.

Gates: `vitrtl.hw.power_scale`.
"""

import dataclasses
from fractions import Fraction
from typing import Any

import numpy as np

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Register, VectorSpec, check_range, scale_of

__all__ = ["PowerScaleConstants", "PowerScaleSpec", "aligned", "exponent_of", "fit_scale"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerScaleSpec(VectorSpec):
    """Numbers that units on scores of scale `2**-k` share.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    finest : largest k; codes are aligned to `2**-finest`.
    longest_row : elements that the row buffers hold.
    lanes : elements per beat.
    """

    in_width: int = 8
    finest: int = 7
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("finest", self.finest, 1, 7)
        check_range("longest_row", self.longest_row, 1, 1024, "elements")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def exponent_register(self) -> Register:
        """Register of `PowerScaleConstants.exponent`, the first one."""
        return Register(name="exponent", format=Format(self.finest.bit_length(), False), address=0,
                        doc="k of the scale 2**-k")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerScaleConstants:
    """Run-time integer of one layer.

    Parameters
    ----------
    exponent : k of the scale `2**-k`.
    """

    exponent: int


def fit_scale(spec: PowerScaleSpec, in_scale: Any) -> Fraction:
    """Return the smallest of `2**-finest` to 1 that is at least `in_scale`.

    Raises
    ------
    ValueError
        If the scale is above one.
    """
    in_scale = scale_of(in_scale)
    if in_scale > 1:
        raise ValueError(f"scale must be at most 1, not {float(in_scale)}")
    exponent = min((in_scale.denominator // in_scale.numerator).bit_length() - 1, spec.finest)
    return Fraction(1, 1 << exponent)


def exponent_of(spec: PowerScaleSpec, in_scale: Any) -> int:
    """Return k of the scale `2**-k`.

    Raises
    ------
    ValueError
        If it is not such a scale.
    """
    in_scale = scale_of(in_scale)
    exponent = in_scale.denominator.bit_length() - 1
    if in_scale != Fraction(1, 1 << exponent) or exponent > spec.finest:
        raise ValueError(f"scale must be 2**-k for a k of 0..{spec.finest}, not {float(in_scale)}")
    return exponent


def aligned(distance: np.ndarray, spec: PowerScaleSpec,
            constants: PowerScaleConstants) -> np.ndarray:
    """Return distances at the scale `2**-finest`, whatever the layer's."""
    return distance << (spec.finest - constants.exponent)
