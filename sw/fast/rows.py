"""Rows as the compiled loops take them."""

import numpy as np

__all__ = ["as_rows"]


def as_rows(x: np.ndarray) -> np.ndarray:
    """Return `x` as a C-contiguous matrix, rows along the last axis."""
    return np.ascontiguousarray(x).reshape(-1, x.shape[-1])
