"""i-LayerNorm of I-BERT: numbers and golden model. Gates: `vitrtl.hw.layernorm_isqrt`."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, floor_sqrt, require
from vitrtl.sw.golden.layernorm_common import (
    PerChannelConstants,
    PerChannelSpec,
    check_channels,
    derive_per_channel,
    deviations,
)
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register, check_range

__all__ = ["GOLDEN", "IsqrtConstants", "IsqrtSpec", "calibrate", "derive", "layernorm"]

RADICAND_WIDTH = 32
"""Bits of the sum of squares that the root is taken of."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsqrtSpec(PerChannelSpec):
    """Numbers of one i-LayerNorm unit.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffers and the bias memory hold.
    lanes : elements per beat.
    """

    @property
    def statistic_format(self) -> Format:
        """Format of the sum of squares, before it is clamped."""
        return self.variance_format

    @property
    def radicand_format(self) -> Format:
        """Format of V."""
        return Format(min(RADICAND_WIDTH, self.statistic_format.width), False)

    @property
    def root_format(self) -> Format:
        """Format of the square root."""
        return Format((self.radicand_format.width + 1) // 2, False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor(2**31 / std)`."""
        return Format(32, False)

    @property
    def shift_format(self) -> Format:
        """Format of the shift."""
        return Format(max(1, self.safe_shift(self.longest_row).bit_length()), False)

    def safe_shift(self, channels: int) -> int:
        """Return the smallest shift under which V fits for every row of so many channels.

        Shifted deviations span at most `R = 2**(in_width - shift)`, so that their squares add up
        to at most `channels * R**2 / 4`; what the rounding of the mean and of the deviations can
        add to that is less than `channels`, and lost in the clamp.
        """
        shift = 0
        while channels << 2 * (self.in_width - shift - 1) > 1 << RADICAND_WIDTH:
            shift += 1
        return shift

    @property
    def registers(self) -> tuple[Register, ...]:
        return (
            Register(name="bias", format=Format(32, True), address=0, depth=self.longest_row,
                     doc="beta over gamma, at the scale sqrt(C) * 2**-29"),
            Register(name="shift", format=self.shift_format,
                     address=1 << (self.longest_row - 1).bit_length(),
                     doc="places that a deviation loses before it is squared"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IsqrtConstants(PerChannelConstants):
    """Run-time integers of one layer.

    Parameters
    ----------
    bias : (channels,), `floor(beta / gamma / S_z)`.
    shift : places that a deviation loses before it is squared.
    """

    shift: int


def derive(spec: IsqrtSpec, in_scale: Fraction, gamma: Sequence[float], beta: Sequence[float],
           shift: int | None = None) -> tuple[IsqrtConstants, list[Fraction]]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    Parameters
    ----------
    shift : as `calibrate` gives it; without it, one that suits every row of `gamma`'s length,
        which is too coarse for rows that do not fill their format.

    Raises
    ------
    ValueError
        For a shift beyond the register, or a gamma so near to zero that beta / gamma leaves the
        32-bit result no room.
    """
    z_scale = Fraction(isqrt(len(gamma) << 60), 1 << 59)
    common, scales = derive_per_channel(spec, in_scale, gamma, beta, z_scale, 1 << 30)
    shift = spec.safe_shift(len(gamma)) if shift is None else shift
    check_range("shift", shift, 0, spec.shift_format.hi, "places")
    return IsqrtConstants(bias=common.bias, shift=shift), scales


def calibrate(spec: IsqrtSpec, in_scale: Fraction, codes: np.ndarray) -> dict[str, int]:
    """Return the smallest shift with which V overflows for no row of the calibration data."""
    y = deviations(codes.astype(np.int64), spec)
    largest = spec.safe_shift(codes.shape[-1])
    return {"shift": next((shift for shift in range(largest) if
                           ((y >> shift) ** 2).sum(axis=-1).max() < 1 << RADICAND_WIDTH), largest)}


def layernorm(x: np.ndarray, spec: IsqrtSpec, constants: IsqrtConstants) -> np.ndarray:
    """Normalise each row: `z = (y * f) >> 2`, then add the bias.

    With `y = x - mean`, the mean rounded, ties to even:

        V = min(sum (y >> shift)**2, 2**32 - 1)          not divided by the row's length
        f = floor(2**31 / (max(floor(sqrt(V)), 1) << shift))

    Where V overflows, because a row spreads more than those of the calibration did, it stays at
    its largest: the row comes out too large, but within its format. A row of equal elements gives
    the bias alone.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s32, channel c at scale `gamma[c] * sqrt(C) * 2**-29`.

    Error
    -----
    See `GOLDEN.limits`, with the shift calibrated: the mean is a whole code. Upheld by
    `tests/unit/golden/test_layernorm_isqrt.py`.

    Source
    ------
    I-BERT, section 3.6 and Algorithm 4, and the official code, whose `floor(y * f / 2)` has one
    bit more: `floor(y / 2**shift)` can make y almost twice the deviation of its row, and then the
    bias would have no room. A deviation of zero gives NaN there.
    """
    x = check_channels(x, spec, constants.bias.size)
    y = deviations(x, spec)
    shift = constants.shift
    squares = ((y >> shift) ** 2).sum(axis=-1, keepdims=True)
    squares = require(squares, spec.statistic_format, "sum of squares")
    root = floor_sqrt(np.minimum(squares, spec.radicand_format.hi))
    root = np.maximum(require(root, spec.root_format, "root"), 1)
    factor = require(2**31 // (root << shift), spec.factor_format, "factor")
    z = require((y * factor) >> 2, Format(31, True), "normalised value")
    return require(z + constants.bias, spec.out_format, "output")


GOLDEN = Golden(spec=IsqrtSpec, constants=IsqrtConstants, derive=derive, function=layernorm,
                calibrate=calibrate,
                limits=(ErrorLimit(0.05, 0.07), ErrorLimit(0.1, 0.13), ErrorLimit(0.25, 0.35)))
