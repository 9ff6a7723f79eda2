"""Weights to codes: to nearest, or so that the layer's output is reconstructed (GPTQ)."""

import numpy as np

from vitrtl.sw.golden.fixed_point import Format

__all__ = ["gptq", "output_error", "to_nearest"]

BLOCK = 128
"""Rows whose errors are fed back one by one before the rows behind them hear of all at once."""
DAMPING = 0.01
"""Share of the mean squared input that is added to each: what calibration did not excite."""
SWEEPS = 2
"""Passes of coordinate descent after GPTQ."""


def to_nearest(weight: np.ndarray, scales: np.ndarray, fmt: Format) -> np.ndarray:
    """Round each weight by itself.

    Shape
    -----
    `weight` (in, out), `scales` (out,); codes like `weight`, int64.
    """
    return np.clip(np.rint(weight / scales), -fmt.hi, fmt.hi).astype(np.int64)


def gptq(weight: np.ndarray, scales: np.ndarray, moment: np.ndarray, fmt: Format,
         damping: float = DAMPING, sweeps: int = SWEEPS) -> np.ndarray:
    """Round weights so that the error of `x @ weight` is small, not that of `weight`.

    Row by row, in the order of falling mean square of the row's input, weights are rounded to
    nearest, and the rows that are still to come make up for the error as well as they can. Then
    coordinate descent rounds each row once more with all others as they stand, which can only
    lower the error. Where rounding to nearest is better for an output channel, it stays.

    Parameters
    ----------
    weight : float weights.
    scales : of each output channel's codes.
    moment : `E[x x^T]` of the layer's input.
    fmt : of a code; its lowest value is left out, so that codes are symmetric.
    damping : share of the mean diagonal of `moment` that is added to the diagonal.
    sweeps : passes of coordinate descent.

    Shape
    -----
    `weight` (in, out), `scales` (out,), `moment` (in, in); codes like `weight`, int64.

    Source
    ------
    Frantar et al., GPTQ, arXiv:2210.17323, algorithm 1 with activation order; coordinate descent
    as in QuantEase, arXiv:2309.01885.
    """
    nearest = to_nearest(weight, scales, fmt)
    diagonal = np.diagonal(moment)
    if not diagonal.any():
        return nearest
    damped = moment + damping * diagonal.mean() * np.eye(len(moment))
    order = np.argsort(-diagonal, kind="stable")
    wanted = weight[order] / scales
    damped = damped[np.ix_(order, order)]
    codes = _feed_back(wanted, damped, fmt)
    best = nearest[order]
    better = output_error(codes - wanted, damped) < output_error(best - wanted, damped)
    best[:, better] = codes[:, better]
    for _ in range(sweeps):
        _descend(best, wanted, damped, fmt)
    codes = np.empty_like(best)
    codes[order] = best
    return codes


def output_error(difference: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """Return the mean squared error of each output that a difference of the weights makes.

    Shape
    -----
    `difference` (in, out), `moment` (in, in) of the input; (out,).
    """
    return (difference * (moment @ difference)).sum(axis=0)


def _feed_back(wanted: np.ndarray, moment: np.ndarray, fmt: Format) -> np.ndarray:
    """Return codes row by row, each row's error spread over those behind it."""
    left = wanted.copy()
    codes = np.empty(wanted.shape, np.int64)
    # Row i of the upper Cholesky factor of the inverse is how the rows behind i make up for it.
    factor = np.linalg.cholesky(np.linalg.inv(moment)).T
    for start in range(0, len(left), BLOCK):
        rows = slice(start, min(start + BLOCK, len(left)))
        errors = np.empty(left[rows].shape)
        for i in range(rows.start, rows.stop):
            codes[i] = np.clip(np.rint(left[i]), -fmt.hi, fmt.hi)
            errors[i - start] = (left[i] - codes[i]) / factor[i, i]
            left[i + 1:rows.stop] -= np.outer(factor[i, i + 1:rows.stop], errors[i - start])
        left[rows.stop:] -= factor[rows, rows.stop:].T @ errors
    return codes


def _descend(codes: np.ndarray, wanted: np.ndarray, moment: np.ndarray, fmt: Format) -> None:
    """Round each row anew, given all others, in place."""
    for start in range(0, len(codes), BLOCK):
        rows = slice(start, min(start + BLOCK, len(codes)))
        pull = moment[rows] @ (codes - wanted)
        for i in range(rows.start, rows.stop):
            diagonal = moment[i, i]
            rounded = np.clip(np.rint(codes[i] - pull[i - start] / diagonal), -fmt.hi, fmt.hi)
            step = rounded.astype(np.int64) - codes[i]
            pull += np.outer(moment[rows, i], step)
            codes[i] += step
