"""I-LayerNorm of I-ViT: numbers and golden model. Gates: `vitrtl.hw.layernorm_newton`."""

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
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "NewtonSpec", "derive", "layernorm"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class NewtonSpec(PerChannelSpec):
    """Numbers of one I-LayerNorm unit.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the bias memory hold.
    lanes : elements per beat.
    """

    @property
    def root_format(self) -> Format:
        """Format of the square root."""
        return Format((self.variance_format.width + 1) // 2, False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**31 - 1) / root)`."""
        return Format(31, False)


def derive(spec: NewtonSpec, in_scale: Fraction, gamma: Sequence[float],
           beta: Sequence[float]) -> tuple[PerChannelConstants, list[Fraction]]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the 32-bit result no room.
    """
    z_scale = Fraction(isqrt(len(gamma) << 60), 1 << 60)
    return derive_per_channel(spec, in_scale, gamma, beta, z_scale, 1 << 30)


def layernorm(x: np.ndarray, spec: NewtonSpec, constants: PerChannelConstants) -> np.ndarray:
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
    See `GOLDEN.limits`. For any row at most `1.5 * max|gamma| / D + 2**-9`, D its standard
    deviation in input codes: the mean is a whole code. Upheld by `tests/unit/test_golden.py`.

    Source
    ------
    I-ViT, section 3.5. The official ten Newton steps from 2**16 have not converged for small
    deviations; here the iteration starts above the root and runs until it no longer falls, which
    ends on the floor of the root for every V.
    """
    x = check_channels(x, spec, constants.bias.size)
    y = deviations(x, spec)
    root = require(floor_sqrt((y * y).sum(axis=-1, keepdims=True)), spec.root_format, "root")
    factor = require((2**31 - 1) // np.maximum(root, 1), spec.factor_format, "factor")
    z = require((y * factor) >> 1, Format(31, True), "normalised value")
    return require(z + constants.bias, spec.out_format, "output")


GOLDEN = Golden(spec=NewtonSpec, constants=PerChannelConstants, derive=derive, function=layernorm,
                limits=(ErrorLimit(0.05, 0.07), ErrorLimit(0.1, 0.12), ErrorLimit(0.25, 0.3)))
