"""Reciprocal square root by table: numbers and golden model. Gates: `vitrtl.hw.row_statistics`."""

from math import isqrt

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, bit_length, require

__all__ = [
    "FACTOR_FORMAT",
    "INDEX_BITS",
    "ROOTS",
    "ROOT_FORMAT",
    "normalised_width",
    "reciprocal_root",
]

INDEX_BITS = 10
"""Leading bits of a normalised value that the table is read with: 1024 words, one block."""

ROOT_FORMAT = Format(16, False)
"""Format of a word of the table."""

FACTOR_FORMAT = Format(31, False)
"""Format of `2**31 / sqrt(v)`."""

ROOTS = np.array([ROOT_FORMAT.hi if index < 1 << INDEX_BITS - 2 else
                  (isqrt((1 << 43) // (2 * index + 1)) + 1) >> 1
                  for index in range(1 << INDEX_BITS)], np.int64)
"""`2**20 / sqrt(index + 1/2)`, rounded. One of the two leading bits is always set, but for the
value 0, which reads word 0."""
ROOTS.setflags(write=False)


def normalised_width(width: int) -> int:
    """Return the width, an even one, that values of `width` bits are normalised to."""
    return max(width + width % 2, INDEX_BITS)


def reciprocal_root(values: np.ndarray, width: int) -> np.ndarray:
    """Return about `2**31 / sqrt(v)` for values of `width` bits, unsigned.

    The value is shifted up in steps of two bits until one of its two leading bits is set; its ten
    leading bits are the index; the table's word is shifted back in steps of one bit.

    Shape
    -----
    Any, kept.

    Error
    -----
    At most one part in 1024, where the table and not the last shift limits it; half of that is
    the width of a step, at an index of 256. 0 gives all ones but the last 15 bits.
    """
    values = require(values, Format(width, False), "value")
    width = normalised_width(width)
    steps = np.minimum((width - bit_length(values)) >> 1, width // 2 - 1)
    index = values << 2 * steps >> width - INDEX_BITS
    return require(ROOTS[index] << 15 >> width // 2 - 1 - steps, FACTOR_FORMAT, "factor")
