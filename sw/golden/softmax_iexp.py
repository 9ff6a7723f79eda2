"""i-Softmax of I-BERT: numbers and golden model. Gates: `vitrtl.hw.softmax_iexp`."""

import dataclasses
from fractions import Fraction

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.poly_exp import PolyExpConstants, PolyExpSpec, freeze, poly_exp
from vitrtl.sw.golden.unit import ErrorLimit, Golden, check_range

__all__ = ["GOLDEN", "IexpSpec", "derive", "iexp_softmax"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class IexpSpec(PolyExpSpec):
    """Numbers of one i-Softmax unit.

    Parameters
    ----------
    out_bits : k of the published code; the result is unsigned at scale `2**-k`.
    """

    out_bits: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("out_bits", self.out_bits, 4, 16, "bits")

    @property
    def out_format(self) -> Format:
        return Format(self.out_bits, False)

    @property
    def factor_format(self) -> Format:
        """Format of `f = floor(2**32 / sum)`; the sum is at least 32767."""
        return Format(18, False)


def derive(spec: IexpSpec, in_scale: Fraction) -> tuple[PolyExpConstants, Fraction]:
    """Freeze the constants of a layer whose scores have scale `in_scale`; see `freeze`."""
    return freeze(spec, in_scale), Fraction(1, 1 << spec.out_bits)


def iexp_softmax(x: np.ndarray, spec: IexpSpec, constants: PolyExpConstants) -> np.ndarray:
    """Softmax of each row by a quadratic exponential.

    With the exponentials E of `poly_exp`: `out = (E * floor(2**32 / sum E)) >> (32 - k)`.

    Shape
    -----
    (..., row), kept.

    Format
    ------
    s`in_width` to u`out_bits`, scale `2**-out_bits`.

    Error
    -----
    At most `GOLDEN.limits`: `I0` is a whole number of codes, which is coarse where the octave has
    few. About 0.012 where `0.6931 / S` is just below a whole number. Upheld by
    `tests/unit/test_accuracy.py`.

    Source
    ------
    I-BERT, Algorithm 1 and the official code.
    """
    e, total = poly_exp(x, spec, constants)
    factor = require(2**32 // total, spec.factor_format, "factor")
    # 2**k is reached only by a sum that is one power of two, which 32767 is not.
    return require((e * factor) >> (32 - spec.out_bits), spec.out_format, "output")


GOLDEN = Golden(spec=IexpSpec, constants=PolyExpConstants, derive=derive, function=iexp_softmax,
                limits=(ErrorLimit(0.02, 0.03), ErrorLimit(0.05, 0.085), ErrorLimit(0.1, 0.17),
                        ErrorLimit(0.25, 0.42)))
