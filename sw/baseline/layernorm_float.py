"""LayerNorm in float64 between integer codes: a baseline without gates."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import numpy as np

from vitrtl.sw import reference
from vitrtl.sw.baseline.frame import FloatRowSpec, to_codes
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Golden, Register, check_row, scale_of

__all__ = ["GOLDEN", "FloatNormConstants", "FloatNormSpec"]

PLACES = 24
"""Binary places of gamma and beta."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatNormSpec(FloatRowSpec):
    """Numbers of the LayerNorm baseline.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    out_width : codes that are written, bits, signed.
    longest_row : channels.
    """

    in_width: int = 16
    longest_row: int = 4096

    @property
    def registers(self) -> tuple[Register, ...]:
        affine = {"format": Format(48, True), "depth": self.longest_row}
        return (Register(name="exponent", format=Format(6, False), address=0,
                         doc="the result has scale 2**-exponent"),
                Register(name="gamma", address=self.longest_row, doc="gamma * 2**24", **affine),
                Register(name="beta", address=2 * self.longest_row, doc="beta * 2**24", **affine))


@dataclasses.dataclass(frozen=True, kw_only=True)
class FloatNormConstants:
    """Scale of the result, and gamma and beta in steps of `2**-24`.  Shape: (channels,)."""

    exponent: int
    gamma: np.ndarray
    beta: np.ndarray


def derive(spec: FloatNormSpec, in_scale: Fraction, gamma: Sequence[float],
           beta: Sequence[float]) -> tuple[FloatNormConstants, Fraction]:
    """Choose the finest power of two at which the largest possible result fits.

    The input scale cancels.
    """
    scale_of(in_scale)
    root = Fraction(isqrt(len(gamma)) + 1)
    top = max(abs(Fraction(g)) * root + abs(Fraction(b)) for g, b in zip(gamma, beta, strict=True))
    exponent = 0
    while exponent < PLACES and top * (2 << exponent) <= spec.out_format.hi:
        exponent += 1
    gammas, betas = (np.array([round(Fraction(v) * (1 << PLACES)) for v in values], np.int64)
                     for values in (gamma, beta))
    return (FloatNormConstants(exponent=exponent, gamma=gammas, beta=betas),
            Fraction(1, 1 << exponent))


def apply(x: np.ndarray, spec: FloatNormSpec, constants: FloatNormConstants) -> np.ndarray:
    """Normalise the codes in float64, and round to codes again.  Shape: (..., channels), kept."""
    step = 2.0**-PLACES
    real = reference.layernorm(check_row(x, spec).astype(np.float64), constants.gamma * step,
                               constants.beta * step)
    return to_codes(real, spec, constants)


GOLDEN = Golden(spec=FloatNormSpec, constants=FloatNormConstants, derive=derive, function=apply)
