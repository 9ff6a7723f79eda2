"""LayerNorms whose result is the scaled distance of each element from a number of its row."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from vitrtl.sw.fast import kernels
from vitrtl.sw.fast.rows import as_rows
from vitrtl.sw.golden import layernorm_rsqrt, ptf
from vitrtl.sw.golden.fixed_point import bit_length, floor_sqrt, round_div_even
from vitrtl.sw.golden.layernorm_ailn import compressed_squares
from vitrtl.sw.golden.reciprocal_root import reciprocal_root
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.storage import storage

__all__ = ["layernorm_path"]


class _Normalised(NamedTuple):
    """`(((element * gain) >> dropped) - center) * factor >> places`: arrays have one per row."""

    elements: np.ndarray
    gains: np.ndarray
    dropped: int
    centers: np.ndarray
    factors: np.ndarray
    places: int


def layernorm_path(name: str, spec: VectorSpec,
                   constants: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the faster way of a LayerNorm, or None.

    A method tells how a row is normalised; gain and bias of the channels follow for all alike.
    """
    if name not in _METHODS:
        return None
    normalise, bias_places = _METHODS[name]
    bias, fmt = np.asarray(constants.bias, np.int64), spec.out_format
    if spec.merges_requantizer:
        affine = (ptf.Z_FORMAT.hi, np.asarray(constants.multiplier, np.int64),
                  spec.multiplier_shift - bias_places, bias, bias_places, fmt.lo, fmt.hi)

    def apply(x: np.ndarray) -> np.ndarray:
        if x.shape[-1] != bias.size:
            raise ValueError(f"row length must be the {bias.size} channels of the constants, "
                             f"not {x.shape[-1]}")
        normalised = normalise(as_rows(x), spec, constants)
        out = np.empty(x.shape, storage(fmt))
        if spec.merges_requantizer:
            kernels.normalise_to_operand(*normalised, *affine, as_rows(out))
        else:
            kernels.normalise_rows(*normalised, bias, as_rows(out))
        return out

    return apply


def _sums(rows: np.ndarray) -> np.ndarray:
    totals = np.empty(len(rows), np.int64)
    kernels.row_sums(rows, totals)
    return totals


def _squares(rows: np.ndarray, centers: np.ndarray, shift: int = 0) -> np.ndarray:
    squares = np.empty(len(rows), np.int64)
    kernels.row_squares(rows, centers, shift, squares)
    return squares


def _around_mean(rows: np.ndarray, mean: np.ndarray, factors: np.ndarray,
                 places: int) -> _Normalised:
    return _Normalised(rows, np.ones_like(mean), 0, mean, factors, places)


def _newton(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
    mean = round_div_even(_sums(rows), rows.shape[-1])
    root = floor_sqrt(_squares(rows, mean))
    return _around_mean(rows, mean, (2**31 - 1) // np.maximum(root, 1), 1)


def _isqrt(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
    mean = round_div_even(_sums(rows), rows.shape[-1])
    squares = _squares(rows, mean, constants.shift)
    root = np.maximum(floor_sqrt(np.minimum(squares, spec.radicand_format.hi)), 1)
    return _around_mean(rows, mean, 2**31 // (root << constants.shift), 2)


def _lut(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
    mean = round_div_even(_sums(rows), rows.shape[-1])
    factors = reciprocal_root(_squares(rows, mean), spec.variance_format.width)
    return _around_mean(rows, mean, factors, 1)


def _l1(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
    mean, magnitudes = round_div_even(_sums(rows), rows.shape[-1]), np.empty(len(rows), np.int64)
    kernels.row_magnitudes(rows, mean, magnitudes)
    return _around_mean(rows, mean, (2**35 - 1) // np.maximum(magnitudes, 1), 5)


def _rsqrt(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
    totals, channels, width = _sums(rows), rows.shape[-1], spec.spread_format.width
    spread = channels * _squares(rows, np.zeros_like(totals)) - totals * totals
    steps = np.minimum((width - bit_length(spread)) >> 2, spec.most_steps)
    leading = spread << 4 * steps >> (width - layernorm_rsqrt.MANTISSA_FORMAT.width - 2)
    low = leading <= layernorm_rsqrt.MANTISSA_FORMAT.hi
    root = layernorm_rsqrt.reciprocal_root(np.where(low, leading, leading >> 2))
    return _Normalised(rows, channels << 2 * steps, spec.dropped,
                       totals << 2 * steps >> spec.dropped, root << low,
                       layernorm_rsqrt.ROOT_FORMAT.width - 1 + spec.merges_requantizer)


def _encoded(exact: bool) -> Callable[[np.ndarray, Any, Any], _Normalised]:
    """Return how rows of codes with a factor per channel are normalised.

    Parameters
    ----------
    exact : whether squares are, or come from a table of the codes.
    """
    fmt = ptf.CODE_FORMAT
    table = compressed_squares(np.arange(fmt.lo, fmt.hi + 1))

    def normalise(rows: np.ndarray, spec: Any, constants: Any) -> _Normalised:
        elements = np.empty(rows.shape, np.int16)
        kernels.encode_rows(rows, constants.base + constants.alpha, constants.alpha, fmt.lo, fmt.hi,
                            elements)
        totals, places = _sums(elements), spec.mean_fraction
        if exact:
            squares = _squares(elements, np.zeros_like(totals))
        else:
            squares = np.empty_like(totals)
            kernels.row_table_squares(elements, constants.alpha, table, fmt.lo, squares)
        mean = round_div_even(totals << places, rows.shape[-1])
        variance = (squares << 2 * places) - mean * (2 * (totals << places)
                                                     - rows.shape[-1] * mean)
        factors = reciprocal_root(np.maximum(variance, 0), spec.variance_format.width)
        return _Normalised(elements, np.full_like(mean, 1 << places), 0, mean, factors, 15)

    return normalise


_METHODS: dict[str, tuple[Callable[[np.ndarray, Any, Any], _Normalised], int]] = {
    "layernorm_newton": (_newton, 0), "layernorm_isqrt": (_isqrt, 0),
    "layernorm_ptf": (_encoded(True), ptf.BIAS_FRACTION),
    "layernorm_ailn": (_encoded(False), ptf.BIAS_FRACTION),
    "layernorm_lut": (_lut, 0), "layernorm_l1": (_l1, 0),
    "layernorm_rsqrt": (_rsqrt, layernorm_rsqrt.BIAS_FRACTION)}
"""How a row is normalised, and the places of the bias below an operand of the next unit."""
