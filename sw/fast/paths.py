"""The faster way of each unit, where there is one.

They drop the width checks of the intermediates, never a rounding: every step is done on numbers
that the type in use holds exactly. `tests/unit/test_fast.py` compares each with its golden
function on random and extreme inputs. Where a code has so few bits that all of them can be asked,
the golden function itself answers them once and a table is read from then on.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vitrtl.sw.catalog import unit
from vitrtl.sw.fast import kernels
from vitrtl.sw.fast.layernorm import layernorm_path
from vitrtl.sw.fast.rows import as_rows
from vitrtl.sw.fast.softmax import softmax_path
from vitrtl.sw.golden.log2_code import log2_value
from vitrtl.sw.golden.matmul import MatMulSpec
from vitrtl.sw.golden.requantize import RequantizeConstants, RequantizeSpec
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.storage import storage

__all__ = ["STRUCTURAL", "fast_path", "fixed_matmul"]

Path = Callable[[np.ndarray], np.ndarray]

FLOAT32_EXACT = 1 << 24
"""Every integer up to here is a float32, so that sums up to here are exact in any order."""


def fast_path(name: str, spec: Spec, constants: Any) -> Callable[..., np.ndarray] | None:
    """Return a function of the inputs alone that equals the unit's golden one, or None.

    A result has the storage type of its format, but for the accumulators of a matrix
    multiplication: these are integers in floating point, as BLAS leaves them.
    """
    if name == "matmul":
        return lambda a, b: _matmul(a, b, spec)
    if name == "requantize":
        return _requantize(spec, constants)
    if isinstance(spec, VectorSpec) and not spec.rowwise and spec.in_format.width <= 8:
        return _table(name, spec, constants)
    if name == "gelu_shiftgelu":
        return _table_by_maximum(name, spec, constants)
    return softmax_path(name, spec, constants) or layernorm_path(name, spec, constants)


def _matmul(a: np.ndarray, b: np.ndarray, spec: MatMulSpec) -> np.ndarray:
    """Multiply in floating point that holds every partial sum exactly, which is what BLAS does."""
    dtype = _exact_float(a.shape[-1] * spec.largest_product)
    return _activations(a, spec, dtype) @ b.astype(dtype)


def fixed_matmul(b: np.ndarray, spec: MatMulSpec) -> Path:
    """Return the multiplication by weights that are known beforehand.

    What their columns can add up to decides how much of the inner dimension float32 holds at
    once. More is done in parts, and these are added in float64.

    Shape
    -----
    b (K, N); the path takes (..., M, K) and gives (..., M, N).
    """
    largest = FLOAT32_EXACT // (spec.largest_product // -spec.weight_format.lo)
    magnitudes = np.abs(b.astype(np.int64))
    if magnitudes.max(initial=0) > largest:
        return lambda a: _matmul(a, b, spec)
    starts, total = [0], np.zeros(b.shape[-1], np.int64)
    for k, row in enumerate(magnitudes):
        total += row
        if total.max(initial=0) > largest:
            starts.append(k)
            total = row.copy()
    parts = [(slice(start, stop), np.ascontiguousarray(b[start:stop], np.float32))
             for start, stop in zip(starts, [*starts[1:], len(b)], strict=True)]

    def apply(a: np.ndarray) -> np.ndarray:
        rows = _activations(a, spec, np.float32).reshape(-1, a.shape[-1])
        total = rows[:, parts[0][0]] @ parts[0][1]
        if len(parts) > 1:
            total = total.astype(np.float64)
        for part, weights in parts[1:]:
            total += rows[:, part] @ weights
        return total.reshape(*a.shape[:-1], -1)

    return apply


def _exact_float(largest: int) -> type[np.floating]:
    """Return the floating point type that holds integers up to `largest`."""
    return np.float32 if largest <= FLOAT32_EXACT else np.float64


def _activations(a: np.ndarray, spec: MatMulSpec, dtype: type[np.floating]) -> np.ndarray:
    return (log2_value(a) if spec.operand == "log2" else a).astype(dtype)


def _requantize(spec: RequantizeSpec, constants: RequantizeConstants) -> Path | None:
    """Scale in float64, whose 53 bits hold the product (51) and the half that is added (c).

    `(x + bias) * b / 2**c + 1/2` is then exact, and its floor is the rounded result.
    """
    if spec.product_format.width > 52 or spec.shifts[-1] > 52:
        return None
    entries = slice(None) if constants.per_channel else slice(1)
    factor, bias = constants.factor[entries], constants.bias[entries]
    shift = spec.shift_min + spec.shift_step * (factor & (spec.shift_count - 1))
    scale = np.ldexp((factor >> spec.code_width).astype(np.float64), -shift)
    offset = bias * scale + 0.5
    lo, hi, dtype = spec.out_format.lo, spec.out_format.hi, storage(spec.out_format)

    def apply(x: np.ndarray) -> np.ndarray:
        if x.shape[-1] != scale.size != 1:
            raise ValueError(f"row length must be the {scale.size} channels of the constants, "
                             f"not {x.shape[-1]}")
        rows = as_rows(x)
        out = np.empty(rows.shape, dtype)
        kernels.scale_rows(rows, scale, offset, lo, hi, out)
        return out.reshape(x.shape)

    return apply


def _table(name: str, spec: VectorSpec, constants: Any) -> Path:
    """Look up an element-wise function whose every code the golden function has answered."""
    fmt = spec.in_format
    codes = np.arange(fmt.lo, fmt.hi + 1)
    table = unit(name).golden.function(codes, spec, constants).astype(storage(spec.out_format))

    def apply(x: np.ndarray) -> np.ndarray:
        out = np.empty(x.shape, table.dtype)
        kernels.look_up(np.ascontiguousarray(x).reshape(-1), fmt.lo, table, out.reshape(-1))
        return out

    return apply


def _table_by_maximum(name: str, spec: VectorSpec, constants: Any) -> Path:
    """Look up a function of an element and its row's maximum.

    The golden function answers rows of two, an element and the maximum.
    """
    fmt = spec.in_format
    codes = np.arange(fmt.lo, fmt.hi + 1)
    pairs = np.stack(np.broadcast_arrays(codes, codes[:, np.newaxis]), axis=-1)
    table = unit(name).golden.function(pairs, spec, constants)[..., 0].astype(
        storage(spec.out_format))

    def apply(x: np.ndarray) -> np.ndarray:
        rows = as_rows(x)
        smallest, largest = np.empty((2, len(rows)), np.int64)
        kernels.row_extremes(rows, smallest, largest)
        out = np.empty(rows.shape, table.dtype)
        kernels.look_up_by_row(rows, largest, fmt.lo, table, out)
        return out.reshape(x.shape)

    return apply


def add(inputs: Sequence[np.ndarray], attributes: Mapping[str, int]) -> np.ndarray:
    """Add two values of one scale and format, saturating: `vitrtl.sw.structure.add`."""
    a, b = inputs
    limits = np.iinfo(a.dtype)
    out = np.empty(a.shape, a.dtype)
    # A constant serves all images, and may lack the first axes of one.
    b = b if b.shape == a.shape else np.broadcast_to(b, (1, *a.shape[1:]))
    kernels.add_saturating(*(np.ascontiguousarray(x).reshape(len(x), -1) for x in (a, b)),
                           limits.min, limits.max, out.reshape(len(a), -1))
    return out


STRUCTURAL = {"add": add}
"""Faster ways of structural operations, by name."""
