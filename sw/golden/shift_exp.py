"""Power-of-two exponential: octaves, and a line in each. Gates: `vitrtl.hw.shift_exp`.

I-ViT's ShiftExp has the chord of an octave, the Bit-Softmax of IPTQ-ViT a tangent.
"""

import dataclasses
from fractions import Fraction
from math import ceil

import numpy as np

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Register, VectorSpec, check_range

__all__ = ["CHORD", "TANGENTS", "Line", "ShiftExpConstants", "ShiftExpSpec", "i0_of",
           "reciprocal_of", "reciprocal_shift", "shift_exp", "shift_exp_parts",
           "shift_exp_registers", "times_log2e"]


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """What stands for `2**x` in an octave: `1 + slope * x / 2**places`.

    Parameters
    ----------
    slope, places : dyadic slope.
    nearest : x is in [-1/2, 1/2], from the octave's middle, and not in (-1, 0].
    """

    slope: int
    places: int
    nearest: bool = False


CHORD = Line(slope=1, places=1)
"""I-ViT: right at both ends of the octave."""

TANGENTS = {"floor": Line(slope=11, places=4), "nearest": Line(slope=11, places=4, nearest=True)}
"""IPTQ-ViT: 0.6875 for ln 2, by how the octave is rounded, which the paper leaves open."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftExpSpec(VectorSpec):
    """Numbers that units with this exponential share, if their octave is a run-time constant.

    A subclass has a field `i0_width`, the bits of `I0`.

    Parameters
    ----------
    in_width : input codes, bits, signed.
    lanes : elements per beat.
    """

    in_width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def largest_distance(self) -> int:
        """Codes from the smallest element to the largest one."""
        return (1 << self.in_width) - 1

    @property
    def magnitude_width(self) -> int:
        """Bits of `-p`: the distance times 1.4375."""
        return (-times_log2e(-self.largest_distance)).bit_length()

    @property
    def reciprocal_shift(self) -> int:
        """Shift after the multiplication that stands for the division by `I0`."""
        return reciprocal_shift(self.magnitude_width, self.i0_width)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftExpConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    i0 : codes in one octave.
    reciprocal : stands for the division by `i0` in the gates.
    """

    i0: int
    reciprocal: int


def shift_exp_registers(i0_width: int, reciprocal_width: int,
                        i0_doc: str) -> tuple[Register, ...]:
    """Return the registers of `ShiftExpConstants`."""
    return (
        Register(name="i0", format=Format(i0_width, False), address=0, doc=i0_doc),
        Register(name="reciprocal", format=Format(reciprocal_width, False), address=1,
                 doc="ceil(2**shift / I0), which replaces the division by I0"),
    )


def i0_of(scale: Fraction) -> int:
    """Return `I0 = -floor(-1/S)`: the number of input codes in one octave, frozen at export."""
    return ceil(1 / scale)


def reciprocal_shift(magnitude_width: int, i0_width: int) -> int:
    """Return the shift for which `(v * reciprocal) >> shift` is `v // i0`, for every v and i0.

    Granlund and Montgomery (PLDI 1994, theorem 4.2): enough as soon as the shift is the sum of
    the two widths.
    """
    return magnitude_width + i0_width


def reciprocal_of(i0: int, magnitude_width: int, i0_width: int) -> int:
    """Return the multiplier that replaces the division by `i0` in the gates, rounded up."""
    return -(-(1 << reciprocal_shift(magnitude_width, i0_width)) // i0)


def times_log2e(distance: np.ndarray | int) -> np.ndarray | int:
    """Return the distance times 1.4375, for log2(e), by shifts that round down."""
    return distance + (distance >> 1) - (distance >> 4)


def shift_exp_parts(distance: np.ndarray, i0: int, n: int,
                    line: Line = CHORD) -> tuple[np.ndarray, np.ndarray]:
    """Split `exp(S * distance)` into `(u << (n - q)) >> places`, where `u` is `I0 << places` at 0.

    With `p = d + (d >> 1) - (d >> 4)`, `p = max(p, -n*I0)`, `q` the quotient of `p` and `-I0`,
    rounded as the line wants it, and `r = p + I0*q`: `u = (I0 << places) + slope * r`, so that
    the line at `r / I0` stands for `2**(r/I0)`. The chord gives `I0 < u <= 2*I0`. A positive
    distance gives a negative `q`.

    Source
    ------
    I-ViT, Algorithm 1 and equations 12 to 14, as in the official PyTorch code: the half bit of
    `r / 2` is kept until after the shift, and so are the four of IPTQ-ViT's
    `(r >> 1) + (r >> 3) + (r >> 4)`.
    """
    p = np.maximum(times_log2e(distance), -n * i0)
    q = (-p + (i0 >> 1 if line.nearest else 0)) // i0
    return (i0 << line.places) + line.slope * (p + i0 * q), q


def shift_exp(distance: np.ndarray, i0: int, n: int, line: Line = CHORD) -> np.ndarray:
    """Return `exp(S * distance) * I0 * 2**n` for distances at or below zero."""
    u, q = shift_exp_parts(distance, i0, n, line)
    return (u << (n - q)) >> line.places
