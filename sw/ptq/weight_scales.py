"""Scale of each output channel's weights: from the largest, or by the error of the output."""

from collections.abc import Callable

import numpy as np

from vitrtl.sw.ptq.rounding import output_error

__all__ = ["Rounding", "least_error_scales"]

Rounding = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`codes = rounding(weight, scales)`, output channels along the last axis, each by itself."""

SHARES = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
"""Candidate limits, as shares of the scale at which no weight is clipped."""


def least_error_scales(weight: np.ndarray, scales: np.ndarray, moment: np.ndarray,
                       rounding: Rounding) -> np.ndarray:
    """Return the scale of each channel whose codes disturb the layer's output least.

    A smaller scale clips the largest weights and represents all others better. Which of the two
    the output feels depends on the inputs that the weights meet, so each candidate is rounded as
    it will be and judged by `output_error`.

    Parameters
    ----------
    weight : float weights.
    scales : at which nothing is clipped.
    moment : `E[x x^T]` of the layer's input.
    rounding : that makes the codes.

    Shape
    -----
    `weight` (in, out), `scales` (out,), `moment` (in, in); (out,).
    """
    candidates = np.outer(SHARES, scales)
    tiled = np.tile(weight, len(SHARES))
    codes = rounding(tiled, candidates.ravel())
    errors = output_error(codes * candidates.ravel() - tiled, moment)
    best = errors.reshape(candidates.shape).argmin(axis=0)
    return candidates[best, np.arange(len(scales))]
