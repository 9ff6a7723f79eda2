"""Softmax by a table of exponentials: numbers and golden model. Gates: `vitrtl.hw.softmax_lut`."""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.exact import exp
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

__all__ = ["GOLDEN", "LutSoftmaxConstants", "LutSoftmaxSpec", "derive", "lut_softmax"]

ONE = 2**16 - 1
"""What `exp(0)` is in the table."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class LutSoftmaxSpec(VectorSpec):
    """Numbers of one table softmax.

    Parameters
    ----------
    in_width : attention score, bits, signed; the table has `2**in_width` words.
    out_bits : result, bits, unsigned, all of them fraction.
    longest_row : elements that the row buffers hold.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True
    exp_format: ClassVar[Format] = Format(16, False)
    """Format of one exponential, a word of the table."""
    factor_format: ClassVar[Format] = Format(17, False)
    """Format of `f = floor((2**32 - 1) / sum)`; the sum is at least `2**16 - 1`."""

    in_width: int = 8
    out_bits: int = 16
    longest_row: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("out_bits", self.out_bits, 4, 16, "bits")
        check_range("longest_row", self.longest_row, 1, 1024, "elements")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        # E * f never exceeds 2**32 - 1.
        return Format(self.out_bits, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row."""
        return Format(self.exp_format.width + (self.longest_row - 1).bit_length(), False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="table", format=self.exp_format, address=0, depth=1 << self.in_width,
                         doc="round(exp(S * d) * (2**16 - 1)), d the distance below the maximum, "
                             "at the low bits of d"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LutSoftmaxConstants:
    """Run-time integers of one layer: the exponentials."""

    table: np.ndarray


def derive(spec: LutSoftmaxSpec, in_scale: Fraction) -> tuple[LutSoftmaxConstants, Fraction]:
    """Tabulate the exponential at the scale of a layer's scores."""
    in_scale = scale_of(in_scale)
    words = 1 << spec.in_width
    table = [round(exp(in_scale * -(-place % words)) * ONE) for place in range(words)]
    return LutSoftmaxConstants(table=np.array(table, np.int64)), Fraction(1, 1 << spec.out_bits)


def lut_softmax(x: np.ndarray, spec: LutSoftmaxSpec, constants: LutSoftmaxConstants) -> np.ndarray:
    """Softmax of each row: `E = table[x - max]`, `out = (E * floor((2**32-1)/sum E)) >> (32-k)`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits`, scale `2**-out_bits`.

    Error
    -----
    At most 0.0003 for scales up to 0.02 and 0.0035 up to 0.25, where a long row's many small
    exponentials are rounded alike. Upheld by `tests/unit/golden/test_softmax_lut.py`.

    Source
    ------
    An engineer's table.
    """
    x = check_row(x, spec)
    distance = x - x.max(axis=-1, keepdims=True)
    e = require(constants.table[distance & ((1 << spec.in_width) - 1)], spec.exp_format,
                "exponential")
    total = require(e.sum(axis=-1, keepdims=True), spec.sum_format, "sum")
    factor = require((2**32 - 1) // total, spec.factor_format, "factor")
    return require((e * factor) >> (32 - spec.out_bits), spec.out_format, "output")


GOLDEN = Golden(spec=LutSoftmaxSpec, constants=LutSoftmaxConstants, derive=derive,
                function=lut_softmax, limits=(ErrorLimit(0.02, 0.0003), ErrorLimit(0.25, 0.0035)))
