"""Integer formats, rounding and saturation: the rules every golden function obeys."""

from typing import NamedTuple

import numpy as np

__all__ = ["Format", "WidthError", "bit_length", "floor_sqrt", "require", "round_div_even",
           "round_shift", "round_shift_even", "saturate"]


class WidthError(ValueError):
    """An integer does not fit the width that its unit declares for it."""


class Format(NamedTuple):
    """Integer format: `s8` holds -128..127, `u16` holds 0..65535.

    Parameters
    ----------
    width : bits, sign bit included.
    signed : two's complement if true.
    """

    width: int
    signed: bool

    @property
    def lo(self) -> int:
        """Smallest value."""
        return -(1 << (self.width - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        """Largest value."""
        return (1 << (self.width - self.signed)) - 1

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.width}"

    @classmethod
    def parse(cls, text: str) -> "Format":
        """Read the name that `str` gives: `s8`, `u16`."""
        if text[:1] not in ("s", "u") or not text[1:].isdigit():
            raise ValueError(f"format must be written like s8 or u16, not {text!r}")
        return cls(int(text[1:]), text[0] == "s")


def require(values: np.ndarray, fmt: Format, what: str) -> np.ndarray:
    """Return `values` if all of them fit `fmt`.

    Raises
    ------
    WidthError
        Naming `what`, the format and the first value outside it.
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        raise TypeError(f"{what} must be integers, not {values.dtype}")
    if values.size and (values.min() < fmt.lo or values.max() > fmt.hi):
        bad = values[(values < fmt.lo) | (values > fmt.hi)].flat[0]
        raise WidthError(f"{what} must fit {fmt} ({fmt.lo}..{fmt.hi}), not {bad}")
    return values


def saturate(values: np.ndarray, fmt: Format) -> np.ndarray:
    """Clamp to the range of `fmt`.  Shape: any, kept."""
    return np.clip(values, fmt.lo, fmt.hi)


def round_shift(values: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Divide by `2**shift`, ties upward: `(v + 2**(shift-1)) >> shift`; `shift` >= 1."""
    return ((values >> (shift - 1)) + 1) >> 1


def round_shift_even(values: np.ndarray, shift: np.ndarray | int) -> np.ndarray:
    """Divide by `2**shift`, ties to even; `shift` >= 1."""
    floor = values >> shift
    rest = values - (floor << shift)
    half = np.left_shift(np.int64(1), np.asarray(shift, dtype=np.int64) - 1)
    return floor + ((rest > half) | ((rest == half) & ((floor & 1) == 1)))


def round_div_even(numerator: np.ndarray, denominator: np.ndarray | int) -> np.ndarray:
    """Divide by a positive integer, ties to even."""
    floor = numerator // denominator
    rest2 = 2 * (numerator - floor * denominator)
    return floor + ((rest2 > denominator) | ((rest2 == denominator) & ((floor & 1) == 1)))


def bit_length(values: np.ndarray) -> np.ndarray:
    """Number of bits of each non-negative integer, 0 for 0."""
    values = np.asarray(values, dtype=np.int64).copy()
    bits = np.zeros_like(values)
    for step in (32, 16, 8, 4, 2, 1):
        above = values >> step > 0
        bits += above * step
        values = np.where(above, values >> step, values)
    return bits + (values > 0)


def floor_sqrt(values: np.ndarray) -> np.ndarray:
    """Largest integer whose square is not above each value.

    Newton's iteration `k <- (k + v // k) >> 1` from the power of two above the root, which is
    monotone, stopped where it no longer falls: at that point `k` is the floor of the root.
    """
    values = np.asarray(values, dtype=np.int64)
    root = np.left_shift(np.int64(1), (bit_length(values) + 1) >> 1)
    while True:
        lower = (root + values // np.maximum(root, 1)) >> 1
        falls = lower < root
        if not falls.any():
            return np.where(values > 0, root, 0)
        root = np.where(falls, lower, root)
