"""LayerNorms whose result is the scaled distance of each element from a number of its row."""

from collections.abc import Callable
from typing import Any

import numpy as np

from vitrtl.sw.fast import kernels
from vitrtl.sw.fast.rows import as_rows
from vitrtl.sw.golden import layernorm_rsqrt
from vitrtl.sw.golden.fixed_point import bit_length, floor_sqrt, round_div_even
from vitrtl.sw.golden.reciprocal_root import reciprocal_root
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.storage import storage

__all__ = ["layernorm_path"]

Rows = tuple[np.ndarray, int, np.ndarray, np.ndarray, int]
"""Gain, places dropped, center, factor and places of the result; arrays have one per row."""


def layernorm_path(name: str, spec: VectorSpec,
                   constants: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the faster way of a LayerNorm, or None.

    The result is `(((x * gain) >> dropped) - center) * factor >> places`, plus the bias.
    """
    if name not in _STATISTICS:
        return None
    statistics = _STATISTICS[name]
    bias, dtype = constants.bias.astype(np.int64), storage(spec.out_format)

    def apply(x: np.ndarray) -> np.ndarray:
        if x.shape[-1] != bias.size:
            raise ValueError(f"row length must be the {bias.size} channels of the constants, "
                             f"not {x.shape[-1]}")
        rows, out = as_rows(x), np.empty(x.shape, dtype)
        totals = np.empty(len(rows), np.int64)
        kernels.row_sums(rows, totals)
        kernels.normalise_rows(rows, *statistics(rows, totals, spec, constants), bias,
                               as_rows(out))
        return out

    return apply


def _squares(rows: np.ndarray, centers: np.ndarray, shift: int = 0) -> np.ndarray:
    squares = np.empty(len(rows), np.int64)
    kernels.row_squares(rows, centers, shift, squares)
    return squares


def _around_mean(mean: np.ndarray, factors: np.ndarray, places: int) -> Rows:
    return np.ones_like(mean), 0, mean, factors, places


def _newton(rows: np.ndarray, totals: np.ndarray, spec: Any, constants: Any) -> Rows:
    mean = round_div_even(totals, rows.shape[-1])
    root = floor_sqrt(_squares(rows, mean))
    return _around_mean(mean, (2**31 - 1) // np.maximum(root, 1), 1)


def _isqrt(rows: np.ndarray, totals: np.ndarray, spec: Any, constants: Any) -> Rows:
    mean = round_div_even(totals, rows.shape[-1])
    squares = _squares(rows, mean, constants.shift)
    root = np.maximum(floor_sqrt(np.minimum(squares, spec.radicand_format.hi)), 1)
    return _around_mean(mean, 2**31 // (root << constants.shift), 2)


def _lut(rows: np.ndarray, totals: np.ndarray, spec: Any, constants: Any) -> Rows:
    mean = round_div_even(totals, rows.shape[-1])
    return _around_mean(mean, reciprocal_root(_squares(rows, mean), spec.variance_format.width), 1)


def _l1(rows: np.ndarray, totals: np.ndarray, spec: Any, constants: Any) -> Rows:
    mean, magnitudes = round_div_even(totals, rows.shape[-1]), np.empty_like(totals)
    kernels.row_magnitudes(rows, mean, magnitudes)
    return _around_mean(mean, (2**35 - 1) // np.maximum(magnitudes, 1), 5)


def _rsqrt(rows: np.ndarray, totals: np.ndarray, spec: Any, constants: Any) -> Rows:
    channels, width = rows.shape[-1], spec.spread_format.width
    spread = channels * _squares(rows, np.zeros_like(totals)) - totals * totals
    steps = np.minimum((width - bit_length(spread)) >> 2, spec.most_steps)
    leading = spread << 4 * steps >> (width - layernorm_rsqrt.MANTISSA_FORMAT.width - 2)
    low = leading <= layernorm_rsqrt.MANTISSA_FORMAT.hi
    root = layernorm_rsqrt.reciprocal_root(np.where(low, leading, leading >> 2))
    return (channels << 2 * steps, spec.dropped, totals << 2 * steps >> spec.dropped,
            root << low, layernorm_rsqrt.ROOT_FORMAT.width - 1)


_STATISTICS = {"layernorm_newton": _newton, "layernorm_isqrt": _isqrt, "layernorm_lut": _lut,
               "layernorm_l1": _l1, "layernorm_rsqrt": _rsqrt}
