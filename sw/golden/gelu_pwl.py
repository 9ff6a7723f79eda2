"""GELU as a rectifier less a bump of 16 lines: numbers and golden model.

Gates: `vitrtl.hw.gelu_pwl`.
"""

import dataclasses
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, round_shift, saturate
from vitrtl.sw.golden.operand_affine import OPERAND_FORMAT
from vitrtl.sw.golden.unit import (
    ErrorLimit,
    Golden,
    Register,
    VectorSpec,
    check_range,
    check_row,
    scale_of,
)

__all__ = ["BASES", "FRACTION", "GOLDEN", "INVERSE_FRACTION", "SEGMENT_WIDTH", "SLOPES",
           "SLOPE_FRACTION", "PwlConstants", "PwlSpec", "derive", "pwl_gelu"]

FRACTION = 10
"""Places after the point of the real value, of the bump and of the result."""
SLOPE_FRACTION = 9
"""Places after the point of a slope."""
SEGMENT_WIDTH = FRACTION - 2
"""Bits of the place inside a segment, which is a quarter long."""
SLOPES = (205, 110, 32, -23, -54, -65, -62, -50, -37, -25, -15, -8, -4, -2, -1, 0)
"""Chord of the bump over each segment from 0 to 4."""
BASES = (4, 106, 161, 176, 163, 136, 103, 72, 47, 28, 16, 9, 4, 2, 1, 0)
"""What the line starts from, for which its largest error over the segment is smallest."""
INVERSE_FRACTION = 9
"""Places after the point of the inverse of an output scale. The largest inverse is that of 2**-9,
at which the bump is less than 90 steps deep: a result can leave its format only above."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PwlSpec(VectorSpec):
    """Numbers of one piecewise linear GELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    range_width : bits before the point of the largest activation: it bounds the input scale from
        above.
    merged : whether the result is the next unit's s8 operand, at a scale that the export is given,
        or the real value, which a requantizer has to follow.
    lanes : elements per beat.
    """

    in_width: int = 8
    range_width: int = 6
    merged: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        # The real value goes through a multiplier block where its requantizer is merged.
        check_range("range_width", self.range_width, 3, 7 if self.merged else 8, "bits")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def gain_format(self) -> Format:
        """Format of the gain: what a multiplier block takes."""
        return Format(18, False)

    @property
    def gain_fraction(self) -> int:
        """Places after the point of the gain, so that that of the largest scale has 18 bits."""
        return self.gain_format.width + self.in_width - 2 - self.range_width

    @property
    def value_format(self) -> Format:
        """Format of the real value, `FRACTION` places after the point."""
        return Format(1 + self.range_width + FRACTION, True)

    @property
    def inverse_format(self) -> Format:
        """Format of the inverse of the output scale: what a multiplier block takes."""
        return Format(18, False)

    @property
    def merges_requantizer(self) -> bool:
        return self.merged

    @property
    def out_format(self) -> Format:
        return OPERAND_FORMAT if self.merged else self.value_format

    @property
    def registers(self) -> tuple[Register, ...]:
        gain = Register(name="gain", format=self.gain_format, address=0,
                        doc=f"round(S * 2**{self.gain_fraction})")
        inverse = Register(name="inverse", format=self.inverse_format, address=1,
                           doc=f"round(2**{INVERSE_FRACTION} / output scale)")
        return (gain, inverse) if self.merged else (gain,)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PwlConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    gain : the input scale in fixed point.
    inverse : that of the output scale, likewise; 0 without a merged requantizer.
    """

    gain: int
    inverse: int = 0


def derive(spec: PwlSpec, in_scale: Fraction,
           out_scale: Fraction | None = None) -> tuple[PwlConstants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`.

    Parameters
    ----------
    out_scale : wanted scale of the result where the requantizer is merged; the input's if none is
        given. The scale that comes out is the nearest one whose inverse the unit can hold, and
        exactly that.

    Raises
    ------
    ValueError
        If the scale is so large that an activation leaves its range.
    """
    in_scale = scale_of(in_scale)
    largest = Fraction(1 << spec.range_width, 1 << (spec.in_width - 1))
    if in_scale > largest:
        raise ValueError(f"scale must be at most {float(largest)} for activations of "
                         f"{spec.range_width} bits before the point, not {float(in_scale)}")
    gain = round(in_scale * (1 << spec.gain_fraction))
    if not spec.merged:
        return PwlConstants(gain=gain), Fraction(1, 1 << FRACTION)
    out_scale = in_scale if out_scale is None else scale_of(out_scale, "out_scale")
    one = Fraction(1 << INVERSE_FRACTION)
    inverse = min(max(round(one / out_scale), 1), spec.inverse_format.hi)
    return PwlConstants(gain=gain, inverse=inverse), one / inverse


def pwl_gelu(x: np.ndarray, spec: PwlSpec, constants: PwlConstants) -> np.ndarray:
    """GELU as `max(v, 0) - h(|v|)`, with the bump `h(u) = u * Phi(-u)` in 16 lines from 0 to 4.

    `v = (x * gain) >> (gain_fraction - FRACTION)`, `u = v` or, below zero, `-v - 1`; with the
    segment `k = u >> SEGMENT_WIDTH` and the place `r` in it,
    `h = BASES[k] + ((SLOPES[k] * r) >> SLOPE_FRACTION)`, and 0 from 4 on. With the requantizer
    merged, this difference times `inverse`, rounded to the nearest output, ties upward, and
    saturated.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`1 + range_width + FRACTION`, scale `2**-FRACTION` for every layer; to s8 at
    the scale that `derive` gives, if `merged`.

    Error
    -----
    At most 0.0045 for every scale up to the largest and every code; 0.0031 of it is the first
    line's. If `merged`, half an output step more, wherever the output does not saturate. Upheld
    by `tests/unit/golden/test_gelu_pwl.py`.

    Source
    ------
    Ours.
    """
    x = check_row(x, spec)
    value = (x * constants.gain) >> (spec.gain_fraction - FRACTION)
    require(value, spec.value_format, "value")
    magnitude = np.where(value < 0, ~value, value)
    segment = np.minimum(magnitude >> SEGMENT_WIDTH, len(BASES))
    slope, base = np.array((*SLOPES, 0))[segment], np.array((*BASES, 0))[segment]
    bump = base + ((slope * (magnitude & ((1 << SEGMENT_WIDTH) - 1))) >> SLOPE_FRACTION)
    result = require(np.maximum(value, 0) - bump, spec.value_format, "result")
    if not spec.merged:
        return result
    return saturate(round_shift(result * constants.inverse, FRACTION + INVERSE_FRACTION),
                    spec.out_format)


GOLDEN = Golden(spec=PwlSpec, constants=PwlConstants, derive=derive, function=pwl_gelu,
                limits=(ErrorLimit(0.25, 0.0045),),
                variants={"s8 operand": PwlSpec(merged=True)})
