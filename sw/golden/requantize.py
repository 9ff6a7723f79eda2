"""Dyadic requantizer: numbers and golden model. Gates: `vitrtl.hw.requantize`."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require, round_shift, saturate
from vitrtl.sw.golden.unit import Golden, Register, VectorSpec, check_range

__all__ = ["GOLDEN", "RequantizeConstants", "RequantizeSpec", "derive", "requantize"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequantizeSpec(VectorSpec):
    """Numbers of one requantizer.

    A full barrel shifter would be most of the unit. Here the shift is one of `shift_count`
    values, `shift_step` apart: the multiplier has bits to spare and takes up what the step leaves.

    Parameters
    ----------
    in_width : accumulator, bits, signed.
    out_width : result, bits, signed.
    multiplier_width : b, bits, signed; 18 is the width of one multiplier block.
    shift_min : smallest shift c.
    shift_step : distance between the shifts on offer.
    shift_count : how many are on offer, a power of two.
    channels : channels that have constants of their own.
    lanes : elements per beat.
    """

    in_width: int = 32
    out_width: int = 8
    multiplier_width: int = 18
    shift_min: int = 16
    shift_step: int = 4
    shift_count: int = 8
    channels: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 8, 32, "bits")
        check_range("out_width", self.out_width, 2, 16, "bits")
        check_range("multiplier_width", self.multiplier_width, 8, 18, "bits")
        check_range("shift_min", self.shift_min, 1, 32)
        check_range("shift_step", self.shift_step, 1, 8)
        if self.shift_count not in (1, 2, 4, 8, 16):
            raise ValueError(f"shift_count must be 1, 2, 4, 8 or 16, not {self.shift_count!r}")
        check_range("channels", self.channels, 1, 4096)

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(self.out_width, True)

    @property
    def multiplier_format(self) -> Format:
        """Format of b."""
        return Format(self.multiplier_width, True)

    @property
    def biased_format(self) -> Format:
        """Format of accumulator plus bias."""
        return Format(self.in_width + 1, True)

    @property
    def product_format(self) -> Format:
        """Format of the product, before the shift."""
        return Format(self.in_width + 1 + self.multiplier_width, True)

    @property
    def shifts(self) -> tuple[int, ...]:
        """Shifts on offer; a shift's code is its place here."""
        return tuple(self.shift_min + self.shift_step * i for i in range(self.shift_count))

    @property
    def code_width(self) -> int:
        """Bits of a shift's code."""
        return (self.shift_count - 1).bit_length()

    @property
    def registers(self) -> tuple[Register, ...]:
        span = 1 << (self.channels - 1).bit_length()
        return (
            Register(name="bias", format=self.in_format, address=0, depth=self.channels,
                     doc="added to the accumulator"),
            Register(name="factor", format=Format(self.multiplier_width + self.code_width, True),
                     address=span, depth=self.channels,
                     doc=f"multiplier, above the {self.code_width}-bit code of the shift"),
            Register(name="per_channel", format=Format(1, False), address=2 * span,
                     doc="1: element i of a row uses entry i; 0: lane l always uses entry l"),
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class RequantizeConstants:
    """Run-time integers of one layer.

    Parameters
    ----------
    bias : (channels,), at the accumulator's scale; per tensor (lanes,), all equal.
    factor : likewise, multiplier above the code of the shift.
    per_channel : 1 if element i of a row uses entry i, else 0.
    """

    bias: np.ndarray
    factor: np.ndarray
    per_channel: int


def derive(spec: RequantizeSpec, ratio: Fraction | Sequence[Fraction],
           bias: Sequence[int] | None = None) -> tuple[RequantizeConstants, None]:
    """Freeze the constants that multiply by `ratio` = input scale over output scale.

    Parameters
    ----------
    ratio : one for the tensor or one per channel; the sign is free.
    bias : integers at the input scale, one per channel.

    Raises
    ------
    ValueError
        For a ratio that the multiplier and the smallest shift cannot reach, or more channels
        than the unit has.
    """
    ratios = list(ratio) if isinstance(ratio, Sequence) else [ratio]
    count = max(len(ratios), 1 if bias is None else len(bias))
    if len(ratios) not in (1, count) or (bias is not None and len(bias) not in (1, count)):
        raise ValueError(f"bias and ratio must be per tensor or for the same channels, "
                         f"not {len(bias)} and {len(ratios)}")
    if count > spec.channels:
        raise ValueError(f"channels must be 1..{spec.channels}, not {count}")
    factors = np.array([_factor(spec, Fraction(r)) for r in ratios], np.int64)
    biases = require(np.zeros(1, np.int64) if bias is None else np.asarray(bias),
                     spec.in_format, "bias").astype(np.int64)
    entries = count if count > 1 else spec.lanes
    return RequantizeConstants(bias=np.broadcast_to(biases, entries).copy(),
                               factor=np.broadcast_to(factors, entries).copy(),
                               per_channel=int(count > 1)), None


def requantize(x: np.ndarray, spec: RequantizeSpec, constants: RequantizeConstants) -> np.ndarray:
    """Change the scale: `saturate(((x + bias) * b + 2**(c-1)) >> c)`, ties upward.

    Shape
    -----
    (..., channels) if the constants are per channel, else any; kept.

    Format
    ------
    s`in_width` to s`out_width`.

    Error
    -----
    b holds the ratio to `2**-(multiplier_width - shift_step)` of its value, within the shifts on
    offer; then half a unit of the result for the rounding. Upheld by `tests/unit/test_golden.py`.

    Source
    ------
    HAWQ-V3, dyadic quantization; I-ViT uses 31 bits of b and ties to even.
    """
    x = require(x, spec.in_format, "input").astype(np.int64)
    if constants.per_channel and x.shape[-1] != constants.factor.size:
        raise ValueError(f"row length must be the {constants.factor.size} channels of the "
                         f"constants, not {x.shape[-1]}")
    entries = slice(None) if constants.per_channel else slice(1)
    factor, bias = constants.factor[entries], constants.bias[entries]
    multiplier = require(factor >> spec.code_width, spec.multiplier_format, "multiplier")
    shift = spec.shift_min + spec.shift_step * (factor & (spec.shift_count - 1))
    biased = require(x + bias, spec.biased_format, "biased accumulator")
    product = require(biased * multiplier, spec.product_format, "product")
    return saturate(round_shift(product, shift), spec.out_format)


def _factor(spec: RequantizeSpec, ratio: Fraction) -> int:
    """Return the multiplier with the most bits that fits, packed above its shift's code."""
    for code in reversed(range(spec.shift_count)):
        # To nearest, ties to even, as round() of the fraction, which would look for a common
        # divisor each time.
        multiplier, rest = divmod(ratio.numerator << spec.shifts[code], ratio.denominator)
        multiplier += 2 * rest > ratio.denominator - (multiplier & 1)
        if spec.multiplier_format.lo <= multiplier <= spec.multiplier_format.hi:
            return (multiplier << spec.code_width) | code
    limit = Fraction(1 << (spec.multiplier_width - 1), 1 << spec.shift_min)
    raise ValueError(f"ratio of scales must be below {float(limit)}, not {float(ratio)}")


GOLDEN = Golden(spec=RequantizeSpec, constants=RequantizeConstants, derive=derive,
                function=requantize, variants={"16 bits out": RequantizeSpec(out_width=16)})
