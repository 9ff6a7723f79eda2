"""How loops are compiled."""

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compiled"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return what compiles a function at its first call and keeps what was compiled.

    It is kept beside the function's file or in the user's cache; where neither can be written,
    nowhere. What is compiled runs without the interpreter's lock.

    Parameters
    ----------
    options : of numba.
    """
    def compile_one(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:
            return numba.njit(nogil=True, **options)(function)

    return compile_one
