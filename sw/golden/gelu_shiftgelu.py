"""ShiftGELU as I-ViT publishes it: numbers and golden model. Gates: `vitrtl.hw.gelu_shiftgelu`."""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.shift_exp import (
    ShiftExpConstants,
    ShiftExpSpec,
    i0_of,
    reciprocal_of,
    shift_exp,
    shift_exp_parts,
    shift_exp_registers,
)
from vitrtl.sw.golden.unit import (
    ErrorLimit,
    Golden,
    Register,
    check_range,
    check_row,
    scale_of,
)

__all__ = ["GOLDEN", "SIGMOID_SLOPE", "ShiftgeluSpec", "derive", "shiftgelu"]

SIGMOID_SLOPE = Fraction(1702, 1000)
"""GELU(x) is about x * sigmoid(1.702 x); the slope is folded into the scale, exactly."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftgeluSpec(ShiftExpSpec):
    """Numbers of one ShiftGELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    n : octaves below the row's maximum that are told apart; 23 in the official code.
    sigmoid_width : bits of the sigmoid, all of them fraction.
    i0_width : bits of `I0`, the codes in one octave: it bounds the input scale from below.
    longest_row : elements that the row buffer holds.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True

    n: int = 23
    sigmoid_width: int = 7
    i0_width: int = 7
    longest_row: int = 1024

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("i0_width", self.i0_width, 1, 8, "bits")
        check_range("n", self.n, 1, 31 - self.i0_width)
        check_range("sigmoid_width", self.sigmoid_width, 4, 16, "bits")
        check_range("longest_row", self.longest_row, 1, 4096, "elements")

    @property
    def out_format(self) -> Format:
        return Format(self.in_width + self.sigmoid_width, True)

    @property
    def exp_format(self) -> Format:
        """Format of one exponential."""
        return Format(self.i0_width + self.n, False)

    @property
    def sum_format(self) -> Format:
        """Format of the clamped denominator and of `f`."""
        return Format(31, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return shift_exp_registers(self.i0_width, self.reciprocal_shift + 1,
                                   "codes in one octave, ceil(1 / (1.702 S))")


def derive(spec: ShiftgeluSpec, in_scale: Fraction) -> tuple[ShiftExpConstants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`.

    Raises
    ------
    ValueError
        If the scale is so small that `I0` does not fit its width.
    """
    in_scale = scale_of(in_scale)
    i0 = i0_of(in_scale * SIGMOID_SLOPE)
    if i0 >= 1 << spec.i0_width:
        smallest = 1 / (SIGMOID_SLOPE * ((1 << spec.i0_width) - 1))
        raise ValueError(f"scale must be at least {float(smallest):.6f} for an I0 of "
                         f"{spec.i0_width} bits, not {float(in_scale)}")
    reciprocal = reciprocal_of(i0, spec.magnitude_width, spec.i0_width)
    return (ShiftExpConstants(i0=i0, reciprocal=reciprocal),
            in_scale / (1 << spec.sigmoid_width))


def shiftgelu(x: np.ndarray, spec: ShiftgeluSpec, constants: ShiftExpConstants) -> np.ndarray:
    """GELU by a sigmoid from two exponentials below the row's maximum m.

    `e = ShiftExp(x - m)`, `e0 = ShiftExp(-m)`, `s = min(e + e0, 2**31 - 1)`,
    `out = x * ((e * floor((2**31 - 1) / s)) >> (31 - sigmoid_width))`.

    Shape
    -----
    (..., row), kept; the maximum is over all hidden channels of a token.

    Format
    ------
    s`in_width` to s`in_width + sigmoid_width`, scale `S * 2**-sigmoid_width`.

    Error
    -----
    At most 0.33 from scale 0.01 to 0.065, since `f` has few bits where the sum has many, and then
    6.4 to 0.1 and 16 to 0.25: where `1.702 * 1.4427 * S * m` nears n - 1, both exponentials of a
    negative element sit on their floor and GELU turns into x / 2. `gelu_shiftgelu_elem` has
    neither limit. Upheld by `tests/unit/test_golden.py`.

    Source
    ------
    I-ViT, Algorithm 2, in exact integers, with `I0` frozen at export. A row whose maximum is
    negative raises `e0` beyond 32 bits in the official TVM code; here the clamp holds it.
    """
    x = check_row(x, spec)
    largest = x.max(axis=-1, keepdims=True)
    e = require(shift_exp(x - largest, constants.i0, spec.n), spec.exp_format, "exponential")
    u, q = shift_exp_parts(-largest, constants.i0, spec.n)
    # Far above the clamp the exact shift no longer matters: 40 places keep it within int64.
    e0 = (u << np.minimum(spec.n - q, 40)) >> 1
    total = np.minimum(e + e0, spec.sum_format.hi)
    factor = require((2**31 - 1) // total, spec.sum_format, "factor")
    sigmoid = (e * factor) >> (31 - spec.sigmoid_width)
    require(sigmoid, Format(spec.sigmoid_width, False), "sigmoid")
    return require(x * sigmoid, spec.out_format, "output")


GOLDEN = Golden(spec=ShiftgeluSpec, constants=ShiftExpConstants, derive=derive,
                function=shiftgelu,
                limits=(ErrorLimit(0.065, 0.33), ErrorLimit(0.1, 6.4), ErrorLimit(0.25, 16)))
