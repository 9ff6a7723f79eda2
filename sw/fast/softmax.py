"""Softmax of rows, each method's exponentials in a table that its golden parts have answered."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from vitrtl.sw.fast import kernels
from vitrtl.sw.fast.rows import as_rows
from vitrtl.sw.golden import softmax_exp2, softmax_softermax
from vitrtl.sw.golden.fixed_point import bit_length
from vitrtl.sw.golden.log2_code import FRACTION_BITS
from vitrtl.sw.golden.poly_exp import poly_exp
from vitrtl.sw.golden.power_scale import aligned
from vitrtl.sw.golden.shift_exp import CHORD, shift_exp, shift_exp_parts, times_log2e
from vitrtl.sw.golden.softmax_e2 import FRACTION
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.storage import storage

__all__ = ["softmax_path"]

LARGEST_SUM = 2**31 - 1
"""Where methods after I-ViT clamp their sum; that of the others is never so large."""


@dataclasses.dataclass(frozen=True, slots=True)
class _Form:
    """A softmax as `(numerators[d] * factor) >> (places[d] + shift)`, d the distance.

    Parameters
    ----------
    terms : what an element at each distance adds to its row's sum.
    numerators : what its result is a share of.
    divide : `divide(sums) -> (factors, shifts)`, one of each per row.
    places : what more it is shifted by at each distance.
    """

    terms: np.ndarray
    numerators: np.ndarray
    divide: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | int]]
    places: np.ndarray | int = 0


def softmax_path(name: str, spec: VectorSpec,
                 constants: Any) -> Callable[[np.ndarray], np.ndarray] | None:
    """Return the faster way of a softmax, or None."""
    if name == "softmax_softermax":
        return _online(spec, constants)
    if name == "softmax_log_int":
        return _logarithm(spec, constants)
    if name not in _FORMS:
        return None
    if getattr(spec, "carry", False):
        return _carried(spec, constants)
    distances = np.arange(1 << spec.in_width)
    form = _FORMS[name](distances, spec, constants)
    places = np.broadcast_to(form.places, distances.shape).astype(np.int64)

    def write(rows: _Rows, out: np.ndarray) -> None:
        factors, shifts = form.divide(rows.totals)
        shifts = np.broadcast_to(shifts, rows.totals.shape).astype(np.int64)
        kernels.scale_by_table(rows.x, rows.smallest, rows.largest, form.numerators, places,
                               factors, shifts, out)

    return _of_sums(form.terms, spec, write)


@dataclasses.dataclass(frozen=True, slots=True)
class _Rows:
    """Rows as a matrix, and the ends and the sum of terms of each."""

    x: np.ndarray
    smallest: np.ndarray
    largest: np.ndarray
    totals: np.ndarray


def _of_sums(terms: np.ndarray, spec: VectorSpec,
             write: Callable[[_Rows, np.ndarray], None]) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way that writes its results once each row's sum of terms is known."""
    dtype = storage(spec.out_format)

    def apply(x: np.ndarray) -> np.ndarray:
        rows = _Rows(as_rows(x), *np.empty((3, x.size // x.shape[-1]), np.int64))
        kernels.row_extremes(rows.x, rows.smallest, rows.largest)
        kernels.sum_terms(rows.x, rows.largest, terms, rows.totals)
        out = np.empty(x.shape, dtype)
        write(rows, as_rows(out))
        return out

    return apply


def _logarithm(spec: VectorSpec, constants: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way of the softmax whose results are powers of two."""
    terms = _poly_exp(np.arange(1 << spec.in_width), spec, constants)
    return _of_sums(terms, spec, lambda rows, out: kernels.log2_by_table(
        rows.x, rows.smallest, rows.largest, terms, rows.totals, FRACTION_BITS, out))


def _online(spec: VectorSpec, constants: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way of the softmax whose sum follows a running maximum."""
    fmt, dtype = spec.in_format, storage(spec.out_format)
    scores = aligned(np.arange(fmt.lo, fmt.hi + 1), spec, constants)
    octaves, fraction = scores >> spec.finest, scores & ((1 << spec.finest) - 1)
    mantissas = softmax_softermax.power_of_two(fraction, spec.finest)
    ceilings = octaves + (fraction != 0)

    def apply(x: np.ndarray) -> np.ndarray:
        rows, out = as_rows(x), np.empty(x.shape, dtype)
        smallest, largest, peaks, totals = np.empty((4, len(rows)), np.int64)
        kernels.row_extremes(rows, smallest, largest)
        kernels.sum_online(rows, fmt.lo, mantissas, octaves, ceilings, spec.lanes, peaks, totals)
        kernels.scale_online(rows, smallest, largest, fmt.lo, mantissas, octaves, peaks,
                             LARGEST_SUM // totals, 32 - spec.out_bits, as_rows(out))
        return out

    return apply


def _carried(spec: VectorSpec, constants: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return the way of an exponential softmax that carries what it drops to the next element."""
    finest = dataclasses.replace(spec, carry=False, out_bits=softmax_exp2.FINEST)
    whole = softmax_path("softmax_exp2", finest, constants)
    dtype, dropped = storage(spec.out_format), softmax_exp2.FINEST - spec.out_bits

    def apply(x: np.ndarray) -> np.ndarray:
        rows = as_rows(whole(x))
        out = np.empty(x.shape, dtype)
        kernels.carry_down_lanes(rows, spec.lanes, dropped, as_rows(out))
        return out

    return apply


def _quotient(e: np.ndarray, dividend: int, shift: int) -> _Form:
    """Return `(e * (dividend // min(sum e, 2**31 - 1))) >> shift`."""
    return _Form(e, e, lambda sums: (dividend // np.minimum(sums, LARGEST_SUM), shift))


def _shiftmax(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    e = shift_exp(-d, constants.i0, spec.n, CHORD)
    return _quotient(e, LARGEST_SUM, 32 - spec.out_bits)


def _bit_softmax(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    e = shift_exp(-d, constants.i0, spec.n, spec.line)
    return _quotient(e, (1 << spec.quotient_bits) - 1, spec.quotient_bits - spec.out_bits + 1)


def _pow2(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    u, q = shift_exp_parts(aligned(-d, spec, constants), 1 << spec.finest, spec.n, spec.line)
    return _quotient((u << (spec.n - q)) >> spec.unit_places, LARGEST_SUM, 32 - spec.out_bits)


def _lut(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    e = constants.table[-d & (d.size - 1)]
    return _quotient(e, 2**32 - 1, 32 - spec.out_bits)


def _poly_exp(d: np.ndarray, spec: Any, constants: Any) -> np.ndarray:
    hi = spec.in_format.hi
    pairs, _ = poly_exp(np.stack([np.full_like(d, hi), hi - d], axis=-1), spec, constants)
    return np.ascontiguousarray(pairs[:, 1])


def _iexp(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    return _quotient(_poly_exp(d, spec, constants), 2**32, 32 - spec.out_bits)


def _exp2(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    e = softmax_exp2.exponential(d, constants)
    numerators = 2 * e + 1
    shift = softmax_exp2.PRODUCT_BITS - spec.out_bits
    return _Form(np.where(e > 0, numerators, 0), numerators,
                 lambda sums: (softmax_exp2.factor_of(sums), shift))


def _e2(d: np.ndarray, spec: Any, constants: Any) -> _Form:
    octaves = -(times_log2e(aligned(-d, spec, constants)) >> spec.finest)
    code = np.minimum(octaves, FRACTION)

    def divide(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        leading = bit_length(sums) - 1
        high = (sums >> (leading - 1)) & 1
        return np.where(high, constants.high, constants.low), leading - FRACTION

    return _Form((1 << FRACTION) >> code, np.ones_like(d), divide, code)


_FORMS = {"softmax_shiftmax": _shiftmax, "softmax_bit_softmax": _bit_softmax,
          "softmax_shiftmax_pow2": _pow2, "softmax_bit_softmax_pow2": _pow2,
          "softmax_e2": _e2, "softmax_lut": _lut, "softmax_iexp": _iexp, "softmax_exp2": _exp2}
