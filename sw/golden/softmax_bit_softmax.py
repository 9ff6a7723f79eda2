"""Bit-Softmax of IPTQ-ViT: numbers and golden model. Gates: `vitrtl.hw.softmax_bit_softmax`."""

import dataclasses
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden import softmax_shiftmax
from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.shift_exp import (
    TANGENTS,
    Line,
    ShiftExpConstants,
    shift_exp,
    times_log2e,
)
from vitrtl.sw.golden.softmax_shiftmax import ShiftmaxSpec
from vitrtl.sw.golden.unit import ErrorLimit, Golden, check_range, check_row

__all__ = ["GOLDEN", "BitSoftmaxSpec", "bit_softmax", "derive"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitSoftmaxSpec(ShiftmaxSpec):
    """Numbers of one Bit-Softmax unit.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    out_bits : k of the paper; the result is unsigned at scale `2**-(k-1)`.
    n : octaves below the row's maximum that are told apart, as in I-ViT.
    i0_width : bits of `I0`, the codes in one octave: it bounds the input scale from below.
    longest_row : elements that the row buffers hold.
    rounding : how the octave is rounded, `nearest` or `floor`; the paper does not say.
    quotient_bits : M of the paper, which does not give it: the sum is divided into `2**M - 1`.
        31 makes the reciprocal that of Shiftmax.
    lanes : elements per beat.
    """

    rounding: str = "nearest"
    quotient_bits: int = 31

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("n", self.n, self.line.places, 15)
        # The reciprocal has at most 18 bits, and no bit of a result is below it.
        check_range("quotient_bits", self.quotient_bits,
                    self.out_bits - 1 + self.n - self.line.places, min(31, self.n + 18), "bits")

    @property
    def line(self) -> Line:
        """Line that stands for the exponential in an octave."""
        if self.rounding not in TANGENTS:
            raise ValueError(f"rounding must be {' or '.join(TANGENTS)}, not {self.rounding!r}")
        return TANGENTS[self.rounding]

    @property
    def magnitude_width(self) -> int:
        """Bits of `-p`, and half an octave more, which rounds it to the nearest."""
        largest = -times_log2e(-self.largest_distance)
        return (largest + (((1 << self.i0_width) - 1) >> 1)).bit_length()

    @property
    def mantissa_format(self) -> Format:
        """Format of `u`: at most `16 * I0`, or `21.5 * I0` where r takes both signs."""
        return Format(self.i0_width + self.line.places + self.line.nearest, False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**M - 1) / sum)`; the sum is at least `2**n`."""
        return Format(self.quotient_bits - self.n, False)


def derive(spec: BitSoftmaxSpec, in_scale: Fraction) -> tuple[ShiftExpConstants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `in_scale`: those of Shiftmax.

    Raises
    ------
    ValueError
        If the scale is so small that `I0` does not fit its width.
    """
    return softmax_shiftmax.derive(spec, in_scale)


def bit_softmax(x: np.ndarray, spec: BitSoftmaxSpec, constants: ShiftExpConstants) -> np.ndarray:
    """Softmax of each row: `out = (E * floor((2**M - 1) / sum E)) >> (M - (k-1))`.

    With p, q and r as in Shiftmax, q rounded as the spec says:
    `E = (((I0 << 4) + 11 * r) << (n - q)) >> 4`, the tangent `1 + 0.6875 * r / I0`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits - 1`, scale `2**-(out_bits - 1)`.

    Error
    -----
    At most 0.065 for scales up to 0.05, 0.13 up to 0.1 and 0.34 up to 0.25, reached where `1/S`
    is just above a whole number, so that `I0` is nearly a code too large: 0.01 at scale 0.05 and
    0.03 at 0.25. Upheld by `tests/unit/golden/test_softmax_bit_softmax.py`.

    Source
    ------
    IPTQ-ViT, section 4.4 and equation 15, with `2**M - 1` for `2**M`, which differs only for a
    sum that is a power of two, whose result would not fit. The code is not public.
    """
    x = check_row(x, spec)
    distance = x - x.max(axis=-1, keepdims=True)
    e = require(shift_exp(distance, constants.i0, spec.n, spec.line), spec.exp_format,
                "exponential")
    total = require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    numerator = (1 << spec.quotient_bits) - 1
    factor = require(numerator // np.minimum(total, 2**31 - 1), spec.factor_format, "factor")
    return require((e * factor) >> (spec.quotient_bits - spec.out_bits + 1), spec.out_format,
                   "output")


GOLDEN = Golden(spec=BitSoftmaxSpec, constants=ShiftExpConstants, derive=derive,
                function=bit_softmax,
                variants={"octave by floor": BitSoftmaxSpec(rounding="floor")},
                limits=(ErrorLimit(0.05, 0.065), ErrorLimit(0.1, 0.13), ErrorLimit(0.25, 0.34)))
