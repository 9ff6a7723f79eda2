"""Loops over float activations, compiled by numba: what calibration counts, and what rounding does.

All matrices are C-contiguous and float32; what is added up over all of a batch is so in float64.
"""

import numpy as np

from vitrtl.sw.fast.compiled import compiled

__all__ = ["add_channels", "add_magnitudes", "element_shifts", "linear_shifts", "softmax_shifts"]

BLOCK = 512
"""Elements whose errors and gradients the nearest cache holds."""


@compiled()
def add_magnitudes(x, factor, counts):
    """Add to `counts[floor(abs(x) * factor)]`, the last bin also what is just beyond it."""
    last = counts.size - 1
    for i in range(x.size):
        counts[min(np.int64(abs(x[i]) * factor), last)] += 1


@compiled()
def add_channels(x, sums, squares, low, high):
    """Add each column's elements and their squares, row after row, and widen its extremes."""
    rows, columns = x.shape
    for r in range(rows):
        for c in range(columns):
            value = np.float64(x[r, c])
            sums[c] += value
            squares[c] += value * value
            low[c] = min(low[c], value)
            high[c] = max(high[c], value)


@compiled(fastmath={"reassoc", "contract", "nsz"})
def _dot(a, b):
    """Return the sum of products, in the order that is fastest."""
    total = np.float32(0)
    for i in range(a.size):
        total += a[i] * b[i]
    return total


@compiled(fastmath={"nnan", "nsz"})
def _round(x, scale, steps, codes):
    """Write `clip(rint(x / scale), -steps, steps)`."""
    for i in range(x.size):
        codes[i] = np.rint(min(max(x[i] / scale, -steps), steps))


@compiled()
def _look_up(codes, first, table, out):
    """Write `table[first - code]`."""
    for i in range(codes.size):
        out[i] = table[np.uint32(first - codes[i])]


@compiled()
def _add_shifts(errors, gradients, image, start, shifts):
    """Add to each probe's shift what errors of an image's elements from `start` on make of it."""
    for p in range(len(gradients)):
        shifts[p] += _dot(errors, gradients[p, image, start:start + errors.size])


@compiled()
def linear_shifts(x, scales, steps, gradients, shifts):
    """Add what rounding an image's operand to codes of each scale makes of each probe.

    Shape
    -----
    `x` (images, elements), `gradients` (probes, images, elements) by the operand, `shifts`
    (images, scales, probes).
    """
    buffer = np.empty(BLOCK, np.float32)
    for image in range(len(x)):
        for start in range(0, x.shape[1], BLOCK):
            block = x[image, start:start + BLOCK]
            errors = buffer[:block.size]
            for s in range(scales.size):
                scale = scales[s]
                _round(block, scale, steps, errors)
                for i in range(block.size):
                    errors[i] = errors[i] * scale - block[i]
                _add_shifts(errors, gradients, image, start, shifts[image, s])


@compiled()
def element_shifts(x, wanted, scales, steps, tables, gradients, shifts):
    """The same where a function of each element is what counts.

    Parameters
    ----------
    wanted : the function of `x` itself.
    tables : that of the codes from the largest to the smallest, at each scale.

    Shape
    -----
    `tables` (scales, codes); `gradients` by the function's values.
    """
    first = np.int32(steps)
    buffer, code_buffer = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.int32)
    for image in range(len(x)):
        for start in range(0, x.shape[1], BLOCK):
            block, goal = x[image, start:start + BLOCK], wanted[image, start:start + BLOCK]
            errors, codes = buffer[:block.size], code_buffer[:block.size]
            for s in range(scales.size):
                _round(block, scales[s], steps, codes)
                _look_up(codes, first, tables[s], errors)
                for i in range(block.size):
                    errors[i] -= goal[i]
                _add_shifts(errors, gradients, image, start, shifts[image, s])


@compiled()
def softmax_shifts(x, wanted, scales, steps, tables, gradients, shifts):
    """The same where the softmax of each row is what counts.

    Parameters
    ----------
    wanted : the softmax of `x` itself.
    tables : exponential of codes from the row's largest down, at each scale.

    Shape
    -----
    `x` and `wanted` (images, rows, columns), `tables` (scales, codes); `gradients`
    (probes, images, rows * columns).
    """
    columns = x.shape[2]
    buffer, codes = np.empty(columns, np.float32), np.empty(columns, np.int32)
    for image in range(len(x)):
        for row in range(x.shape[1]):
            block, goal = x[image, row], wanted[image, row]
            for s in range(scales.size):
                _round(block, scales[s], steps, codes)
                _look_up(codes, codes.max(), tables[s], buffer)
                factor = 1 / _sum(buffer)
                for i in range(columns):
                    buffer[i] = buffer[i] * factor - goal[i]
                _add_shifts(buffer, gradients, image, row * columns, shifts[image, s])


@compiled(fastmath={"reassoc", "nsz"})
def _sum(terms):
    """Return the sum, in the order that is fastest."""
    total = np.float32(0)
    for i in range(terms.size):
        total += terms[i]
    return total
