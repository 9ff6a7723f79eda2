"""What LayerNorms share: formats of a row and its sums, checks of a row, bias beside the scale."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, round_div_even
from vitrtl.sw.golden.unit import Register, VectorSpec, check_range, check_row, scale_of

__all__ = ["LayerNormSpec", "PerChannelConstants", "PerChannelSpec", "check_affine",
           "check_channels", "derive_per_channel", "deviations", "row_mean"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LayerNormSpec(VectorSpec):
    """Numbers of one LayerNorm unit.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the constants of a channel hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    mean_fraction: ClassVar[int] = 0
    """Bits that the mean has below the elements."""

    exact_squares: ClassVar[bool] = True
    """Whether squares are exact; if not, their sum may be less than that of the deviations."""

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
    def element_format(self) -> Format:
        """Format of what is summed and buffered; the input, unless the method encodes it."""
        return self.in_format

    @property
    def count_format(self) -> Format:
        """Format of a row's length."""
        return Format(self.longest_row.bit_length(), False)

    @property
    def sum_format(self) -> Format:
        """Format of a row's sum."""
        return Format(self.element_format.width + (self.longest_row - 1).bit_length(), True)

    @property
    def square_sum_format(self) -> Format:
        """Format of a row's sum of squares."""
        return Format(2 * self.element_format.width - 1 + (self.longest_row - 1).bit_length(),
                      False)

    @property
    def variance_format(self) -> Format:
        """Format of the sum of squared deviations; never above that of squares by more than N/4."""
        return Format(self.square_sum_format.width + 2 * self.mean_fraction, False)

    @property
    def mean_format(self) -> Format:
        """Format of the mean, and of an element beside it."""
        return Format(self.element_format.width + self.mean_fraction, True)

    @property
    def deviation_format(self) -> Format:
        """Format of the distance from the mean."""
        return Format(self.mean_format.width + 1, True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerChannelSpec(LayerNormSpec):
    """Numbers of a LayerNorm whose s32 result keeps gamma in its scale, one for each channel."""

    @property
    def out_format(self) -> Format:
        return Format(32, True)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="bias", format=Format(32, True), address=0, depth=self.longest_row,
                         doc="beta over gamma, at the scale sqrt(C) * 2**-30"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerChannelConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    bias : (channels,), `floor(beta / gamma / S_z)`.
    """

    bias: np.ndarray


def check_affine(spec: LayerNormSpec, gamma: Sequence[float],
                 beta: Sequence[float]) -> list[tuple[Fraction, Fraction]]:
    """Return gamma and beta of each channel as exact fractions.

    Raises
    ------
    ValueError
        Unless there is one of each for 1 to `longest_row` channels.
    """
    if len(gamma) != len(beta) or not 1 <= len(gamma) <= spec.longest_row:
        raise ValueError(f"gamma and beta must have the same 1..{spec.longest_row} channels, "
                         f"not {len(gamma)} and {len(beta)}")
    return list(zip(map(Fraction, gamma), map(Fraction, beta), strict=True))


def derive_per_channel(spec: PerChannelSpec, in_scale: Fraction, gamma: Sequence[float],
                       beta: Sequence[float], z_scale: Fraction,
                       largest: int) -> tuple[PerChannelConstants, list[Fraction]]:
    """Return the bias of each channel and its output scale, `gamma * z_scale`.

    The input scale cancels: the unit divides by the row's own deviation.

    Parameters
    ----------
    z_scale : of the normalised value.
    largest : magnitude that the normalised value never exceeds.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the 32-bit result no room.
    """
    scale_of(in_scale)
    room = spec.out_format.hi - largest
    bias, scales = [], []
    for channel, (g, b) in enumerate(check_affine(spec, gamma, beta)):
        if g == 0 or abs(b / g / z_scale) > room:
            raise ValueError(f"gamma[{channel}] must be at least {float(abs(b) / z_scale / room)} "
                             f"for its beta of {float(b)}, not {float(g)}")
        bias.append(floor(b / g / z_scale))
        scales.append(g * z_scale)
    return PerChannelConstants(bias=np.array(bias, np.int64)), scales


def check_channels(x: np.ndarray, spec: LayerNormSpec, channels: int) -> np.ndarray:
    """Return rows as int64 after checking that they have the constants' channels."""
    x = check_row(x, spec)
    if x.shape[-1] != channels:
        raise ValueError(f"row length must be the {channels} channels of the constants, "
                         f"not {x.shape[-1]}")
    return x


def row_mean(elements: np.ndarray, spec: LayerNormSpec) -> np.ndarray:
    """Return the mean of each row in `2**-mean_fraction`, rounded, ties to even."""
    total = require(elements.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    return round_div_even(total << spec.mean_fraction, elements.shape[-1])


def deviations(elements: np.ndarray, spec: LayerNormSpec) -> np.ndarray:
    """Return the distance of each element from its row's mean, in `2**-mean_fraction`."""
    distance = (elements << spec.mean_fraction) - row_mean(elements, spec)
    return require(distance, spec.deviation_format, "deviation")
