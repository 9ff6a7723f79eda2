"""Softmax to base two by two small tables: numbers and golden model.

Gates: `vitrtl.hw.softmax_exp2`.
"""

import dataclasses
from collections.abc import Iterable
from fractions import Fraction
from math import isqrt
from typing import ClassVar

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

__all__ = ["COARSE", "COARSE_FORMAT", "EXP_FORMAT", "FINE", "FINEST", "FINE_FORMAT", "GOLDEN",
           "NUMERATOR", "OCTAVES_FORMAT", "OCTAVES_PLACES", "PRODUCT_BITS", "SPARE_BITS",
           "Exp2Constants", "Exp2Spec", "derive", "exp2_softmax", "exponential", "factor_of"]

LOG2_E = Fraction("1.442695040888963407359924681002")
OCTAVES_FORMAT = Format(18, False)
"""Format of the octaves that one code is; with the places below, less than two."""
OCTAVES_PLACES = 17
OCTAVES = 16
"""From so many octaves below the row's maximum on, an exponential is zero."""
EXP_FORMAT = Format(17, False)
"""Format of one exponential without its half; that of the row's maximum is 131006."""
FACTOR_FORMAT = Format(18, False)
"""Format of the factor; the sum is at least twice 131006."""
SPARE_BITS = 6
"""Lowest bits of the sum, by which it is rounded up: a factor is too small by less than 1/4096."""
NUMERATOR = 2**29 - 1
"""What the sum without those bits is divided into."""
PRODUCT_BITS = 35
"""Twice an exponential times the factor is a probability with so many bits after the point."""
FINEST = 16
"""Bits of a result before some are dropped."""
COARSE_FORMAT = Format(16, False)
FINE_FORMAT = Format(11, False)


def _powers(exponents: Iterable[int], steps: int, fmt: Format) -> tuple[int, ...]:
    """Return `2**(-i / steps)` for some i, to nearest, one being all ones.

    Parameters
    ----------
    steps : a power of two.
    """
    powers = []
    for i in exponents:
        root = 1 << ((fmt.width + 1) * steps - i)
        for _ in range(steps.bit_length() - 1):
            root = isqrt(root)
        powers.append(min((root + 1) >> 1, fmt.hi))
    return tuple(powers)


COARSE = _powers(range(16), 16, COARSE_FORMAT)
"""Sixteenths of an octave."""
FINE = _powers([0, *range(3, 33, 2)], 512, FINE_FORMAT)
"""Sixteenths of those, each by its middle but for the first, which the maximum has."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exp2Spec(VectorSpec):
    """Numbers of one base-two softmax unit.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    out_bits : k; the result is unsigned at scale `2**-k`.
    carry : whether what an element drops below `2**-k` is added to the next one of its lane.
    longest_row : elements that the row buffers hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    in_width: int = 8
    out_bits: int = 16
    carry: bool = False
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("out_bits", self.out_bits, 4, FINEST, "bits")
        check_range("longest_row", self.longest_row, 1, 1024, "elements")

    @property
    def depends_on_lanes(self) -> bool:
        return self.carry

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(self.out_bits, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row."""
        return Format(EXP_FORMAT.width + 1 + (self.longest_row - 1).bit_length(), False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor((2**29 - 1) / ceil(sum / 64))`."""
        return FACTOR_FORMAT

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="octaves", format=OCTAVES_FORMAT, address=0,
                         doc="octaves that one code is, round(S * log2(e) * 2**17)"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Exp2Constants:
    """Run-time integers of one layer.

    Parameters
    ----------
    octaves : octaves that one code is, with 17 places.
    """

    octaves: int


def derive(spec: Exp2Spec, in_scale: Fraction) -> tuple[Exp2Constants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `in_scale`.

    Raises
    ------
    ValueError
        If a code is two octaves or more, or too few for the places.
    """
    scale = scale_of(in_scale)
    octaves = round(scale * LOG2_E * 2**OCTAVES_PLACES)
    if not 1 <= octaves <= OCTAVES_FORMAT.hi:
        raise ValueError(f"scale must be 0.0000027 to 1.386, not {float(scale)}")
    return Exp2Constants(octaves=octaves), Fraction(1, 1 << spec.out_bits)


def exponential(below: np.ndarray, constants: Exp2Constants) -> np.ndarray:
    """Return E of each distance below the row's maximum.  Shape: any, kept."""
    p = np.maximum(below * constants.octaves - 1, 0)
    q = np.minimum(p >> OCTAVES_PLACES, OCTAVES)
    i = (p >> (OCTAVES_PLACES - 4)) & 15
    j = (p >> (OCTAVES_PLACES - 8)) & 15
    power = (np.array(COARSE)[i] * np.array(FINE)[j]) >> (FINE_FORMAT.width - 1)
    return require(np.where(q < OCTAVES, power >> q, 0), EXP_FORMAT, "exponential")


def factor_of(total: np.ndarray) -> np.ndarray:
    """Return f of each row's sum.  Shape: any, kept."""
    return NUMERATOR // -(-total >> SPARE_BITS)


def exp2_softmax(x: np.ndarray, spec: Exp2Spec, constants: Exp2Constants) -> np.ndarray:
    """Softmax of each row by powers of two from two tables of 16.

    With `p = max((max - x) * octaves - 1, 0)` at 17 places, q its whole octaves and i, j its next
    four and four bits: `E = ((COARSE[i] * FINE[j]) >> 10) >> q`, and 0 from 16 octaves on. A
    half is added to every E that is not zero, for what the shift dropped:
    `f = floor((2**29 - 1) / ceil(sum (2*E + 1) / 64))` and `out = ((2*E + 1) * f) >> (35 - k)`.
    Bits of p below j are dropped: FINE[j] stands for the middle of its step of 1/256 octave, but
    FINE[0] for its beginning, which is where the maximum lies.

    With `carry`, `v = ((2*E + 1) * f) >> 19` are 16-bit results, and out is what the sum of v over
    the elements of a lane so far grows by in whole multiples of `2**-k`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits`, scale `2**-out_bits`.

    Error
    -----
    See `GOLDEN.limits`.

    Source
    ------
    Our own. The one less in p lets the gates negate by inversion; it is `2**-17` octave.
    """
    x = check_row(x, spec)
    e = exponential(x.max(axis=-1, keepdims=True) - x, constants)
    total = require(np.where(e > 0, 2 * e + 1, 0).sum(axis=-1, keepdims=True), spec.sum_format,
                    "sum")
    factor = require(factor_of(total), spec.factor_format, "factor")
    # The half is multiplied even where E is zero, which gives zero.
    finest = require(((2 * e + 1) * factor) >> (PRODUCT_BITS - FINEST),
                     Format(FINEST, False), "finest result")
    dropped = FINEST - spec.out_bits
    if not spec.carry:
        return require(finest >> dropped, spec.out_format, "output")
    # No running sum passes that of the row, which is below one.
    length = x.shape[-1]
    padding = [(0, 0)] * (x.ndim - 1) + [(0, -length % spec.lanes)]
    beats = np.pad(finest, padding).reshape(*x.shape[:-1], -1, spec.lanes)
    steps = require(beats.cumsum(axis=-2), Format(FINEST, False), "running sum") >> dropped
    out = np.diff(steps, axis=-2, prepend=0).reshape(*x.shape[:-1], -1)[..., :length]
    return require(out, spec.out_format, "output")


GOLDEN = Golden(
    spec=Exp2Spec, constants=Exp2Constants, derive=derive, function=exp2_softmax,
    limits=(ErrorLimit(0.25, 0.0018),),
    variants={"8 bits, carried": Exp2Spec(out_bits=8, carry=True),
              "s8 operand, carried": Exp2Spec(out_bits=7, carry=True)},
)
