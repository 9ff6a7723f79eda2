"""What the float baselines share: codes to real numbers, a float64 function, codes again."""

import dataclasses
from collections.abc import Callable
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, saturate
from vitrtl.sw.golden.unit import Golden, Register, VectorSpec, check_row, scale_of

__all__ = ["FloatConstants", "FloatRowSpec", "FloatSpec", "float_golden", "to_codes"]

FINEST = 40
"""Largest exponent of a result's scale."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatSpec(VectorSpec):
    """Numbers of a float baseline, which has no gates.

    Parameters
    ----------
    in_width : codes that are read, bits, signed.
    out_width : codes that are written, bits, signed: fine enough that their rounding is nothing
        beside that of the next operand.
    lanes : as every unit has.
    """

    in_width: int = 8
    out_width: int = 24

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(self.out_width, True)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="exponent", format=Format(6, False), address=0,
                         doc="the result has scale 2**-exponent"),
                Register(name="numerator", format=Format(32, False), address=1,
                         doc="of the input's scale"),
                Register(name="places", format=Format(6, False), address=2,
                         doc="binary places of the input's scale"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatRowSpec(FloatSpec):
    """The same for a function of a whole row."""

    rowwise: ClassVar[bool] = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatConstants:
    """The scales of one layer: input `numerator * 2**-places`, result `2**-exponent`."""

    exponent: int
    numerator: int
    places: int


def constants_of(in_scale: Fraction, exponent: int) -> FloatConstants:
    """Return the constants nearest to an input scale."""
    scale = scale_of(in_scale)
    places = 31 - (scale.numerator // scale.denominator).bit_length()
    return FloatConstants(exponent=exponent, numerator=round(scale * (1 << places)), places=places)


def float_golden(function: Callable[[np.ndarray], np.ndarray], largest: Callable[[float], float],
                 rowwise: bool) -> Golden:
    """Return the baseline of an operator without parameters.

    Parameters
    ----------
    function : float64 rows to float64 rows.
    largest : magnitude of the largest result, from that of the largest input.
    rowwise : whether a result depends on its whole row.
    """
    spec_kind = FloatRowSpec if rowwise else FloatSpec

    def derive(spec: FloatSpec, in_scale: Fraction) -> tuple[FloatConstants, Fraction]:
        """Choose the finest power of two at which the largest result fits."""
        top = Fraction(largest(float(scale_of(in_scale)) * -spec.in_format.lo))
        exponent = 0
        while exponent < FINEST and top * (2 << exponent) <= spec.out_format.hi:
            exponent += 1
        return constants_of(in_scale, exponent), Fraction(1, 1 << exponent)

    def apply(x: np.ndarray, spec: FloatSpec, constants: FloatConstants) -> np.ndarray:
        """Codes to float64, the function, codes again, rounded to nearest."""
        real = check_row(x, spec) * (constants.numerator * 2.0**-constants.places)
        return to_codes(function(real), spec, constants)

    return Golden(spec=spec_kind, constants=FloatConstants, derive=derive, function=apply)


def to_codes(real: np.ndarray, spec: FloatSpec, constants: Any) -> np.ndarray:
    """Return real results as codes of scale `2**-exponent`."""
    codes = np.rint(real * 2.0**constants.exponent)
    return saturate(codes, spec.out_format).astype(np.int64)
