"""L1 LayerNorm: numbers and golden model. Gates: `vitrtl.hw.layernorm_l1`."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.layernorm_common import (
    PerChannelConstants,
    PerChannelSpec,
    check_channels,
    derive_per_channel,
    deviations,
)
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register

__all__ = ["GOLDEN", "L1Spec", "derive", "layernorm"]

GAUSSIAN = Fraction("0.79788456080286535588")
"""sqrt(2 / pi): mean absolute over standard deviation of a normal distribution."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class L1Spec(PerChannelSpec):
    """Numbers of one L1 LayerNorm unit.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffers and the bias memory hold.
    lanes : elements per beat.
    """

    @property
    def statistic_format(self) -> Format:
        """Format of A: the magnitudes are largest where half of a row lies at either end."""
        return Format(self.in_width - 1 + self.longest_row.bit_length(), False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**35 - 1) / A)`, as wide as two multiplier blocks take it."""
        return Format(35, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="bias", format=Format(32, True), address=0, depth=self.longest_row,
                         doc="beta over gamma, at the scale S_z"),)


def derive(spec: L1Spec, in_scale: Fraction, gamma: Sequence[float], beta: Sequence[float],
           gaussian: bool = True) -> tuple[PerChannelConstants, list[Fraction]]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    Parameters
    ----------
    gaussian : the result is in standard deviations, which a trained gamma expects, as far as the
        row is normally distributed; otherwise in mean absolute deviations, as published. It lies
        in the scale alone.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the 32-bit result no room.
    """
    z_scale = Fraction(len(gamma), 1 << 30) * (GAUSSIAN if gaussian else 1)
    return derive_per_channel(spec, in_scale, gamma, beta, z_scale, 1 << 30)


def layernorm(x: np.ndarray, spec: L1Spec, constants: PerChannelConstants) -> np.ndarray:
    """Normalise each row: `z = (y * floor((2**35 - 1) / A)) >> 5`, then add the bias.

    `y = x - mean`, the mean rounded, ties to even; `A` is the sum of `|y|`, the mean absolute
    deviation times the row's length. A row of equal elements gives the bias alone.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s32, channel c at scale `gamma[c] * S_z`, `S_z = sqrt(2 / pi) * C * 2**-30`.

    Error
    -----
    See `GOLDEN.limits`. Most of it is the method's own: on a normally distributed row the mean
    absolute deviation stands for the standard deviation within a few percent, on a uniform one
    it is 8 % too large, and a few channels that are far out leave it too small by any factor, so
    that those channels come out too large. Upheld by `tests/unit/golden/test_layernorm_l1.py`.

    Source
    ------
    Towards Fully 8-bit Integer Inference for the Transformer Model (IJCAI 2020), L1 LayerNorm.
    """
    x = check_channels(x, spec, constants.bias.size)
    y = deviations(x, spec)
    total = require(np.abs(y).sum(axis=-1, keepdims=True), spec.statistic_format,
                    "sum of magnitudes")
    factor = require((2**35 - 1) // np.maximum(total, 1), spec.factor_format, "factor")
    z = require((y * factor) >> 5, Format(31, True), "normalised value")
    return require(z + constants.bias, spec.out_format, "output")


GOLDEN = Golden(spec=L1Spec, constants=PerChannelConstants, derive=derive, function=layernorm,
                limits=(ErrorLimit(0.25, 12),))
