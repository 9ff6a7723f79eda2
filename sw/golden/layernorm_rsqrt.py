"""LayerNorm without a division or a mean: numbers and golden model.

Gates: `vitrtl.hw.layernorm_rsqrt`.
"""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from typing import Any

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, bit_length, require
from vitrtl.sw.golden.layernorm_common import (
    LayerNormSpec,
    PerChannelConstants,
    check_affine,
    check_channels,
    derive_per_channel,
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
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register, check_row, scale_of

__all__ = ["BIAS_FRACTION", "CURVE", "CURVE_PLACES", "GOLDEN", "MANTISSA_FORMAT", "OFFSET_BITS",
           "OPERAND_WIDTH", "ROOT_FORMAT", "RsqrtConstants", "RsqrtSpec", "calibrate", "derive",
           "layernorm", "reciprocal_root"]

OPERAND_WIDTH = 18
"""Bits of a multiplier's operand; a deviation is cut to them."""

MANTISSA_FORMAT = Format(18, False)
"""Format of a number from 1 to 4, in units of `2**-16`."""
ROOT_FORMAT = Format(16, False)
"""Format of its reciprocal root, from 1/2 to 1, in units of `2**-16`."""

INDEX_BITS = 4
"""Leading bits of the mantissa, which choose a parabola; from 4 to 15."""
OFFSET_BITS = MANTISSA_FORMAT.width - INDEX_BITS
"""The other bits: where on the parabola."""
CURVE_PLACES = 3
"""Places that the quadratic coefficients are shorter than the others."""
BIAS_FRACTION = 8
"""Bits that the bias has below an s8 result."""


def _parabola(index: int) -> tuple[int, int, int]:
    """Return value, slope and curve, over half a step, of the parabola of one index.

    It meets the reciprocal root in the middle of the step, at (2 * index + 1) / 8, and at 13/15
    of the way to either end, next to Chebyshev's points.
    """
    point, precision = Fraction(13, 15), 40
    left, centre, right = (
        Fraction(isqrt((120 << 2 * (ROOT_FORMAT.width + precision))
                       // (15 * (2 * index + 1) + places)), 1 << precision)
        for places in (-13, 0, 13))
    slope = (right - left) / (2 * point)
    curve = (left + right - 2 * centre) / (2 * point**2)
    return round(centre), round(slope), round(curve / (1 << CURVE_PLACES))


CURVE = np.array([_parabola(max(index, 4)) for index in range(1 << INDEX_BITS)], np.int64)
"""Value, slope and curve for each index; those below 4 are never used."""
CURVE.setflags(write=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RsqrtSpec(LayerNormSpec):
    """Numbers of one LayerNorm by reciprocal root.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the memories hold.
    merged : whether the result is the next unit's s8 operand, at a scale that the export is given,
        or has a scale per channel, for a requantizer that follows.
    lanes : elements per beat.
    """

    merged: bool = False

    @property
    def merges_requantizer(self) -> bool:
        return self.merged

    @property
    def range_bits(self) -> int:
        """Bits before the point of the largest result: a row of C has none beyond sqrt(C)."""
        return ((self.longest_row - 1).bit_length() + 1) // 2

    @property
    def fraction_bits(self) -> int:
        """Bits after the point of the normalised value."""
        return OPERAND_WIDTH - 1 - self.range_bits

    @property
    def normalised_format(self) -> Format:
        """Format of the normalised value: the cuts can bring it beyond `sqrt(C)`."""
        return Format(OPERAND_WIDTH + 1, True)

    @property
    def out_format(self) -> Format:
        return OPERAND_FORMAT if self.merged else self.normalised_format

    @property
    def multiplier_shift(self) -> int:
        """Places dropped from the product with a channel's multiplier and from the bias."""
        return affine_shift(self.longest_row)

    @property
    def bias_format(self) -> Format:
        """Format of a channel's bias."""
        return Format(OPERAND_WIDTH, True)

    @property
    def root_width(self) -> int:
        """Bits of the spread's root, at least so many that a deviation fills its operand."""
        width = self.in_width - 1 + (self.longest_row - 1).bit_length()
        return max(width, OPERAND_WIDTH - 1 - self.range_bits)

    @property
    def spread_format(self) -> Format:
        """Format of `C*Q - T**2`, whose root is C times the deviation: half the range at most."""
        return Format(2 * self.root_width, False)

    @property
    def most_steps(self) -> int:
        """Steps of four bits that the smallest spread but 0 is shifted by."""
        return (self.spread_format.width - 1) // 4

    @property
    def shifted_format(self) -> Format:
        """Format of `C*x - T` after the shift."""
        return Format(self.root_width + self.range_bits + 1, True)

    @property
    def dropped(self) -> int:
        """Places that a shifted deviation loses to fit its operand."""
        return self.shifted_format.width - OPERAND_WIDTH

    @property
    def registers(self) -> tuple[Register, ...]:
        words = affine_registers(self.longest_row, 0, BIAS_FRACTION) if self.merged else (
            Register(name="bias", format=self.bias_format, address=0, depth=self.longest_row,
                     doc=f"beta over gamma, at the scale 2**-{self.fraction_bits}"),)
        span = 1 << (self.longest_row - 1).bit_length()
        return (*words, Register(name="channels", format=self.count_format,
                                 address=len(words) * span, doc="C, the row's length"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RsqrtConstants(PerChannelConstants):
    """Run-time integers of one layer.

    Parameters
    ----------
    bias : (channels,), `floor(beta / gamma / S_z)`; if merged, `(beta / S_out + 1/2) * 2**8`, and
        half of what the cuts of z and of the product take.
    channels : C, the row's length.
    multiplier : if merged, (channels,), `gamma / S_out * 2 * S_z * 2**multiplier_shift`; else
        empty.
    """

    channels: int
    multiplier: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int64))


def derive(spec: RsqrtSpec, in_scale: Fraction, gamma: Sequence[float], beta: Sequence[float],
           out_scale: Fraction | None = None, reach: Sequence[int] | None = None,
           ) -> tuple[RsqrtConstants, list[Fraction] | Fraction]:
    """Freeze the constants of a layer; the output scale of channel c is `gamma[c] * S_z`.

    Parameters
    ----------
    out_scale : if merged, of the result; by default the largest result that `reach` allows becomes
        127.
    reach : if merged, largest normalised value of each channel, in 1/16; 4 standard deviations
        without calibration.

    Raises
    ------
    ValueError
        For a gamma so near to zero that beta / gamma leaves the result no room; if merged, for a
        gamma or beta too large for the output scale.
    """
    if spec.merged:
        return _derive_merged(spec, in_scale, gamma, beta, out_scale, reach)
    # What the root and the cuts can add to the largest normalised value is below 64 units.
    largest = (1 << (OPERAND_WIDTH - 1)) + 64
    common, scales = derive_per_channel(spec, in_scale, gamma, beta,
                                        Fraction(1, 1 << spec.fraction_bits), largest)
    return RsqrtConstants(bias=common.bias, channels=common.bias.size), scales


def _derive_merged(spec: RsqrtSpec, in_scale: Fraction, gamma: Sequence[float],
                   beta: Sequence[float], out_scale: Fraction | None,
                   reach: Sequence[int] | None) -> tuple[RsqrtConstants, Fraction]:
    scale_of(in_scale)
    pairs = check_affine(spec, gamma, beta)
    out_scale = operand_scale(pairs, reach, out_scale)
    # The normalised value comes to the product without its last bit.
    one = 1 << spec.multiplier_shift - spec.fraction_bits + 1
    multiplier = affine_words("multiplier", [g / out_scale * one for g, _ in pairs], out_scale)
    # What the cuts before and behind the product take is half a place on average.
    half = Fraction(1, 2)
    taken = [half + half * int(m) / (1 << spec.multiplier_shift - BIAS_FRACTION)
             for m in multiplier]
    bias = affine_words("bias", [(b / out_scale + half) * (1 << BIAS_FRACTION) + t
                                 for (_, b), t in zip(pairs, taken, strict=True)], out_scale)
    return RsqrtConstants(bias=bias, channels=bias.size, multiplier=multiplier), out_scale


def calibrate(spec: RsqrtSpec, in_scale: Fraction, codes: np.ndarray) -> dict[str, Any]:
    """Return how far each channel reaches, in 1/16 of its row's standard deviation, if merged.

    It is one at least: the multiplier reaches no larger gamma than that of 128 output codes.
    """
    if not spec.merged:
        return {}
    z = _normalised(check_row(codes, spec), spec)
    largest = np.abs(z).reshape(-1, z.shape[-1]).max(axis=0)
    reach = (largest >> spec.fraction_bits - REACH_FRACTION) + 1
    return {"reach": np.maximum(reach, 1 << REACH_FRACTION).tolist()}


def reciprocal_root(mantissa: np.ndarray) -> np.ndarray:
    """Return `2**24 / sqrt(v)` for mantissas from `2**16`, by one of twelve parabolas.

    Shape
    -----
    Any, kept.

    Error
    -----
    At most one part in 7000. Upheld by `tests/unit/golden/test_layernorm_rsqrt.py`.
    """
    mantissa = require(mantissa, MANTISSA_FORMAT, "mantissa")
    value, slope, curve = np.moveaxis(CURVE[mantissa >> OFFSET_BITS], -1, 0)
    offset = (mantissa & ((1 << OFFSET_BITS) - 1)) - (1 << (OFFSET_BITS - 1))
    slope = slope + ((curve * offset) >> (OFFSET_BITS - 1 - CURVE_PLACES))
    return require(value + ((slope * offset) >> (OFFSET_BITS - 1)), ROOT_FORMAT, "root")


def layernorm(x: np.ndarray, spec: RsqrtSpec, constants: RsqrtConstants) -> np.ndarray:
    """Normalise each row, `z = (C*x - T) / sqrt(C*Q - T**2)`, then add the bias.

    T is the row's sum, Q its sum of squares: the spread `C*Q - T**2` is exact, and neither mean
    nor variance is ever rounded. The spread is shifted up by s steps of four bits, `C*x - T` by
    s steps of two, until one of the spread's four leading bits is set:

        v, low = the leading 18 bits from an even place on; whether that is the upper place
        y = ((x * (C << 2s)) >> dropped) - ((T << 2s) >> dropped)
        z = (y * (reciprocal_root(v) << low)) >> 15

    A row of equal elements has y = 0 and gives the bias alone. If merged, the product is cut by
    one place more, to one multiplier's operand, and

        out = saturate(((z * multiplier >> multiplier_shift - 8) + bias) >> 8)

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s19, channel c at scale `gamma[c] * 2**-fraction_bits`; if merged, to s8 at the
    scale that `derive` gives.

    Error
    -----
    At most `|gamma| * (|z| / 7000 + 6 * 2**-fraction_bits)`, whatever the row's mean and deviation.
    If merged, half an output step more, and of a step |z| / 2000 for the multiplier's last place
    and 1/256 for the bias's, wherever the output does not saturate. Upheld by
    `tests/unit/golden/test_layernorm_rsqrt.py`.

    Source
    ------
    The formula is LayerNorm's own, multiplied by the row's length.
    """
    z = _normalised(check_channels(x, spec, constants.channels), spec)
    if not spec.merged:
        return require(z + constants.bias, spec.out_format, "output")
    z = require(z >> 1, Format(OPERAND_WIDTH, True), "normalised value")
    return operand_affine(z, constants.multiplier, constants.bias, spec.multiplier_shift,
                          BIAS_FRACTION)


def _normalised(x: np.ndarray, spec: RsqrtSpec) -> np.ndarray:
    """Return the normalised value z of rows."""
    channels = x.shape[-1]
    total = require(x.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    squares = require((x * x).sum(axis=-1, keepdims=True), spec.square_sum_format, "squares")
    spread = require(channels * squares - total * total, spec.spread_format, "spread")

    width = spec.spread_format.width
    steps = np.minimum((width - bit_length(spread)) >> 2, spec.most_steps)
    leading = spread << 4 * steps >> (width - MANTISSA_FORMAT.width - 2)
    low = leading <= MANTISSA_FORMAT.hi
    mantissa = np.where(low, leading, leading >> 2)

    y = (x * (channels << 2 * steps) >> spec.dropped) - (total << 2 * steps >> spec.dropped)
    y = require(y, Format(OPERAND_WIDTH, True), "deviation")
    z = (y * (reciprocal_root(mantissa) << low)) >> (ROOT_FORMAT.width - 1)
    return require(z, spec.normalised_format, "normalised value")


GOLDEN = Golden(spec=RsqrtSpec, constants=RsqrtConstants, derive=derive, function=layernorm,
                calibrate=calibrate, limits=(ErrorLimit(0.25, 0.0025),),
                variants={"s8 operand": RsqrtSpec(merged=True)})
