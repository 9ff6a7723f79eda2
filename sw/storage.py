"""How integers of a format are held in memory and in files."""

import numpy as np

from vitrtl.sw.golden.fixed_point import Format

__all__ = ["storage"]


def storage(fmt: Format) -> np.dtype:
    """Return the narrowest integer type that holds a format."""
    width = next(w for w in (8, 16, 32, 64) if fmt.width <= w)
    return np.dtype(f"{'int' if fmt.signed else 'uint'}{width}")
