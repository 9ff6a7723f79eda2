"""ShiftGELU at scales that make an octave a power of two: numbers and golden model.

Gates: `vitrtl.hw.gelu_pow2`.
"""

import dataclasses
from fractions import Fraction

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

__all__ = ["GOLDEN", "OCTAVE", "Pow2Constants", "Pow2Spec", "derive", "fit_scale", "pow2_gelu",
           "sigmoid_of"]

OCTAVE = Fraction(417, 1024)
"""1 / (1.702 * log2(e)), the input that is one octave of the exponential, to 7 parts in 100,000:
with so few bits that a scale is a short binary number."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pow2Spec(VectorSpec):
    """Numbers of one ShiftGELU unit for scales `OCTAVE * 2**-k`.

    Parameters
    ----------
    in_width : activation, bits, signed.
    finest : largest k; codes are aligned to `2**-finest` octaves.
    exp_width : bits of the exponential, all of them fraction.
    sigmoid_width : bits of the sigmoid, all of them fraction.
    lanes : elements per beat.
    """

    in_width: int = 8
    finest: int = 5
    exp_width: int = 6
    sigmoid_width: int = 11

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("finest", self.finest, 1, 7)
        check_range("exp_width", self.exp_width, 4, 8, "bits")
        check_range("sigmoid_width", self.sigmoid_width, 4, 16, "bits")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(self.in_width + self.sigmoid_width, True)

    @property
    def distance_format(self) -> Format:
        """Format of the distance below zero, aligned."""
        return Format(self.in_width + self.finest, True)

    @property
    def exp_format(self) -> Format:
        """Format of the exponential; one, which only a zero has, does not fit."""
        return Format(self.exp_width, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="exponent", format=Format(self.finest.bit_length(), False),
                         address=0, doc="k of the scale 417/1024 * 2**-k"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pow2Constants:
    """Run-time integer of one layer: k of its scale, with `2**k` codes in an octave."""

    exponent: int


def fit_scale(spec: Pow2Spec, in_scale: Fraction) -> Fraction:
    """Return the smallest of `OCTAVE * 2**-finest` to `OCTAVE` that is at least `in_scale`.

    Raises
    ------
    ValueError
        If the scale is above an octave.
    """
    in_scale = scale_of(in_scale)
    if in_scale > OCTAVE:
        raise ValueError(f"scale must be at most {float(OCTAVE):.4f}, not {float(in_scale)}")
    codes = OCTAVE / in_scale
    return OCTAVE / (1 << min(int(codes).bit_length() - 1, spec.finest))


def derive(spec: Pow2Spec, in_scale: Fraction) -> tuple[Pow2Constants, Fraction]:
    """Freeze the constant of a layer whose input has scale `in_scale`.

    Raises
    ------
    ValueError
        If it is not a scale that `fit_scale` gives.
    """
    in_scale = scale_of(in_scale)
    codes = OCTAVE / in_scale
    exponent = codes.numerator.bit_length() - 1
    if codes != 1 << exponent or exponent > spec.finest:
        raise ValueError(f"scale must be 417/1024 * 2**-k for a k of 0..{spec.finest}, "
                         f"not {float(in_scale)}")
    return Pow2Constants(exponent=exponent), in_scale / (1 << spec.sigmoid_width)


def sigmoid_of(e: np.ndarray | int, spec: Pow2Spec) -> np.ndarray | int:
    """Return the sigmoid of a magnitude whose exponential is `e`: `1 / (1 + e)`, below one."""
    return ((1 << (spec.exp_width + spec.sigmoid_width)) - 1) // ((1 << spec.exp_width) + e)


def pow2_gelu(x: np.ndarray, spec: Pow2Spec, constants: Pow2Constants) -> np.ndarray:
    """GELU by a sigmoid from one exponential, whose octave and remainder are bits of the element.

    With `d = -|x| << (finest - k)`, `q = d >> finest` and the bits `r` below, the exponential is
    `E = ((2**finest + r) << exp_width) >> (finest - q)`, the chord of an octave; then
    `sigmoid = (2**(exp_width + sigmoid_width) - 1) // (2**exp_width + E)`, its complement below
    zero, and `out = x * sigmoid`.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`in_width + sigmoid_width`, scale `S * 2**-sigmoid_width`.

    Error
    -----
    At most 0.022 at each of its scales up to 0.204 and 0.026 at 0.407; 0.021 of it is what
    x * sigmoid(1.702 x) itself differs from GELU by. Upheld by
    `tests/unit/golden/test_gelu_pow2.py`.

    Source
    ------
    I-ViT, Algorithm 2, as `gelu_shiftgelu_elem` has it, and log2(e) in the scale, where I-ViT
    has 1.702 already: nothing is left of the multiplication by it and of the division by `I0`.
    """
    x = check_row(x, spec)
    distance = require(-np.abs(x) << (spec.finest - constants.exponent), spec.distance_format,
                       "distance")
    octave = distance >> spec.finest
    mantissa = (1 << spec.finest) + (distance & ((1 << spec.finest) - 1))
    # Beyond as many octaves as the exponential has bits it is zero. That of zero is never used.
    places = np.clip(-octave, 1, spec.exp_width + 1)
    e = require((mantissa << spec.exp_width) >> (spec.finest + places), spec.exp_format,
                "exponential")
    sigmoid = sigmoid_of(e, spec)
    weight = np.where(x < 0, (1 << spec.sigmoid_width) - 1 - sigmoid, sigmoid)
    return require(x * weight, spec.out_format, "output")


GOLDEN = Golden(spec=Pow2Spec, constants=Pow2Constants, derive=derive, function=pow2_gelu,
                fit_scale=fit_scale, limits=(ErrorLimit(0.2, 0.022), ErrorLimit(0.25, 0.026)))
