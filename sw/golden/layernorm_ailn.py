"""AILayerNorm of SOLE: numbers and golden model. Gates: `vitrtl.hw.layernorm_ailn`."""

import dataclasses
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, saturate
from vitrtl.sw.golden.ptf import (
    Z_FORMAT,
    PtfConstants,
    PtfSpec,
    affine,
    calibrate,
    derive,
    encode,
    normalised,
)
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "SQUARES", "AilnSpec", "compressed_squares", "layernorm"]

SQUARES = np.array([4 * c * c + 3 * c + 1 for c in range(16)], np.int64)
"""A quarter of the square of each compressed magnitude."""
SQUARES.setflags(write=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class AilnSpec(PtfSpec):
    """Numbers of one AILayerNorm.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the memories hold.
    lanes : elements per beat.
    """

    exact_squares: ClassVar[bool] = False


def compressed_squares(q: np.ndarray) -> np.ndarray:
    """Return squares of s8 codes from four bits of their magnitude.

    Magnitudes from 64 on keep their bits above the fourth, others those above the second. The
    table holds the mean of the squares of 4*c to 4*c + 3, rounded to a multiple of four.
    """
    magnitude = np.abs(q)
    coarse = magnitude >= 64
    c = require(magnitude >> np.where(coarse, 4, 2), Format(4, False), "compressed magnitude")
    return SQUARES[c] << np.where(coarse, 6, 2)


def layernorm(x: np.ndarray, spec: AilnSpec, constants: PtfConstants) -> np.ndarray:
    """Normalise each row of 8-bit codes, its variance from squares of four bits.

    As `vitrtl.sw.golden.layernorm_ptf`, but for the squares; and as their sum may be less than
    that of the squared deviations, V is at least 0 and the normalised value saturates.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s8 at the scale that `derive` gives.

    Error
    -----
    See `GOLDEN.limits`: that of `layernorm_ptf`, and a relative one, of the squares. A mean far
    from zero magnifies it. Upheld by `tests/unit/golden/test_layernorm_ailn.py`.

    Source
    ------
    SOLE (ICCAD 2023), AILayerNorm, on the codes of FQ-ViT.
    """
    q = encode(x, spec, constants)
    squares = compressed_squares(q) << 2 * constants.alpha
    z = normalised(q, squares, spec, constants)
    return affine(saturate(z, Z_FORMAT), spec, constants)


GOLDEN = Golden(spec=AilnSpec, constants=PtfConstants, derive=derive, function=layernorm,
                calibrate=calibrate, limits=(ErrorLimit(0.25, 4.2),))
