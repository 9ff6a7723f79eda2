"""E2Softmax of SOLE: numbers and golden model. Gates: `vitrtl.hw.softmax_e2`."""

import dataclasses
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, bit_length, require
from vitrtl.sw.golden.power_scale import (
    PowerScaleConstants,
    PowerScaleSpec,
    aligned,
    exponent_of,
    fit_scale,
)
from vitrtl.sw.golden.shift_exp import times_log2e
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register, check_range, check_row, scale_of

__all__ = ["GOLDEN", "E2Constants", "E2Spec", "derive", "e2_softmax"]

CODE_FORMAT = Format(4, False)
"""Format of the log2 code of an exponential."""
FRACTION = CODE_FORMAT.hi
"""Fraction bits of the sum of exponentials: the smallest counts one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class E2Spec(PowerScaleSpec):
    """Numbers of one E2Softmax unit.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    finest : largest k of the input scale `2**-k`; codes are aligned to `2**-finest`.
    longest_row : elements that the row buffers hold.
    out_bits : result, bits, unsigned, all of them fraction.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True
    exp_format: ClassVar[Format] = Format(FRACTION + 1, False)
    """Format of one exponential where they are summed, up to `2**15`."""

    out_bits: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("out_bits", self.out_bits, 4, 16, "bits")

    @property
    def out_format(self) -> Format:
        return Format(self.out_bits, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row."""
        return Format(self.exp_format.width + (self.longest_row - 1).bit_length(), False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (
            self.exponent_register,
            Register(name="low", format=self.out_format, address=1,
                     doc="1/m in output codes for a sum m * 2**L with m in [1, 1.5)"),
            Register(name="high", format=self.out_format, address=2,
                     doc="1/m in output codes for m in [1.5, 2)"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class E2Constants(PowerScaleConstants):
    """Run-time integers of one layer.

    Parameters
    ----------
    exponent : k of the scale `2**-k`.
    low, high : reciprocal of a sum's mantissa below and from 1.5 on, in output codes.
    """

    low: int
    high: int


def derive(spec: E2Spec, in_scale: Fraction, low: Any = Fraction(818, 1000),
           high: Any = Fraction(568, 1000)) -> tuple[E2Constants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `2**-k`.

    Parameters
    ----------
    low, high : what stands for the reciprocal of a sum's mantissa in [1, 1.5) and in [1.5, 2).

    Raises
    ------
    ValueError
        If the scale is not such a power of two, or a reciprocal not in [1/2, 1).
    """
    exponent = exponent_of(spec, in_scale)
    codes = {}
    for name, value in (("low", low), ("high", high)):
        value = scale_of(value, name)
        codes[name] = round(value * (1 << spec.out_bits))
        if value < Fraction(1, 2) or codes[name] > spec.out_format.hi:
            raise ValueError(f"{name} must be in [1/2, 1) after rounding to {spec.out_bits} bits, "
                             f"not {float(value)}")
    return E2Constants(exponent=exponent, **codes), Fraction(1, 1 << spec.out_bits)


def e2_softmax(x: np.ndarray, spec: E2Spec, constants: E2Constants) -> np.ndarray:
    """Softmax of each row in powers of two: `out = (low or high) >> (code + L)`.

    With the distance d below the maximum aligned to `2**-K`, K being `finest`:
    `code = min(-floor((d + (d >> 1) - (d >> 4)) / 2**K), 15)`, and `2**L` the largest power of
    two in the sum of `2**-code`, whose next bit chooses the reciprocal of its mantissa.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits`, scale `2**-out_bits`.

    Error
    -----
    At most 0.26 at each of its scales, with 8 bits as with 16: a code is up to an octave, and a
    row of one element gets 0.82. Upheld by `tests/unit/golden/test_softmax_e2.py`.

    Source
    ------
    SOLE, E2Softmax. The two reciprocals 0.818 and 0.568 are not certain to us.
    """
    x = check_row(x, spec)
    d = aligned(x - x.max(axis=-1, keepdims=True), spec, constants)
    octaves = -(times_log2e(d) >> spec.finest)
    code = require(np.minimum(octaves, CODE_FORMAT.hi), CODE_FORMAT, "code")
    e = require((1 << FRACTION) >> code, spec.exp_format, "exponential")
    total = require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    leading = bit_length(total) - 1
    next_bit = (total >> (leading - 1)) & 1
    reciprocal = np.where(next_bit, constants.high, constants.low)
    return require(reciprocal >> (code + leading - FRACTION), spec.out_format, "output")


GOLDEN = Golden(spec=E2Spec, constants=E2Constants, derive=derive, function=e2_softmax,
                fit_scale=fit_scale, limits=(ErrorLimit(1, 0.26),))
