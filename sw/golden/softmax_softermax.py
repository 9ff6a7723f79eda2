"""Softermax, a base-two softmax in one pass: golden model. Gates: `vitrtl.hw.softmax_softermax`."""

import dataclasses
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np

from vitrtl.sw.golden import power_scale
from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.power_scale import PowerScaleConstants, PowerScaleSpec, aligned
from vitrtl.sw.golden.unit import ErrorLimit, Golden, Register, check_range, check_row, scale_of

__all__ = ["GOLDEN", "KNOTS", "LN2", "SoftermaxSpec", "derive", "fit_scale", "softermax"]

LN2 = Fraction("0.6931471805599453")
"""What one octave is in the scores of a softmax to base e, to 16 digits."""

KNOTS = (32768, 38968, 46341, 55109, 65536)
"""`2**(15 + i/4)` for i of 0..4, rounded: where the four lines that stand for `2**r` meet."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class SoftermaxSpec(PowerScaleSpec):
    """Numbers of one Softermax unit.

    Parameters
    ----------
    in_width : attention score, bits, signed.
    out_bits : k; the result has the paper's format Q(1, k-1), without the bit for one.
    finest : largest f of the scale `ln2 * 2**-f`.
    longest_row : elements that the row buffer holds.
    lanes : elements per beat.
    """

    rowwise: ClassVar[bool] = True
    depends_on_lanes: ClassVar[bool] = True

    out_bits: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("out_bits", self.out_bits, 4, 16, "bits")
        check_range("finest", self.finest, 3, 7)

    @property
    def out_format(self) -> Format:
        # The largest result is 2**(k-1) - 1: e * factor never exceeds 2**31 - 1.
        return Format(self.out_bits - 1, False)

    @property
    def aligned_format(self) -> Format:
        """Format of a score in octaves, `finest` bits after the point."""
        return Format(self.in_width + self.finest, True)

    @property
    def peak_format(self) -> Format:
        """Format of the running maximum, a whole number of octaves."""
        return Format(self.in_width + 1, True)

    @property
    def mantissa_format(self) -> Format:
        """Format of `2**r` and of one exponential, Q(1, 15)."""
        return Format(16, False)

    @property
    def kept_format(self) -> Format:
        """Format of what the row buffer keeps: a mantissa without its leading one, and octaves."""
        return Format(self.mantissa_format.width - 1 + self.in_width, False)

    @property
    def sum_format(self) -> Format:
        """Format of the sum over the longest row; no exponential is above `2**15`."""
        return Format(15 + self.longest_row.bit_length(), False)

    @property
    def factor_format(self) -> Format:
        """Format of `floor((2**31 - 1) / sum)`; the largest exponential is at least `2**14`."""
        return Format(17, False)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (dataclasses.replace(self.exponent_register, doc="f of the scale ln2 * 2**-f"),)


def fit_scale(spec: SoftermaxSpec, in_scale: Any) -> Fraction:
    """Return the smallest of `ln2 * 2**-finest` to `ln2` that is at least `in_scale`.

    Raises
    ------
    ValueError
        If the scale is above `ln2`.
    """
    in_scale = scale_of(in_scale)
    if in_scale > LN2:
        raise ValueError(f"scale must be at most ln2, not {float(in_scale)}")
    return LN2 * power_scale.fit_scale(spec, in_scale / LN2)


def derive(spec: SoftermaxSpec, in_scale: Any) -> tuple[PowerScaleConstants, Fraction]:
    """Freeze the constant of a layer whose scores have scale `in_scale = ln2 * 2**-f`.

    Raises
    ------
    ValueError
        If it is not such a scale.
    """
    in_scale = scale_of(in_scale)
    try:
        exponent = power_scale.exponent_of(spec, in_scale / LN2)
    except ValueError:
        raise ValueError(f"scale must be ln2 * 2**-f for an f of 0..{spec.finest}, "
                         f"not {float(in_scale)}") from None
    return PowerScaleConstants(exponent=exponent), Fraction(1, 1 << (spec.out_bits - 1))


def power_of_two(fraction: np.ndarray, finest: int) -> np.ndarray:
    """Return `2**(15 + r)` of `r = fraction * 2**-finest` below one, by four lines."""
    knots = np.array(KNOTS)
    places = finest - 2
    line, offset = fraction >> places, fraction & ((1 << places) - 1)
    return knots[line] + ((np.diff(knots)[line] * offset) >> places)


def shifted(values: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Return `values >> amount`, and zero for amounts from 16 on: the shifters have four bits."""
    return np.where(amount < 16, values >> np.minimum(amount, 15), 0)


def softermax(x: np.ndarray, spec: SoftermaxSpec, constants: PowerScaleConstants) -> np.ndarray:
    """Softmax of each row in one pass, with a running maximum of whole octaves.

    With `x = n + r` in octaves, `0 <= r < 1`, beat by beat:
    `m' = max(m, ceil x)`, `sum' = (sum >> (m' - m)) + 2**r >> (m' - n)`. Then
    `e = 2**r >> (m - n)`, `out = (e * floor((2**31 - 1) / sum)) >> (32 - k)`.

    Shape
    -----
    (..., row), kept. A beat is `spec.lanes` neighbours; its largest element raises the maximum
    for all of them.

    Format
    ------
    s`in_width` to u`out_bits - 1`, scale `2**-(out_bits - 1)`.

    Error
    -----
    At most 0.0038 for scales up to 0.25, nearly all of it from the lines, which lie up to 0.38 %
    above `2**r`. A row loses up to 2.2 % of its mass to the floor. Upheld by
    `tests/unit/golden/test_softmax_softermax.py`.

    Source
    ------
    Softermax, DAC 2021: base two, integer maximum, four lines, formats Q(1, 15) and Q(1, 7). The
    factor log2(e) is part of the scale here.
    """
    x = check_row(x, spec)
    scores = require(aligned(x, spec, constants), spec.aligned_format, "score")
    whole, fraction = scores >> spec.finest, scores & ((1 << spec.finest) - 1)
    mantissa = require(power_of_two(fraction, spec.finest), spec.mantissa_format, "mantissa")
    ceiling = require(whole + (fraction != 0), spec.peak_format, "maximum")

    beats = np.arange(0, x.shape[-1], spec.lanes)
    peaks = np.maximum.accumulate(np.maximum.reduceat(ceiling, beats, axis=-1), axis=-1)
    rises = np.diff(peaks, axis=-1, prepend=peaks[..., :1])
    distance = np.repeat(peaks, spec.lanes, axis=-1)[..., :x.shape[-1]] - whole
    terms = np.add.reduceat(shifted(mantissa, distance), beats, axis=-1)
    total = np.zeros_like(x[..., 0])
    for beat in range(beats.size):
        total = require(shifted(total, rises[..., beat]) + terms[..., beat], spec.sum_format,
                        "sum")

    e = shifted(mantissa, peaks[..., -1:] - whole)
    factor = require((2**31 - 1) // total[..., np.newaxis], spec.factor_format, "factor")
    return require((e * factor) >> (32 - spec.out_bits), spec.out_format, "output")


GOLDEN = Golden(spec=SoftermaxSpec, constants=PowerScaleConstants, derive=derive,
                function=softermax, fit_scale=fit_scale,
                variants={"8 bits out": SoftermaxSpec(out_bits=8)},
                limits=(ErrorLimit(0.25, 0.0038),))
