"""Gamma, beta and requantizer in one product: what LayerNorms with an s8 result share.

Gates: `vitrtl.hw.operand_affine`.
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, saturate
from vitrtl.sw.golden.unit import Register, scale_of

__all__ = ["AFFINE_FORMAT", "OPERAND_FORMAT", "REACH_FRACTION", "affine_registers", "affine_shift",
           "affine_words", "operand_affine", "operand_scale"]

OPERAND_FORMAT = Format(8, True)
"""Format of the result: an operand of the next matrix multiplication."""
AFFINE_FORMAT = Format(18, True)
"""Format of a channel's multiplier and of its bias: what a block of either kind takes."""
REACH_FRACTION = 4
"""Bits of a channel's calibrated reach, in standard deviations, below the point."""
DEFAULT_REACH = 4
"""Standard deviations that the result covers without calibration."""


def affine_shift(longest_row: int) -> int:
    """Return the places dropped from the product with a channel's multiplier and from the bias.

    A normalised value of 18 bits reaches sqrt(`longest_row`); its multiplier then reaches a gamma
    of 128 output codes.
    """
    return 26 - ((longest_row - 1).bit_length() + 1) // 2


def affine_registers(longest_row: int, address: int, bias_fraction: int) -> tuple[Register, ...]:
    """Return the registers of multiplier and bias, one behind the other."""
    span = 1 << (longest_row - 1).bit_length()
    return (
        Register(name="multiplier", format=AFFINE_FORMAT, address=address, depth=longest_row,
                 doc="gamma over the output scale, at the scale of the normalised value"),
        Register(name="bias", format=AFFINE_FORMAT, address=address + span, depth=longest_row,
                 doc=f"beta over the output scale, in 1/{1 << bias_fraction}, and a half for the "
                     "rounding"),
    )


def operand_scale(pairs: Sequence[tuple[Fraction, Fraction]], reach: Sequence[int] | None = None,
                  out_scale: Fraction | None = None) -> Fraction:
    """Return the scale of the result: the one that is given, or one that its largest value fills.

    Parameters
    ----------
    pairs : gamma and beta of each channel.
    reach : largest normalised value of each channel, in 1/16; 4 standard deviations without
        calibration.
    out_scale : the next layer's, where it is known.
    """
    if out_scale is None:
        reach = [DEFAULT_REACH << REACH_FRACTION] * len(pairs) if reach is None else reach
        largest = max(abs(g) * int(r) / (1 << REACH_FRACTION) + abs(b)
                      for (g, b), r in zip(pairs, reach, strict=True))
        out_scale = largest / OPERAND_FORMAT.hi or Fraction(1)
    return scale_of(out_scale, "output scale")


def affine_words(name: str, values: Sequence[Fraction], out_scale: Fraction) -> np.ndarray:
    """Return the rounded values of a register with a word for each channel.

    Raises
    ------
    ValueError
        For a value that does not fit, naming the channel.
    """
    words = [round(value) for value in values]
    for channel, word in enumerate(words):
        if not AFFINE_FORMAT.lo <= word <= AFFINE_FORMAT.hi:
            raise ValueError(f"the {name} of channel {channel} must fit {AFFINE_FORMAT}, not "
                             f"{word}; the output scale of {float(out_scale)} is too small")
    return np.array(words, np.int64)


def operand_affine(z: np.ndarray, multiplier: np.ndarray, bias: np.ndarray, shift: int,
                   bias_fraction: int) -> np.ndarray:
    """Return the s8 result: times the channel's multiplier, plus its bias, saturated.

    Parameters
    ----------
    z : normalised values of at most 18 bits.
    shift, bias_fraction : places below the result, of the product and of the bias.
    """
    product = z * multiplier >> shift - bias_fraction
    return saturate((product + bias) >> bias_fraction, OPERAND_FORMAT)
