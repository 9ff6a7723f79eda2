"""Power-of-two exponential of I-ViT, of Shiftmax and ShiftGELU. Gates: `vitrtl.hw.shift_exp`."""

import dataclasses
from fractions import Fraction
from math import ceil

import numpy as np

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Register

__all__ = ["ShiftExpConstants", "i0_of", "reciprocal_of", "reciprocal_shift", "shift_exp",
           "shift_exp_parts", "shift_exp_registers"]


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


def shift_exp_parts(distance: np.ndarray, i0: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Split `exp(S * distance)` into `(u << (n - q)) >> 1` with `I0 < u <= 2*I0`.

    With `p = d + (d >> 1) - (d >> 4)`, `p = max(p, -n*I0)`, `q = floor(p / -I0)` and
    `r = p + I0*q` in `(-I0, 0]`: `u = r + 2*I0`, so that the chord `1 + r/(2*I0)` stands for
    `2**(r/I0)`. A positive distance gives a negative `q`.

    Source
    ------
    I-ViT, Algorithm 1 and equations 12 to 14, as in the official PyTorch code: the half bit of
    `r / 2` is kept until after the shift.
    """
    p = distance + (distance >> 1) - (distance >> 4)
    p = np.maximum(p, -n * i0)
    q = (-p) // i0
    return p + i0 * q + 2 * i0, q


def shift_exp(distance: np.ndarray, i0: int, n: int) -> np.ndarray:
    """Return `exp(S * distance) * I0 * 2**n` for distances at or below zero."""
    u, q = shift_exp_parts(distance, i0, n)
    return (u << (n - q)) >> 1
