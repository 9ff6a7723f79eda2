"""GELU by table: numbers and golden model. Gates: `vitrtl.hw.gelu_lut`."""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.exact import normal_cdf
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import (
    ErrorLimit,
    Golden,
    Register,
    VectorSpec,
    check_range,
    check_row,
    scale_of,
)

__all__ = ["GOLDEN", "LutConstants", "LutSpec", "derive", "lut_gelu"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LutSpec(VectorSpec):
    """Numbers of one table GELU.

    Parameters
    ----------
    in_width : activation, bits, signed.
    out_width : result, bits, signed.
    lanes : elements per beat; each has a table.
    """

    merges_requantizer: ClassVar[bool] = True

    in_width: int = 8
    out_width: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("in_width", self.in_width, 2, 8, "bits")
        check_range("out_width", self.out_width, 2, 16, "bits")

    @property
    def in_format(self) -> Format:
        return Format(self.in_width, True)

    @property
    def out_format(self) -> Format:
        return Format(self.out_width, True)

    @property
    def registers(self) -> tuple[Register, ...]:
        return (Register(name="table", format=self.out_format, address=0, depth=1 << self.in_width,
                         doc="GELU of each code, the code read as unsigned"),)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LutConstants:
    """Run-time integers of one layer: an output for every code."""

    table: np.ndarray


def derive(spec: LutSpec, in_scale: Fraction,
           out_scale: Fraction | None = None) -> tuple[LutConstants, Fraction]:
    """Tabulate GELU for a layer whose input has scale `in_scale`.

    Parameters
    ----------
    out_scale : scale of the result; the input's if none is given.
    """
    in_scale = scale_of(in_scale)
    out_scale = in_scale if out_scale is None else scale_of(out_scale, "out_scale")
    half = 1 << (spec.in_width - 1)
    reals = [code * in_scale for code in (*range(half), *range(-half, 0))]
    words = [round(x * normal_cdf(x) / out_scale) for x in reals]
    fmt = spec.out_format
    table = np.array([min(max(word, fmt.lo), fmt.hi) for word in words], np.int64)
    return LutConstants(table=table), out_scale


def lut_gelu(x: np.ndarray, spec: LutSpec, constants: LutConstants) -> np.ndarray:
    """GELU of each element, rounded to the nearest output and saturated.

    Shape
    -----
    Any, kept: each element is by itself.

    Format
    ------
    s`in_width` to s`out_width`, at the scale that `derive` was given: with the next unit's there
    is nothing left to requantize.

    Error
    -----
    Half an output step, wherever the output does not saturate: 0.025 at scale 0.05 and 0.125 at
    0.25, if input and output have the same. Upheld by `tests/unit/golden/test_gelu_lut.py`.

    Source
    ------
    What an engineer does instead; it is the baseline for all others.
    """
    x = check_row(x, spec)
    return constants.table[x & ((1 << spec.in_width) - 1)]


GOLDEN = Golden(spec=LutSpec, constants=LutConstants, derive=derive, function=lut_gelu,
                limits=(ErrorLimit(0.05, 0.025), ErrorLimit(0.25, 0.125)))
