"""Rows that errors are measured on: seeded real numbers, the same for every method."""

from collections.abc import Callable

import numpy as np

from vitrtl.sw.golden.fixed_point import Format

__all__ = ["affine", "every_code", "layernorm_rows", "quantized", "softmax_rows"]

SEED = 20240607
RANDOM_ROWS = 12
"""Rows of each random kind."""
OUTLIER_EVERY = 32
"""One channel in so many is an outlier of a LayerNorm's input."""
OUTLIER = 12.0
"""What such a channel is larger by."""


def softmax_rows(length: int) -> dict[str, np.ndarray]:
    """Return attention scores by kind, real numbers.

    Shape
    -----
    (rows, length) each.
    """
    rng = np.random.default_rng([SEED, length])
    kinds = {f"normal, deviation {sigma:g}": rng.normal(0, sigma, (RANDOM_ROWS, length))
             for sigma in (0.5, 1, 2, 4)}
    kinds["uniform, -8 to 8"] = rng.uniform(-8, 8, (RANDOM_ROWS, length))
    kinds["one hot, 8 above"] = np.where(np.arange(length) == length // 2, 4.0, -4.0)[None]
    kinds["ties, whole numbers"] = np.rint(rng.normal(0, 2, (RANDOM_ROWS, length)))
    kinds["all equal"] = np.array([[-1.0], [0.0], [1.0]]) + np.zeros(length)
    return kinds


def layernorm_rows(length: int) -> dict[str, np.ndarray]:
    """Return residual streams by kind, real numbers; the outlier channels are the same in all rows.

    Shape
    -----
    (rows, length) each.
    """
    rng = np.random.default_rng([SEED, length])
    shape = (RANDOM_ROWS, length)
    kinds = {f"normal, mean {mu:g}": rng.normal(mu, 1, shape) for mu in (0, 2, -2)}
    gain = np.where(np.arange(length) % OUTLIER_EVERY == OUTLIER_EVERY // 4, OUTLIER, 1)
    kinds["normal, outlier channels"] = rng.normal(0, 1, shape) * gain
    kinds["uniform, -2 to 2"] = rng.uniform(-2, 2, shape)
    return kinds


def affine(length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return gamma and beta of a LayerNorm: 0.8 to 1.2, and normal of deviation 0.1."""
    rng = np.random.default_rng([SEED, length, 1])
    return rng.uniform(0.8, 1.2, length), rng.normal(0, 0.1, length)


def every_code(fmt: Format, length: int | None) -> np.ndarray:
    """Return every code of a format, in order as one row, or shuffled into rows of a length.

    The last row is filled up with the first codes again.
    """
    codes = np.arange(fmt.lo, fmt.hi + 1)
    if length is None:
        return codes[None]
    shuffled = np.random.default_rng([SEED, length]).permutation(codes)
    return np.resize(shuffled, -(-codes.size // length) * length).reshape(-1, length)


def quantized(values: np.ndarray, fmt: Format, scale: float) -> np.ndarray:
    """Return the nearest codes, those beyond the format at its ends."""
    return np.clip(np.rint(values / scale), fmt.lo, fmt.hi).astype(np.int64)


REAL_ROWS: dict[str, Callable[[int], dict[str, np.ndarray]]] = {
    "softmax": softmax_rows, "layernorm": layernorm_rows,
}
"""Operator to rows by kind; a GELU has every code instead."""
