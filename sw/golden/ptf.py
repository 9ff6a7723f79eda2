"""Power-of-two factor of a channel, and what LayerNorms on such codes share.

Gates: `vitrtl.hw.ptf`.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from typing import Any, ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, floor_sqrt, require, round_shift, saturate
from vitrtl.sw.golden.layernorm_common import (
    LayerNormSpec,
    check_affine,
    check_channels,
    deviations,
    row_mean,
)
from vitrtl.sw.golden.operand_affine import (
    OPERAND_FORMAT,
    REACH_FRACTION,
    affine_registers,
    affine_shift,
    affine_words,
    operand_affine,
    operand_scale,
)
from vitrtl.sw.golden.reciprocal_root import reciprocal_root
from vitrtl.sw.golden.unit import Register, check_range, scale_of

__all__ = ["PtfConstants", "PtfSpec", "affine", "calibrate", "derive", "encode",
           "normalised"]

CODE_FORMAT = Format(8, True)
"""Format of a code."""
ALPHA_FORMAT = Format(2, False)
"""Format of a channel's alpha."""
Z_FORMAT = Format(18, True)
"""Format of the normalised value, at scale `sqrt(C) * 2**-16`."""
BIAS_FRACTION = 6
"""Bits that the bias has below the result."""
DEFAULT_RANGE = 8
"""What the codes cover, in the input's unit, without calibration."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PtfSpec(LayerNormSpec):
    """Numbers of one LayerNorm on codes with a power-of-two factor per channel.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the memories hold.
    lanes : elements per beat.
    """

    mean_fraction: ClassVar[int] = 5
    merges_requantizer: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, CODE_FORMAT.width, 16, "bits")

    @property
    def out_format(self) -> Format:
        return OPERAND_FORMAT

    @property
    def element_format(self) -> Format:
        """Format of `q << alpha`."""
        return Format(CODE_FORMAT.width + ALPHA_FORMAT.hi, True)

    @property
    def largest_base(self) -> int:
        """Base with which the largest alpha reaches every input."""
        return max(self.in_width - CODE_FORMAT.width - ALPHA_FORMAT.hi, 0)

    @property
    def largest_shift(self) -> int:
        """Largest sum of base and alpha."""
        return self.largest_base + ALPHA_FORMAT.hi

    @property
    def multiplier_shift(self) -> int:
        """Places dropped from the product with a channel's multiplier and from the bias."""
        return affine_shift(self.longest_row)

    @property
    def registers(self) -> tuple[Register, ...]:
        span = 1 << (self.longest_row - 1).bit_length()
        return (
            Register(name="alpha", format=ALPHA_FORMAT, address=0, depth=self.longest_row,
                     doc="power-of-two factor of the channel's code"),
            *affine_registers(self.longest_row, span, BIAS_FRACTION),
            Register(name="base", format=Format(max(self.largest_base.bit_length(), 1), False),
                     address=3 * span, doc="shift of the layer"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PtfConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    alpha : (channels,), 0..3.
    multiplier : (channels,), `round(gamma / S_out * sqrt(C) * 2**-16 * 2**multiplier_shift)`.
    bias : (channels,), `round((beta / S_out + 1/2) * 2**6)`.
    base : shift of the layer.
    """

    alpha: np.ndarray
    multiplier: np.ndarray
    bias: np.ndarray
    base: int


def derive(spec: PtfSpec, in_scale: Fraction, gamma: Sequence[float], beta: Sequence[float],
           alpha: Sequence[int] | None = None, base: int | None = None,
           out_scale: Fraction | None = None,
           reach: Sequence[int] | None = None) -> tuple[PtfConstants, Fraction]:
    """Freeze the constants of a layer.

    Parameters
    ----------
    alpha, base : shifts of channels and layer; without calibration the codes of all channels
        cover -8 to 8 in the input's unit.
    out_scale : of the result; by default the largest result that `reach` allows becomes 127.
    reach : largest normalised value of each channel, in 1/16; 4 standard deviations without
        calibration.

    Raises
    ------
    ValueError
        For shifts out of range, and for a gamma or beta too large for the output scale.
    """
    in_scale = scale_of(in_scale)
    pairs = check_affine(spec, gamma, beta)
    if (alpha is None) != (base is None):
        raise ValueError("alpha and base must be given together")
    if alpha is None:
        shift = 0
        while (CODE_FORMAT.hi << shift) * in_scale < DEFAULT_RANGE and shift < spec.largest_shift:
            shift += 1
        base = min(shift, spec.largest_base)
        alpha = [shift - base] * len(pairs)
    if len(alpha) != len(pairs):
        raise ValueError(f"alpha must have the {len(pairs)} channels of gamma, not {len(alpha)}")
    if not 0 <= base <= spec.largest_base:
        raise ValueError(f"base must be 0..{spec.largest_base}, not {base}")
    out_scale = operand_scale(pairs, reach, out_scale)
    z_scale = Fraction(isqrt(len(pairs) << 60), 1 << 46)
    return PtfConstants(
        alpha=require(np.array(alpha, np.int64), ALPHA_FORMAT, "alpha"), base=base,
        multiplier=affine_words("multiplier", [
            g / out_scale * z_scale * (1 << spec.multiplier_shift) for g, _ in pairs], out_scale),
        bias=affine_words("bias", [
            (b / out_scale + Fraction(1, 2)) * (1 << BIAS_FRACTION) for _, b in pairs], out_scale),
    ), out_scale


def calibrate(spec: PtfSpec, in_scale: Fraction, codes: np.ndarray) -> dict[str, Any]:
    """Return the base, and the alpha of each channel, of the least squared error of its codes.

    And how far each channel reaches, in 1/16 of its row's standard deviation.
    """
    x = require(codes, spec.in_format, "input").astype(np.int64).reshape(-1, codes.shape[-1])
    candidates = []
    for base in range(spec.largest_base + 1):
        errors = np.array([((x - _rounded(x, base + alpha)) ** 2).sum(axis=0)
                           for alpha in range(ALPHA_FORMAT.hi + 1)])
        candidates.append((int(errors.min(axis=0).sum()), base, errors.argmin(axis=0)))
    _, base, alpha = min(candidates, key=lambda candidate: candidate[:2])
    y = deviations(_codes(x, base + alpha) << alpha, spec)
    variance = np.maximum((y * y).sum(axis=-1, keepdims=True), 1)
    squares = ((y * y) << 2 * REACH_FRACTION) * x.shape[-1] // variance
    return {"base": base, "alpha": alpha.tolist(),
            "reach": (floor_sqrt(squares.max(axis=0)) + 1).tolist()}


def encode(x: np.ndarray, spec: PtfSpec, constants: PtfConstants) -> np.ndarray:
    """Return the s8 codes `q` of rows: `x` over `2**(base + alpha)`, rounded, saturated."""
    return _codes(check_channels(x, spec, constants.alpha.size), constants.base + constants.alpha)


def normalised(q: np.ndarray, squares: np.ndarray, spec: PtfSpec,
               constants: PtfConstants) -> np.ndarray:
    """Return `y * reciprocal_root(V) >> 15` of codes whose elements have these squares.

    The elements are `q << alpha`; their mean has five bits below them, so that the deviation `y`
    counts in 1/32. `V`, the sum of the squared deviations, comes from the two sums of one pass.
    """
    x = require(q << constants.alpha, spec.element_format, "element")
    total = require(x.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    squares = require(squares.sum(axis=-1, keepdims=True), spec.square_sum_format,
                      "sum of squares")
    mean, places = row_mean(x, spec), spec.mean_fraction
    variance = (squares << 2 * places) - mean * (2 * (total << places) - x.shape[-1] * mean)
    variance = require(np.maximum(variance, 0), spec.variance_format, "variance")
    return deviations(x, spec) * reciprocal_root(variance, spec.variance_format.width) >> 15


def affine(z: np.ndarray, spec: PtfSpec, constants: PtfConstants) -> np.ndarray:
    """Return the s8 result: times the channel's multiplier, plus its bias, saturated."""
    return operand_affine(require(z, Z_FORMAT, "normalised value"), constants.multiplier,
                          constants.bias, spec.multiplier_shift, BIAS_FRACTION)


def _codes(x: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    # One bit more, to round with whatever the shift is.
    return saturate(round_shift(x << 1, shift + 1), CODE_FORMAT)


def _rounded(x: np.ndarray, shift: int) -> np.ndarray:
    return _codes(x, shift) << shift
