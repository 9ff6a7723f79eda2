"""Log-int-softmax of FQ-ViT: numbers and golden model. Gates: `vitrtl.hw.softmax_log_int`."""

import dataclasses
from fractions import Fraction
from typing import ClassVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.log2_code import CODE_FORMAT, FRACTION_BITS
from vitrtl.sw.golden.poly_exp import PolyExpConstants, PolyExpSpec, freeze, poly_exp
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "LogIntSpec", "derive", "log_int_softmax"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogIntSpec(PolyExpSpec):
    """Numbers of one log-int-softmax unit."""

    operand: ClassVar[str] = "log2"

    @property
    def out_format(self) -> Format:
        return CODE_FORMAT


def derive(spec: LogIntSpec, in_scale: Fraction) -> tuple[PolyExpConstants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `in_scale`; codes have scale one."""
    return freeze(spec, in_scale), Fraction(1)


def log_int_softmax(x: np.ndarray, spec: LogIntSpec, constants: PolyExpConstants) -> np.ndarray:
    """Softmax of each row, each probability as a power of two.

    With the exponentials E of `poly_exp`, `R = round(sum E / E)`, ties to even, and
    `out = floor(log2(R))`, one more where `R >= 1.5 * 2**out`, at most 16.

    R and its logarithm are thresholds of `sum E / E`: t - 1/2 for R = t, itself included where t
    is even. The logarithm passes j at t = 2 for j = 0, at t = 3, which is odd, for j = 1, and at
    t = 1.5 * 2**j for j = 2 to 15; so `out` counts the thresholds that are met.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u5, see `vitrtl.sw.golden.log2_code`: c from 0 to 15 is `2**-c`, 16 is zero.

    Error
    -----
    See `GOLDEN.limits`. A third comes from the codes: just below 1.5, R is 1.

    Source
    ------
    FQ-ViT, Log-Int-Softmax and the official code, on the exponentials of I-BERT's official code.
    """
    e, total = poly_exp(x, spec, constants)
    # Two sums and an exponential, against thrice the exponential.
    ratio = 2 * total + e
    code = (ratio >= 4 * e).astype(np.int64) + (ratio > 6 * e)
    for j in range(2, FRACTION_BITS + 1):
        code += ratio >= (3 * e) << j
    return require(code, spec.out_format, "output")


GOLDEN = Golden(spec=LogIntSpec, constants=PolyExpConstants, derive=derive,
                function=log_int_softmax,
                limits=(ErrorLimit(0.1, 0.34), ErrorLimit(0.25, 0.43)))
