"""Poly-GELU with the coefficients that suit GELU best: `vitrtl.sw.golden.gelu_poly4` with others.

Gates: `vitrtl.hw.gelu_poly4_minimax`.
"""

import dataclasses
from fractions import Fraction

from vitrtl.sw.golden.gelu_poly4 import GOLDEN as POLY4
from vitrtl.sw.golden.gelu_poly4 import Poly4Constants, Poly4Spec
from vitrtl.sw.golden.gelu_poly4 import derive as derive_poly4
from vitrtl.sw.golden.unit import ErrorLimit

__all__ = ["CURVATURE", "GOLDEN", "SATURATION", "derive"]

CURVATURE, SATURATION = Fraction(-23537, 10**6), Fraction(-2613832, 10**6)
"""a and b for which the largest error of GELU, not of erf, is smallest over all real numbers."""


def derive(spec: Poly4Spec, in_scale: Fraction) -> tuple[Poly4Constants, Fraction]:
    """Freeze the constants of a layer whose input has scale `in_scale`, see `gelu_poly4`."""
    return derive_poly4(spec, in_scale, CURVATURE, SATURATION)


GOLDEN = dataclasses.replace(POLY4, derive=derive, limits=(ErrorLimit(0.25, 0.0042),))
"""Poly-GELU with two other run-time constants: the gates of `gelu_poly4`."""
