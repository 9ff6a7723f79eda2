"""LayerNorm with a table of reciprocal roots: numbers and golden model.

Gates: `vitrtl.hw.layernorm_lut`.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import numpy as np

from vitrtl.sw.golden.fixed_point import require
from vitrtl.sw.golden.layernorm_common import (
    PerChannelConstants,
    PerChannelSpec,
    check_channels,
    derive_per_channel,
    deviations,
)
from vitrtl.sw.golden.reciprocal_root import reciprocal_root
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "LutLayerNormSpec", "derive", "layernorm"]

LARGEST = (1 << 30) + (1 << 21)
"""Magnitude that no normalised value exceeds: a word of the table may be 0.1 % too large."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LutLayerNormSpec(PerChannelSpec):
    """Numbers of one table LayerNorm.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the bias memory hold.
    lanes : elements per beat.
    """


def derive(spec: LutLayerNormSpec, in_scale: Fraction, gamma: Sequence[float],
           beta: Sequence[float]) -> tuple[PerChannelConstants, list[Fraction]]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the 32-bit result no room.
    """
    z_scale = Fraction(isqrt(len(gamma) << 60), 1 << 60)
    return derive_per_channel(spec, in_scale, gamma, beta, z_scale, LARGEST)


def layernorm(x: np.ndarray, spec: LutLayerNormSpec,
              constants: PerChannelConstants) -> np.ndarray:
    """Normalise each row: `z = ((x - mean) * reciprocal_root(V)) >> 1`, then add the bias.

    `mean` is rounded, ties to even; `V` is the sum of the squared deviations, not divided by the
    row's length. A row of equal elements gives the bias alone.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s32, channel c at scale `gamma[c] * sqrt(C) * 2**-30`.

    Error
    -----
    See `GOLDEN.limits`. For any row at most `1.5 * max|gamma| / D` for the mean, a whole code, D
    its standard deviation in input codes, and one part in 1024 for the table. Upheld by
    `tests/unit/golden/test_layernorm_lut.py`.

    Source
    ------
    What an engineer would do: the statistics of I-ViT's I-LayerNorm, its square root and division
    replaced by `vitrtl.sw.golden.reciprocal_root`.
    """
    x = check_channels(x, spec, constants.bias.size)
    y = deviations(x, spec)
    variance = require((y * y).sum(axis=-1, keepdims=True), spec.variance_format, "variance")
    z = (y * reciprocal_root(variance, spec.variance_format.width)) >> 1
    return require(z + constants.bias, spec.out_format, "output")


GOLDEN = Golden(spec=LutLayerNormSpec, constants=PerChannelConstants, derive=derive,
                function=layernorm,
                limits=(ErrorLimit(0.05, 0.05), ErrorLimit(0.1, 0.1), ErrorLimit(0.25, 0.21)))
