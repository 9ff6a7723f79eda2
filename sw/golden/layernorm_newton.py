"""I-LayerNorm of I-ViT: numbers and golden model. Gates: `vitrtl.hw.layernorm_newton`."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import floor, isqrt
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, floor_sqrt, require, round_div_even
from vitrtl.sw.golden.unit import Golden, Register, VectorSpec, check_range, check_row, scale_of

__all__ = ["GOLDEN", "NewtonConstants", "NewtonSpec", "derive", "layernorm"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewtonSpec(VectorSpec):
    """Numbers of one I-LayerNorm unit.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the bias memory hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    in_width: int = 16
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 4, 16, "bits")
        check_range("longest_row", self.longest_row, 1, 4096, "elements")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(32, True)

    @property
    def count_format(self) -> Format:
        """Format of a row's length."""
        return Format(self.longest_row.bit_length(), False)

    @property
    def sum_format(self) -> Format:
        """Format of a row's sum."""
        return Format(self.in_width + (self.longest_row - 1).bit_length(), True)

    @property
    def square_sum_format(self) -> Format:
        """Format of a row's sum of squares; the variance sum is never larger by more than N/4."""
        return Format(2 * self.in_width - 1 + (self.longest_row - 1).bit_length(), False)

    @property
    def deviation_format(self) -> Format:
        """Format of the distance from the mean."""
        return Format(self.in_width + 1, True)

    @property
    def root_format(self) -> Format:
        """Format of the square root."""
        return Format((self.square_sum_format.width + 1) // 2, False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**31 - 1) / root)`."""
        return Format(31, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="bias", format=Format(32, True), address=0, depth=self.longest_row,
                         doc="beta over gamma, at the scale sqrt(C) * 2**-30"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewtonConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    bias : (channels,), `floor(beta / gamma / S_z)`.
    """

    bias: np.ndarray


def derive(spec: NewtonSpec, in_scale: Fraction, gamma: Sequence[float],
           beta: Sequence[float]) -> tuple[NewtonConstants, list[Fraction]]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    The input scale cancels: the unit divides by the row's own deviation.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the 32-bit result no room.
    """
    scale_of(in_scale)
    if len(gamma) != len(beta) or not 1 <= len(gamma) <= spec.longest_row:
        raise ValueError(f"gamma and beta must have the same 1..{spec.longest_row} channels, "
                         f"not {len(gamma)} and {len(beta)}")
    z_scale = Fraction(isqrt(len(gamma) << 60), 1 << 60)
    room = (1 << 31) - (1 << 30) - 1
    bias, scales = [], []
    for channel, (g, b) in enumerate(zip(map(Fraction, gamma), map(Fraction, beta), strict=True)):
        if g == 0 or abs(b / g / z_scale) > room:
            raise ValueError(f"gamma[{channel}] must be at least {float(abs(b) / z_scale / room)} "
                             f"for its beta of {float(b)}, not {float(g)}")
        bias.append(floor(b / g / z_scale))
        scales.append(g * z_scale)
    return NewtonConstants(bias=np.array(bias, np.int64)), scales


def layernorm(x: np.ndarray, spec: NewtonSpec, constants: NewtonConstants) -> np.ndarray:
    """Normalise each row: `z = ((x - mean) * floor((2**31-1) / sqrt(V))) >> 1`, then add the bias.

    `mean` is rounded, ties to even; `V` is the sum of the squared deviations, not divided by the
    row's length, and `sqrt` its floor. A row of equal elements gives the bias alone.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s32, channel c at scale `gamma[c] * sqrt(C) * 2**-30`.

    Error
    -----
    At most `1.5 * max|gamma| / D + 2**-9`, D the row's standard deviation in input codes: the
    mean is a whole code. Upheld by `tests/unit/test_golden.py`.

    Source
    ------
    I-ViT, section 3.5. The official ten Newton steps from 2**16 have not converged for small
    deviations; here the iteration starts above the root and runs until it no longer falls, which
    ends on the floor of the root for every V.
    """
    x = check_row(x, spec)
    count = x.shape[-1]
    if count != constants.bias.size:
        raise ValueError(f"row length must be the {constants.bias.size} channels of the "
                         f"constants, not {count}")
    total = require(x.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    y = require(x - round_div_even(total, count), spec.deviation_format, "deviation")
    root = require(floor_sqrt((y * y).sum(axis=-1, keepdims=True)), spec.root_format, "root")
    factor = require((2**31 - 1) // np.maximum(root, 1), spec.factor_format, "factor")
    z = require((y * factor) >> 1, Format(31, True), "normalised value")
    return require(z + constants.bias, spec.out_format, "output")


GOLDEN = Golden(spec=NewtonSpec, constants=NewtonConstants, derive=derive, function=layernorm)
