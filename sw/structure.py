"""Operations of an integer network that only move integers, and the saturating addition.

Each has a function on a batch and a rule that gives format and shape of its result, so that a
network is checked before it runs. The moves use nothing but what arrays of NumPy and of torch
have in common, so that a float network makes the same ones.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, saturate

__all__ = ["MOVES", "OPERATIONS", "Operation", "add", "center", "concat", "heads", "merge",
           "patchify", "select"]

Shape = tuple[int, ...]
Attributes = Mapping[str, int]
A = TypeVar("A")


@dataclasses.dataclass(frozen=True, slots=True)
class Operation:
    """One structural operation.

    Parameters
    ----------
    function : `function(inputs, attributes) -> output`, on arrays with a batch axis; a constant
        operand comes without one.
    result : `result(inputs, attributes) -> (format, shape)` from formats and shapes without the
        batch axis; ValueError if they do not fit.
    doc : what it does, one line.
    """

    function: Callable[[Sequence[np.ndarray], Attributes], np.ndarray]
    result: Callable[[Sequence[tuple[Format, Shape]], Attributes], tuple[Format, Shape]]
    doc: str


def center(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Turn u8 pixels into s8 codes: subtract 128, which is to invert the top bit."""
    return (inputs[0] ^ np.uint8(128)).view(np.int8)


def patchify(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Cut an image into square patches, row by row; a patch keeps channel, row, column order."""
    (x,), size = inputs, attributes["patch"]
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // size, size, w // size, size)
    return np.ascontiguousarray(x.transpose(0, 2, 4, 1, 3, 5)).reshape(
        n, (h // size) * (w // size), c * size * size)


def heads(x: A, attributes: Attributes) -> A:
    """Take one of several equal parts of each token, and put the attention heads first."""
    parts = x.reshape(*x.shape[:-1], attributes["parts"], attributes["heads"], -1)
    return parts[..., attributes["part"], :, :].swapaxes(-3, -2)


def merge(x: A, attributes: Attributes) -> A:
    """Put the heads of each token side by side again."""
    x = x.swapaxes(-3, -2)
    return x.reshape(*x.shape[:-2], -1)


def concat(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Put the constant tokens of the second input before those of the first."""
    x, first = inputs
    first = np.broadcast_to(first, (len(x), *first.shape))
    return np.concatenate([first.astype(x.dtype), x], axis=1)


def select(x: A, attributes: Attributes) -> A:
    """Keep one token."""
    token = attributes["token"]
    return x[:, token:token + 1]


def add(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Add two values of one scale and format, saturating."""
    a, b = inputs
    fmt = Format(8 * a.dtype.itemsize, True)
    return saturate(a.astype(np.int32) + b, fmt).astype(a.dtype)


def _center(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, shape),) = inputs
    if fmt != Format(8, False):
        raise ValueError(f"input must be u8, not {fmt}")
    return Format(8, True), shape


def _patchify(inputs: Sequence[tuple[Format, Shape]],
              attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (c, h, w)),), size = inputs, attributes["patch"]
    if h % size or w % size:
        raise ValueError(f"image must be whole patches of {size}, not {h} x {w}")
    return fmt, ((h // size) * (w // size), c * size * size)


def _heads(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (*rows, width)),) = inputs
    count = attributes["parts"] * attributes["heads"]
    if width % count or not 0 <= attributes["part"] < attributes["parts"]:
        raise ValueError(f"width must be {count} equal parts, not {width}")
    return fmt, (*rows[:-1], attributes["heads"], rows[-1], width // count)


def _merge(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (*rows, count, tokens, width)),) = inputs
    return fmt, (*rows, tokens, count * width)


def _concat(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    (fmt, (tokens, width)), (first_fmt, (first, first_width)) = inputs
    if fmt != first_fmt or width != first_width:
        raise ValueError(f"both inputs must be tokens of {fmt} and width {width}, not of "
                         f"{first_fmt} and {first_width}")
    return fmt, (first + tokens, width)


def _select(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (tokens, width)),) = inputs
    if not 0 <= attributes["token"] < tokens:
        raise ValueError(f"token must be 0..{tokens - 1}, not {attributes['token']}")
    return fmt, (1, width)


def _add(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    (fmt, shape), (other, other_shape) = inputs
    if fmt != other or shape != other_shape or fmt not in (Format(8, True), Format(16, True)):
        raise ValueError(f"both inputs must be s8 or s16 of one shape, not {fmt} of {shape} and "
                         f"{other} of {other_shape}")
    return fmt, shape


MOVES: dict[str, Callable[[Any, Attributes], Any]] = {
    "heads": heads, "merge": merge, "select": select}
"""What an array of NumPy or a tensor of torch becomes by a move, by the operation's name."""


def _moving(name: str) -> Callable[[Sequence[np.ndarray], Attributes], np.ndarray]:
    """Return a move of codes; its result lies in memory in its own order."""
    move = MOVES[name]
    return lambda inputs, attributes: np.ascontiguousarray(move(inputs[0], attributes))


OPERATIONS = {
    "center": Operation(center, _center, "u8 pixels to s8 codes, minus 128"),
    "patchify": Operation(patchify, _patchify, "image to a row per patch"),
    "heads": Operation(_moving("heads"), _heads, "queries, keys or values, by attention head"),
    "merge": Operation(_moving("merge"), _merge, "heads side by side"),
    "concat": Operation(concat, _concat, "constant tokens before the others"),
    "select": Operation(_moving("select"), _select, "one token"),
    "add": Operation(add, _add, "saturating addition of one scale"),
}
"""Structural operations by name."""
