"""ShiftGELU without the row: numbers and golden model. Gates: `vitrtl.hw.gelu_shiftgelu_elem`."""

import dataclasses
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, saturate
from vitrtl.sw.golden.gelu_shiftgelu import SIGMOID_SLOPE
from vitrtl.sw.golden.shift_exp import (
    ShiftExpConstants,
    ShiftExpSpec,
    i0_of,
    reciprocal_of,
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

__all__ = ["GOLDEN", "ShiftgeluElemSpec", "derive", "shiftgelu_elem"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShiftgeluElemSpec(ShiftExpSpec):
    """Numbers of one element-wise ShiftGELU unit.

    Parameters
    ----------
    in_width : activation, bits, signed.
    n : octaves of the exponential that are told apart; beyond them it is zero.
    sigmoid_width : bits of the sigmoid, all of them fraction.
    finer : bits that are put below the input's last one, so that `I0` counts finer codes.
    i0_width : bits of `I0`, the finer codes in one octave: it bounds the input scale from below.
    lanes : elements per beat.
    """

    n: int = 6
    sigmoid_width: int = 10
    finer: int = 2
    i0_width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("n", self.n, 1, 15)
        check_range("sigmoid_width", self.sigmoid_width, 4, 12, "bits")
        check_range("finer", self.finer, 0, 4, "bits")
        check_range("i0_width", self.i0_width, 1, 10, "bits")

    @property
    def out_format(self) -> Format:
        return Format(self.in_width + self.sigmoid_width, True)

    @property
    def distance_width(self) -> int:
        """Bits of the largest distance below zero, finer codes."""
        return self.in_width + self.finer

    @property
    def largest_distance(self) -> int:
        """Finer codes from the smallest element to zero."""
        return 1 << (self.distance_width - 1)

    @property
    def exp_format(self) -> Format:
        """Format of one exponential; that of zero is `I0 << n`."""
        return Format(self.i0_width + self.n, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sigmoid's denominator."""
        return Format(self.exp_format.width + 1, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        codes = f"finer codes in one octave, ceil({1 << self.finer} / (1.702 S))"
        return shift_exp_registers(self.i0_width, self.reciprocal_shift, codes)


def derive(spec: ShiftgeluElemSpec, in_scale: Fraction) -> tuple[ShiftExpConstants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`.

    Raises
    ------
    ValueError
        If the scale is so small that `I0` does not fit its width, or so large that it is 1.
    """
    in_scale = scale_of(in_scale)
    i0 = i0_of(in_scale * SIGMOID_SLOPE / (1 << spec.finer))
    # The reciprocal of 1 would need one bit more than a multiplier block has.
    if not 2 <= i0 < 1 << spec.i0_width:
        smallest = Fraction(1 << spec.finer, (1 << spec.i0_width) - 1) / SIGMOID_SLOPE
        largest = (1 << spec.finer) / SIGMOID_SLOPE
        raise ValueError(f"scale must be {float(smallest):.6f}..{float(largest):.3f} for an I0 of "
                         f"{spec.i0_width} bits, not {float(in_scale)}")
    reciprocal = reciprocal_of(i0, spec.magnitude_width, spec.i0_width)
    return (ShiftExpConstants(i0=i0, reciprocal=reciprocal),
            in_scale / (1 << spec.sigmoid_width))


def shiftgelu_elem(x: np.ndarray, spec: ShiftgeluElemSpec,
                   constants: ShiftExpConstants) -> np.ndarray:
    """GELU by a sigmoid whose exponential stays at or below one: no row, no saturation.

    With `E = ShiftExp(-|x|)`, zero from n octaves on, and `one = ShiftExp(0) = I0 << n`:
    `sigmoid = (E if x < 0 else one) * 2**sigmoid_width // (one + E)`, at most all ones, and
    `out = x * sigmoid`.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`in_width + sigmoid_width`, scale `S * 2**-sigmoid_width`.

    Error
    -----
    At most 0.03 from scale 0.01 to 0.05, 0.036 to 0.1 and 0.051 to 0.25, over every code; 0.021
    of it is what x * sigmoid(1.702 x) itself differs from GELU by. Upheld by
    `tests/unit/test_golden.py`.

    Source
    ------
    I-ViT, Algorithm 2, with three changes: max(x, 0) of the element in place of the row's
    maximum, one division for the sigmoid in place of a rounded reciprocal times the exponential,
    and an exponential that ends at zero instead of on a floor, so that six octaves are enough.
    """
    x = check_row(x, spec)
    u, q = shift_exp_parts(-(np.abs(x) << spec.finer), constants.i0, spec.n)
    e = np.where(q < spec.n, (u << (spec.n - q)) >> 1, 0)
    require(e, spec.exp_format, "exponential")
    one = constants.i0 << spec.n
    total = require(one + e, spec.sum_format, "denominator")
    sigmoid = (np.where(x < 0, e, one) << spec.sigmoid_width) // total
    sigmoid = saturate(sigmoid, Format(spec.sigmoid_width, False))
    return require(x * sigmoid, spec.out_format, "output")


GOLDEN = Golden(spec=ShiftgeluElemSpec, constants=ShiftExpConstants, derive=derive,
                function=shiftgelu_elem,
                limits=(ErrorLimit(0.05, 0.03), ErrorLimit(0.1, 0.036), ErrorLimit(0.25, 0.051)))
