"""Faster ways to the golden functions' results, equal to the last bit.

They drop the width checks of the intermediates, never a rounding: every step is done on numbers
that the type in use holds exactly. `tests/unit/test_executor.py` compares each with its golden
function on random and extreme inputs.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.log2_code import log2_value
from vitrtl.sw.golden.matmul import MatMulSpec
from vitrtl.sw.golden.requantize import RequantizeConstants, RequantizeSpec
from vitrtl.sw.golden.unit import Spec

__all__ = ["fast_path"]


def fast_path(name: str, spec: Spec, constants: Any) -> Callable[..., np.ndarray] | None:
    """Return a function of the inputs alone that equals the unit's golden one, or None."""
    if name == "matmul":
        return lambda a, b: _matmul(a, b, spec)
    if name == "requantize":
        return _requantize(spec, constants)
    if spec.in_format.width <= 8 and not spec.rowwise:
        return _table(name, spec, constants)
    if name == "gelu_shiftgelu":
        return _table_by_maximum(name, spec, constants)
    return None


def _matmul(a: np.ndarray, b: np.ndarray, spec: MatMulSpec) -> np.ndarray:
    """Multiply in floating point that holds every partial sum exactly, which is what BLAS does."""
    largest = a.shape[-1] * spec.largest_product
    dtype = np.float32 if largest <= 1 << 24 else np.float64
    a = log2_value(a) if spec.operand == "log2" else a
    if b.ndim == 2:
        # One product for the whole batch instead of one per image.
        product = a.reshape(-1, a.shape[-1]).astype(dtype) @ b.astype(dtype)
        return product.reshape(*a.shape[:-1], -1)
    return a.astype(dtype) @ b.astype(dtype)


def _requantize(spec: RequantizeSpec,
                constants: RequantizeConstants) -> Callable[[np.ndarray], np.ndarray] | None:
    """Scale in float64, whose 53 bits hold the product (51) and the half that is added (c).

    `(x + bias) * b / 2**c + 1/2` is then exact, and its floor is the rounded result.
    """
    if spec.product_format.width > 52 or spec.shifts[-1] > 52:
        return None
    shift = spec.shift_min + spec.shift_step * (constants.factor & (spec.shift_count - 1))
    scale = np.ldexp((constants.factor >> spec.code_width).astype(np.float64), -shift)
    offset = constants.bias * scale + 0.5
    lo, hi = spec.out_format.lo, spec.out_format.hi

    def apply(x: np.ndarray) -> np.ndarray:
        y = np.multiply(x, scale, dtype=np.float64)
        y += offset
        np.floor(y, out=y)
        return np.clip(y, lo, hi, out=y)

    return apply


def _table(name: str, spec: Spec, constants: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Look up an element-wise function whose every code the golden function has answered."""
    fmt = spec.in_format
    codes = np.arange(fmt.lo, fmt.hi + 1)
    table = unit(name).golden.function(codes, spec, constants)
    return lambda x: table[x.astype(np.intp) - fmt.lo]


def _table_by_maximum(name: str, spec: Spec, constants: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Look up a function of an element and its row's maximum.

    The golden function answers rows of two, an element and the maximum.
    """
    fmt = spec.in_format
    codes = np.arange(fmt.lo, fmt.hi + 1)
    pairs = np.stack(np.broadcast_arrays(codes, codes[:, np.newaxis]), axis=-1)
    table = unit(name).golden.function(pairs, spec, constants)[..., 0]

    def apply(x: np.ndarray) -> np.ndarray:
        largest = x.max(axis=-1, keepdims=True)
        return table[largest.astype(np.intp) - fmt.lo, x.astype(np.intp) - fmt.lo]

    return apply
