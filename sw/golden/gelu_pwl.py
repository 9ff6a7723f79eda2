"""GELU as a rectifier less a bump of 16 lines: numbers and golden model.

Gates: `vitrtl.hw.gelu_pwl`.
"""

import dataclasses
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.unit import (
    ErrorLimit,
    Golden,
    Register,
    VectorSpec,
    check_range,
    check_row,
    scale_of,
)

__all__ = ["BASES", "FRACTION", "GOLDEN", "SEGMENT_WIDTH", "SLOPES", "SLOPE_FRACTION",
           "PwlConstants", "PwlSpec", "derive", "pwl_gelu"]

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class PwlSpec(VectorSpec):
    """Numbers of one piecewise linear GELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    range_width : bits before the point of the largest activation: it bounds the input scale from
        above.
    lanes : elements per beat.
    """

    in_width: int = 8
    range_width: int = 6

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("range_width", self.range_width, 3, 8, "bits")

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
    def out_format(self) -> Format:
        return self.value_format

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="gain", format=self.gain_format, address=0,
                         doc=f"round(S * 2**{self.gain_fraction})"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PwlConstants:
    """Run-time integer of one layer: the input scale in fixed point."""

    gain: int


def derive(spec: PwlSpec, in_scale: Fraction) -> tuple[PwlConstants, Fraction]:
    """Freeze the constant of a layer whose input has scale `in_scale`.

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
    return PwlConstants(gain=gain), Fraction(1, 1 << FRACTION)


def pwl_gelu(x: np.ndarray, spec: PwlSpec, constants: PwlConstants) -> np.ndarray:
    """GELU as `max(v, 0) - h(|v|)`, with the bump `h(u) = u * Phi(-u)` in 16 lines from 0 to 4.

    `v = (x * gain) >> (gain_fraction - FRACTION)`, `u = v` or, below zero, `-v - 1`; with the
    segment `k = u >> SEGMENT_WIDTH` and the place `r` in it,
    `h = BASES[k] + ((SLOPES[k] * r) >> SLOPE_FRACTION)`, and 0 from 4 on.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`1 + range_width + FRACTION`, scale `2**-FRACTION` for every layer.

    Error
    -----
    At most 0.0045 for every scale up to the largest and every code; 0.0031 of it is the first
    line's. Upheld by `tests/unit/golden/test_gelu_pwl.py`.

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
    return require(np.maximum(value, 0) - bump, spec.out_format, "output")


GOLDEN = Golden(spec=PwlSpec, constants=PwlConstants, derive=derive, function=pwl_gelu,
                limits=(ErrorLimit(0.25, 0.0045),))
