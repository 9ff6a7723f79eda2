"""i-GELU of I-BERT: numbers and golden model. Gates: `vitrtl.hw.gelu_ierf`."""

import dataclasses
from fractions import Fraction
from math import ceil

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

__all__ = ["GOLDEN", "IerfConstants", "IerfSpec", "derive", "ierf_gelu"]

CURVATURE = Fraction(2888, 10000)
"""-a of `L(u) = sgn(u) * (a * (min(|u|, -b) + b)**2 + 1)`, which stands for erf."""
SATURATION = Fraction(1769, 1000)
"""-b: where the polynomial reaches one."""
SQRT2 = Fraction(14142, 10000)
"""As the official code writes it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IerfSpec(VectorSpec):
    """Numbers of one i-GELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    n : places dropped from the polynomial. I-BERT's 14 is meant for a 32-bit input of scale
        1e-4; an 8-bit input has no places to spare and takes 0.
    coefficient_width : bits of C, which grows as `1/S**2`: it bounds the input scale from below.
    lanes : elements per beat.
    """

    in_width: int = 8
    n: int = 0
    coefficient_width: int = 17

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("coefficient_width", self.coefficient_width, 4, 24, "bits")
        check_range("n", self.n, 0, 16)

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def knee_format(self) -> Format:
        """Format of `-B`: any knee beyond the largest input behaves as the polynomial says."""
        return Format((self.coefficient_width + 1) // 2, False)

    @property
    def coefficient_format(self) -> Format:
        """Format of `-C`."""
        return Format(self.coefficient_width, False)

    @property
    def polynomial_format(self) -> Format:
        """Format of y, the polynomial with its sign."""
        return Format(self.coefficient_width + 1, True)

    @property
    def one_format(self) -> Format:
        """Format of `-one`, the integer that stands for 1; with n = 0 it is `-C` or one less."""
        return Format(self.coefficient_width, False)

    @property
    def out_format(self) -> Format:
        return Format(self.in_width + self.coefficient_width + 1, True)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (
            Register(name="knee", format=self.knee_format, address=0,
                     doc="-B = ceil(1.769 / S_e): where erf saturates"),
            Register(name="constant", format=self.coefficient_format, address=1,
                     doc="-C = ceil(1 / (0.2888 S_e**2))"),
            Register(name="one", format=self.one_format, address=2,
                     doc="-floor(1 / S_y): the integer that stands for -1"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IerfConstants:
    """Run-time integers of one layer: `-B`, `-C` and `-one`, all positive."""

    knee: int
    constant: int
    one: int


def derive(spec: IerfSpec, in_scale: Fraction) -> tuple[IerfConstants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`.

    The output scale is negative, as in I-BERT: so is the polynomial's.

    Raises
    ------
    ValueError
        If the scale is so small that `C` does not fit its width.
    """
    in_scale = scale_of(in_scale)
    erf_scale = in_scale / SQRT2
    y_scale = -CURVATURE * erf_scale**2 * (1 << spec.n)
    knee = ceil(SATURATION / erf_scale)
    constant = ceil(1 / (CURVATURE * erf_scale**2))
    one = ceil(-1 / y_scale)
    if max(constant, one) > spec.coefficient_format.hi or knee > spec.knee_format.hi:
        raise ValueError(f"scale must be larger for coefficients of {spec.coefficient_width} bits, "
                         f"not {float(in_scale)}")
    return IerfConstants(knee=knee, constant=constant, one=one), in_scale * y_scale / 2


def ierf_gelu(x: np.ndarray, spec: IerfSpec, constants: IerfConstants) -> np.ndarray:
    """GELU by a quadratic erf: `out = x * (y + one)`, `y = sgn(x) * ((min(|x|, -B) + B)**2 + C)`.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`in_width + coefficient_width + 1`, scale `-0.2888 * S_e**2 * S / 2 * 2**n`.

    Error
    -----
    At most 0.022 from scale 0.01 to 0.05, 0.034 to 0.1 and 0.27 to 0.25, over every code: knee
    and C are whole numbers, and at coarse scales small ones. Upheld by `tests/unit/test_golden.py`.

    Source
    ------
    I-BERT, Algorithm 2 and the official code, with n = 0 in place of 14.
    """
    x = check_row(x, spec)
    square = (np.minimum(np.abs(x), constants.knee) - constants.knee) ** 2
    y = (np.sign(x) * (square - constants.constant)) >> spec.n
    require(y, spec.polynomial_format, "polynomial")
    return require(x * (y - constants.one), spec.out_format, "output")


GOLDEN = Golden(spec=IerfSpec, constants=IerfConstants, derive=derive, function=ierf_gelu,
                limits=(ErrorLimit(0.05, 0.022), ErrorLimit(0.1, 0.034), ErrorLimit(0.25, 0.27)))
