"""Operations of an integer network that only move integers, and additions.

Each has a function on a batch and a rule that gives format and shape of its result, so that a
network is checked before it runs. The moves use nothing but what arrays of NumPy and of torch
have in common, so that a float network makes the same ones.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, saturate

__all__ = ["MOVES", "OPERATIONS", "Operation", "add", "center", "concat", "crop", "flatten",
           "grid", "heads", "join_windows", "merge", "merge_patches", "pad", "patchify", "roll",
           "select", "total", "widen", "windows"]

Shape = tuple[int, ...]
Attributes = Mapping[str, int]
A = TypeVar("A")

ADDED = (Format(8, True), Format(16, True), Format(32, True))


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
    """Keep one token, or `count` of them."""
    token = attributes["token"]
    return x[:, token:token + attributes.get("count", 1)]


def flatten(x: A, attributes: Attributes) -> A:
    """Put all tokens side by side, as one."""
    return x.reshape(len(x), 1, -1)


def grid(x: A, attributes: Attributes) -> A:
    """Arrange tokens in rows and columns."""
    return x.reshape(len(x), attributes["rows"], attributes["columns"], -1)


def roll(x: A, attributes: Attributes) -> A:
    """Move a grid down and to the right; what falls out comes in at the other side."""
    rows, columns = ([(i - attributes[axis]) % count for i in range(count)]
                     for axis, count in (("rows", x.shape[1]), ("columns", x.shape[2])))
    return x[:, rows][:, :, columns]


def crop(x: A, attributes: Attributes) -> A:
    """Keep the first rows and columns of a grid."""
    return x[:, :attributes["rows"], :attributes["columns"]]


def windows(x: A, attributes: Attributes) -> A:
    """Cut a grid into windows, row by row, each a list of tokens, row by row."""
    n, rows, columns, width = x.shape
    high, wide = attributes["height"], attributes["width"]
    x = x.reshape(n, rows // high, high, columns // wide, wide, width).swapaxes(2, 3)
    return x.reshape(n, -1, high * wide, width)


def join_windows(x: A, attributes: Attributes) -> A:
    """Put windows together to the grid that they were cut from."""
    rows, columns = attributes["rows"], attributes["columns"]
    high, wide = attributes["height"], attributes["width"]
    x = x.reshape(len(x), rows // high, columns // wide, high, wide, -1).swapaxes(2, 3)
    return x.reshape(len(x), rows, columns, -1)


def merge_patches(x: A, attributes: Attributes) -> A:
    """Put squares of four tokens side by side, as one: the left ones first, then from above."""
    n, rows, columns, width = x.shape
    x = x.reshape(n, rows // 2, 2, columns // 2, 2, width).swapaxes(2, 3).swapaxes(3, 4)
    return x.reshape(n, rows // 2, columns // 2, 4 * width)


def add(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Add two values of one scale and format, saturating; a constant may lack the first axes."""
    a, b = inputs
    fmt = Format(8 * a.dtype.itemsize, True)
    wide = np.int32 if a.dtype.itemsize < 4 else np.int64
    return saturate(a.astype(wide) + b, fmt).astype(a.dtype)


def pad(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Put the constant token of the second input after the last row and column of a grid."""
    x, fill = inputs
    n, rows, columns, width = x.shape
    shape = (n, attributes["rows"], attributes["columns"], width)
    padded = np.array(np.broadcast_to(fill.astype(x.dtype), shape))
    padded[:, :rows, :columns] = x
    return padded


def total(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Add all tokens."""
    (x,) = inputs
    return x.reshape(len(x), -1, x.shape[-1]).sum(axis=1, keepdims=True, dtype=np.int32)


def widen(inputs: Sequence[np.ndarray], attributes: Attributes) -> np.ndarray:
    """Put zero bits below codes, which makes s32 codes of a finer scale."""
    return inputs[0].astype(np.int32) << attributes["bits"]


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
    ((fmt, (tokens, width)),), count = inputs, attributes.get("count", 1)
    if not 0 <= attributes["token"] <= tokens - count or count < 1:
        raise ValueError(f"token must be 0..{tokens - count}, not {attributes['token']}")
    return fmt, (count, width)


def _flatten(inputs: Sequence[tuple[Format, Shape]],
             attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (tokens, width)),) = inputs
    return fmt, (1, tokens * width)


def _grid(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (tokens, width)),), rows, columns = inputs, attributes["rows"], attributes["columns"]
    if rows * columns != tokens:
        raise ValueError(f"grid must have {tokens} tokens, not {rows} x {columns}")
    return fmt, (rows, columns, width)


def _roll(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (rows, columns, width)),) = inputs
    if abs(attributes["rows"]) >= rows or abs(attributes["columns"]) >= columns:
        raise ValueError(f"grid of {rows} x {columns} must move by less than its size, not by "
                         f"{attributes['rows']} x {attributes['columns']}")
    return fmt, (rows, columns, width)


def _crop(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (*size, width)),), kept = inputs, (attributes["rows"], attributes["columns"])
    if not (0 < kept[0] <= size[0] and 0 < kept[1] <= size[1]):
        raise ValueError(f"grid of {size[0]} x {size[1]} cannot keep {kept[0]} x {kept[1]}")
    return fmt, (*kept, width)


def _windows(inputs: Sequence[tuple[Format, Shape]],
             attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (rows, columns, width)),) = inputs
    high, wide = attributes["height"], attributes["width"]
    if rows % high or columns % wide:
        raise ValueError(f"grid must be whole windows of {high} x {wide}, not {rows} x {columns}")
    return fmt, ((rows // high) * (columns // wide), high * wide, width)


def _join_windows(inputs: Sequence[tuple[Format, Shape]],
                  attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, shape),), rows, columns = inputs, attributes["rows"], attributes["columns"]
    _, cut = _windows([(fmt, (rows, columns, shape[-1]))], attributes)
    if cut != shape:
        raise ValueError(f"windows of a grid of {rows} x {columns} must have shape {cut}, not "
                         f"{shape}")
    return fmt, (rows, columns, shape[-1])


def _merge_patches(inputs: Sequence[tuple[Format, Shape]],
                   attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (rows, columns, width)),) = inputs
    if rows % 2 or columns % 2:
        raise ValueError(f"grid must have even sides, not {rows} x {columns}")
    return fmt, (rows // 2, columns // 2, 4 * width)


def _add(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    (fmt, shape), (other, other_shape) = inputs
    fits = len(other_shape) <= len(shape) and all(
        b in (1, a) for a, b in zip(reversed(shape), reversed(other_shape), strict=False))
    if fmt != other or not fits or fmt not in ADDED:
        raise ValueError(f"both inputs must be s8, s16 or s32 of one shape, not {fmt} of {shape} "
                         f"and {other} of {other_shape}")
    return fmt, shape


def _pad(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    (fmt, (*size, width)), (fill_fmt, fill) = inputs
    padded = (attributes["rows"], attributes["columns"])
    if padded[0] < size[0] or padded[1] < size[1] or fill_fmt != fmt or fill != (width,):
        raise ValueError(f"grid of {size[0]} x {size[1]} tokens {fmt} of width {width} cannot be "
                         f"padded to {padded[0]} x {padded[1]} with {fill_fmt} of shape {fill}")
    return fmt, (*padded, width)


def _total(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, (*tokens, width)),) = inputs
    count, result = math.prod(tokens), Format(32, True)
    if count * fmt.hi > result.hi or count * fmt.lo < result.lo:
        raise ValueError(f"sum of {count} tokens of {fmt} must fit {result}")
    return result, (1, width)


def _widen(inputs: Sequence[tuple[Format, Shape]], attributes: Attributes) -> tuple[Format, Shape]:
    ((fmt, shape),), bits, result = inputs, attributes["bits"], Format(32, True)
    if bits < 1 or fmt.lo << bits < result.lo or fmt.hi << bits > result.hi:
        raise ValueError(f"codes {fmt} may gain bits up to {result}, not {bits}")
    return result, shape


MOVES: dict[str, Callable[[Any, Attributes], Any]] = {
    "heads": heads, "merge": merge, "select": select, "flatten": flatten, "grid": grid,
    "roll": roll, "crop": crop, "windows": windows, "join_windows": join_windows,
    "merge_patches": merge_patches}
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
    "select": Operation(_moving("select"), _select, "one token, or several"),
    "flatten": Operation(_moving("flatten"), _flatten, "all tokens side by side, as one"),
    "grid": Operation(_moving("grid"), _grid, "tokens in rows and columns"),
    "roll": Operation(_moving("roll"), _roll, "grid moved, with what falls out put back in"),
    "crop": Operation(_moving("crop"), _crop, "first rows and columns of a grid"),
    "windows": Operation(_moving("windows"), _windows, "windows of a grid"),
    "join_windows": Operation(_moving("join_windows"), _join_windows, "grid of windows"),
    "merge_patches": Operation(_moving("merge_patches"), _merge_patches,
                               "squares of four tokens side by side"),
    "pad": Operation(pad, _pad, "constant token after the last row and column of a grid"),
    "add": Operation(add, _add, "saturating addition of one scale"),
    "widen": Operation(widen, _widen, "codes to s32, times a power of two"),
    "total": Operation(total, _total, "sum of all tokens"),
}
"""Structural operations by name."""
