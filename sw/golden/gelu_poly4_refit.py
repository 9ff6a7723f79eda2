"""Poly-GELU with its coefficients fitted to each layer: `vitrtl.sw.golden.gelu_poly4` calibrated.

Gates: `vitrtl.hw.gelu_poly4_refit`.
"""

import dataclasses
from fractions import Fraction
from math import isqrt

import numpy as np

from vitrtl.sw.golden.exact import normal_cdf
from vitrtl.sw.golden.gelu_poly4 import GOLDEN as POLY4
from vitrtl.sw.golden.gelu_poly4 import Poly4Spec
from vitrtl.sw.golden.unit import ErrorLimit, scale_of

__all__ = ["GOLDEN", "calibrate"]

PLACES = 24
"""Places after the point in the fit, which is in whole numbers."""
STEP = PLACES - 10
"""-b is tried in steps of 2**-10; log2 of that in last places."""
SMALLEST, LARGEST = 2 << PLACES, 4 << PLACES
"""Range of -b: an erf that saturates sooner or later is no erf."""


def calibrate(spec: Poly4Spec, in_scale: Fraction, codes: np.ndarray) -> dict[str, Fraction]:
    """Return the coefficients `a` and `b` with the least `sum |erf(u) - L(u)|**2` over the codes.

    For a given b the best a is a quotient of two sums, so b alone is searched: by 1/32, then by
    1/1024 around the best. All in integers, so that it gives the same on every machine. Codes
    that settle nothing, all of them zero or beyond where erf saturates, give no coefficients.

    Source
    ------
    IPTQ-ViT, section 4.3: argmin over a and b, for the activations of a layer.
    """
    in_scale = scale_of(in_scale)
    counts = np.bincount(np.abs(np.asarray(codes, np.int64)).ravel()).tolist()
    # Both sides are odd: a point for each magnitude, how often, u = q*S/sqrt(2), 1 - erf(u).
    points = [(count, isqrt(int((q * in_scale) ** 2 * (1 << (2 * PLACES - 1)))),
               round(2 * normal_cdf(-q * in_scale) * (1 << PLACES)))
              for q, count in enumerate(counts) if q and count]
    if not points:
        return {}

    def projection(knee: int) -> tuple[int, int]:
        """Return `sum y*t` and `sum t*t` with `t = max(knee - u, 0)**4`."""
        fit = [(count, y, (max(knee - u, 0) ** 4) >> (3 * PLACES)) for count, u, y in points]
        return sum(c * y * t for c, y, t in fit), sum(c * t * t for c, y, t in fit)

    def explained(knee: int) -> Fraction:
        """Return by how much the best a lessens the sum of squares, if `derive` takes it."""
        across, square = projection(knee)
        if across * knee**4 >= square << (4 * PLACES + 1):
            return Fraction(0)
        return Fraction(across * across, square)

    coarse = max(range(SMALLEST, LARGEST + 1, 1 << (STEP + 5)), key=explained)
    near = range(max(coarse - (1 << (STEP + 5)), SMALLEST),
                 min(coarse + (1 << (STEP + 5)), LARGEST) + 1, 1 << STEP)
    knee = max(near, key=explained)
    if not explained(knee):
        return {}
    across, square = projection(knee)
    return {"a": Fraction(-across, square), "b": Fraction(-knee, 1 << PLACES)}


GOLDEN = dataclasses.replace(POLY4, calibrate=calibrate,
                             limits=(ErrorLimit(0.02, 0.0135), ErrorLimit(0.25, 0.0106)))
