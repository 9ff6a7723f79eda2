"""Poly-GELU of IPTQ-ViT: numbers and golden model. Gates: `vitrtl.hw.gelu_poly4`."""

import dataclasses
from fractions import Fraction
from math import isqrt

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

__all__ = ["CURVATURE", "GOLDEN", "SATURATION", "Poly4Constants", "Poly4Spec", "derive",
           "poly4_gelu"]

CURVATURE = Fraction(-19913, 10**6)
"""a of `L(u) = sgn(u) * (a * (min(|u|, -b) + b)**4 + 1)`, which stands for erf."""
SATURATION = Fraction(-2698088, 10**6)
"""b: minus where the polynomial reaches one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poly4Spec(VectorSpec):
    """Numbers of one Poly-GELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    inner_width : bits of the distance below the knee, of its powers and of the weight, all of
        them fraction.
    gain_width : bits of the gain: it bounds the input scale from above.
    lanes : elements per beat.
    """

    in_width: int = 8
    inner_width: int = 14
    gain_width: int = 15

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 4, 8, "bits")
        check_range("inner_width", self.inner_width, 8, 18, "bits")
        check_range("gain_width", self.gain_width, 8, 18, "bits")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def gain_format(self) -> Format:
        return Format(self.gain_width, False)

    @property
    def gain_fraction(self) -> int:
        """Places after the point of the gain."""
        return self.inner_width + self.in_width - 4

    @property
    def inner_format(self) -> Format:
        """Format of the knee, of the distance below it, of its powers and of the weight."""
        return Format(self.inner_width, False)

    @property
    def distance_format(self) -> Format:
        """Format of the distance before it ends at zero."""
        return Format(self.gain_width + 4, True)

    @property
    def out_format(self) -> Format:
        return Format(self.in_width + self.inner_width, True)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (
            Register(name="knee", format=self.inner_format, address=0,
                     doc="(-a / 2)**(1/4) * -b: how far the knee lies from zero"),
            Register(name="gain", format=self.gain_format, address=1,
                     doc=f"(-a / 2)**(1/4) * S / sqrt(2) * 2**{self.gain_fraction}"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poly4Constants:
    """Run-time integers of one layer: where the polynomial saturates, and the input scale, both
    times the fourth root of half the curvature.
    """

    knee: int
    gain: int


def derive(spec: Poly4Spec, in_scale: Fraction, a: Fraction = CURVATURE,
           b: Fraction = SATURATION) -> tuple[Poly4Constants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`.

    Parameters
    ----------
    a, b : coefficients of the polynomial.

    Raises
    ------
    ValueError
        If the scale is so large that the gain does not fit its width, or if the coefficients are
        not those of a sigmoid.
    """
    in_scale = scale_of(in_scale)
    if not (a < 0 and b < 0 and -a * b**4 < 2):
        raise ValueError("a and b must be negative with a * b**4 above -2, "
                         f"not {float(a)} and {float(b)}")
    half = Fraction(-a) / 2
    knee = _fourth_root(half * b**4 * (1 << 4 * spec.inner_width))
    gain = _fourth_root(half * in_scale**4 / 4 * (1 << 4 * spec.gain_fraction))
    if gain > spec.gain_format.hi:
        raise ValueError(f"scale must be smaller for a gain of {spec.gain_width} bits, "
                         f"not {float(in_scale)}")
    return (Poly4Constants(knee=min(knee, spec.inner_format.hi), gain=gain),
            in_scale / (1 << spec.inner_width))


def _fourth_root(value: Fraction) -> int:
    """Return the integer nearest to the fourth root."""
    return (isqrt(isqrt(int(16 * value))) + 1) >> 1


def poly4_gelu(x: np.ndarray, spec: Poly4Spec, constants: Poly4Constants) -> np.ndarray:
    """GELU by a quartic erf: `out = x * P` below zero and `x * (1 - P)` from there on.

    `P = max(knee - |x| * gain, 0)**4` is `(1 - |L(x / sqrt(2))|) / 2`: the fourth root of `-a / 2`
    is in both constants, so that the powers need no coefficient.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`in_width + inner_width`, scale `S * 2**-inner_width`.

    Error
    -----
    At most 0.0096 for every scale from 0.01 to 0.25 and every code; 0.0093 of it is the
    polynomial's. Upheld by `tests/unit/golden/test_gelu_poly4.py`.

    Source
    ------
    IPTQ-ViT, section 4.3. It states no widths and no integer form of the coefficients.
    """
    x = check_row(x, spec)
    below = constants.knee - ((np.abs(x) * constants.gain)
                              >> (spec.gain_fraction - spec.inner_width))
    distance = np.maximum(require(below, spec.distance_format, "distance"), 0)
    square = (distance * distance) >> spec.inner_width
    power = require((square * square) >> spec.inner_width, spec.inner_format, "power")
    weight = np.where(x < 0, power, spec.inner_format.hi - power)
    return require(x * weight, spec.out_format, "output")


GOLDEN = Golden(spec=Poly4Spec, constants=Poly4Constants, derive=derive, function=poly4_gelu,
                limits=(ErrorLimit(0.25, 0.0096),))
