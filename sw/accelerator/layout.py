"""Constants of a network as they lie in memory, in the order in which the engines take them."""

import numpy as np

from vitrtl.sw.accelerator.spec import CONSTANT_BEATS
from vitrtl.sw.golden.requantize import RequantizeConstants

__all__ = ["Segment", "constant_groups", "padded", "residual_words", "weight_tiles"]

FACTOR_PLACE = 32
"""Bit of a channel's constants at which the factor begins; the bias is below."""
FACTOR_BITS = 21


class Segment:
    """Bytes of a program behind its instructions, which they name by their offset."""

    def __init__(self, alignment: int) -> None:
        self.alignment = alignment
        self._parts: list[bytes] = []
        self._size = 0

    def append(self, array: np.ndarray) -> int:
        """Append an array of bytes and return its offset."""
        offset = self._size
        part = array.tobytes()
        part += bytes(-len(part) % self.alignment)
        self._parts.append(part)
        self._size += len(part)
        return offset

    def tobytes(self) -> bytes:
        """Return it whole."""
        return b"".join(self._parts)


def padded(array: np.ndarray, *multiples: int) -> np.ndarray:
    """Return an array with zeros behind its last axes, up to a multiple of each."""
    lead = array.ndim - len(multiples)
    return np.pad(array, [(0, 0)] * lead + [
        (0, -length % multiple)
        for length, multiple in zip(array.shape[lead:], multiples, strict=True)])


def weight_tiles(weight: np.ndarray, size: int, words: int = 1) -> np.ndarray:
    """Return the beats of a weight matrix, tile by tile: output columns outermost.

    Parameters
    ----------
    words : of results that a tile makes; with two, the lower half of a byte is a weight of the
        first one's columns, and the upper half one of the second's.

    Shape
    -----
    (K, N) to (n tiles, k tiles, size, size) bytes; a beat is a row of a tile.
    """
    whole = padded(weight.astype(np.int8), size, words * size).view(np.uint8)
    k, n = whole.shape
    tiles = whole.reshape(k // size, size, -1, words, size).transpose(3, 2, 0, 1, 4)
    return np.ascontiguousarray(tiles[0] if words == 1 else tiles[0] & 15 | tiles[1] << 4)


def constant_groups(constants: RequantizeConstants, columns: slice, size: int) -> np.ndarray:
    """Return the requantizer's constants as the array takes them.

    A channel has 64 bits: bias in the low 32, factor above. Constants of the whole tensor are one
    group with the same entry for all its columns.

    Parameters
    ----------
    columns : channels that are wanted; of no effect for those of the whole tensor.

    Shape
    -----
    (groups, beats of a group, size) bytes.
    """
    bias, factor = constants.bias, constants.factor
    if constants.per_channel:
        bias, factor = bias[columns], factor[columns]
    else:
        bias, factor = (np.broadcast_to(a[:1], size) for a in (bias, factor))
    low = padded(bias.astype(np.int64), size).astype(np.uint64) & np.uint64((1 << 32) - 1)
    high = padded(factor.astype(np.int64), size).astype(np.uint64) & np.uint64(
        (1 << FACTOR_BITS) - 1)
    words = (low | high << np.uint64(FACTOR_PLACE)).astype("<u8")
    return words.view(np.uint8).reshape(-1, CONSTANT_BEATS, size)


def residual_words(values: np.ndarray, size: int) -> np.ndarray:
    """Return rows of s16 as words of the residual memory.

    Shape
    -----
    (rows, width) to (rows, words, 2 * size) bytes.
    """
    whole = padded(values.astype("<i2"), size)
    return np.ascontiguousarray(whole).view(np.uint8).reshape(len(values), -1, 2 * size)
