"""Bit-Softmax at power-of-two scales: numbers and golden model.

Gates: `vitrtl.hw.softmax_bit_softmax_pow2`.
"""

import dataclasses

import numpy as np

from vitrtl.sw.golden.power_scale import PowerScaleConstants, fit_scale
from vitrtl.sw.golden.shift_exp import TANGENTS, Line
from vitrtl.sw.golden.softmax_shiftmax_pow2 import ShiftmaxPow2Spec, derive, shiftmax_pow2
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "BitSoftmaxPow2Spec", "bit_softmax_pow2"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class BitSoftmaxPow2Spec(ShiftmaxPow2Spec):
    """Numbers of one Bit-Softmax unit for scales `2**-k`.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    finest : largest k; codes are aligned to `2**-finest`.
    longest_row : elements that the row buffers hold.
    out_bits : k of I-ViT; the result is unsigned at scale `2**-(out_bits - 1)`.
    rounding : how the octave is rounded, `nearest` or `floor`; the paper does not say.
    lanes : elements per beat.
    """

    rounding: str = "nearest"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounding not in TANGENTS:
            raise ValueError(f"rounding must be {' or '.join(TANGENTS)}, not {self.rounding!r}")

    @property
    def line(self) -> Line:
        """Line that stands for the exponential in an octave."""
        return TANGENTS[self.rounding]


def bit_softmax_pow2(x: np.ndarray, spec: BitSoftmaxPow2Spec,
                     constants: PowerScaleConstants) -> np.ndarray:
    """Softmax of each row as `softmax_shiftmax_pow2`, by the tangent `1 + 0.6875 * r / I0`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits - 1`, scale `2**-(out_bits - 1)`.

    Error
    -----
    At most 0.015 at each of its scales, 0.07 with `rounding="floor"`. Upheld by
    `tests/unit/golden/test_softmax_bit_softmax_pow2.py`.

    Source
    ------
    IPTQ-ViT, section 4.4, at such scales, with the two differences of `softmax_shiftmax_pow2`.
    """
    return shiftmax_pow2(x, spec, constants)


GOLDEN = Golden(spec=BitSoftmaxPow2Spec, constants=PowerScaleConstants, derive=derive,
                function=bit_softmax_pow2, fit_scale=fit_scale,
                variants={"octave by floor": BitSoftmaxPow2Spec(rounding="floor")},
                limits=(ErrorLimit(1, 0.015),))
