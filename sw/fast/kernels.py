"""Loops over integers, compiled by numba: one pass over narrow types instead of many over int64.

They know nothing of units or formats. `vitrtl.sw.fast.paths` gives them tables and factors that
the golden functions have answered, and allocates their results. All matrices are C-contiguous,
rows along the last axis; wherever a product or sum is formed its type is int64, or a float64 that
holds it exactly.
"""

import numpy as np

from vitrtl.sw.fast.compiled import compiled

__all__ = ["add_saturating", "carry_down_lanes", "encode_rows", "log2_by_table", "look_up",
           "look_up_by_row", "normalise_rows", "normalise_to_operand", "row_extremes",
           "row_magnitudes", "row_squares", "row_sums", "row_table_squares", "scale_by_table",
           "scale_online", "scale_rows", "sum_online", "sum_terms"]


@compiled()
def scale_rows(x, scale, offset, lo, hi, out):
    """Write `clip(floor(x * scale + offset), lo, hi)`; one scale for all or one per column."""
    rows, columns = x.shape
    if scale.size == 1:
        for r in range(rows):
            for c in range(columns):
                out[r, c] = min(max(np.floor(x[r, c] * scale[0] + offset[0]), lo), hi)
    else:
        for r in range(rows):
            for c in range(columns):
                out[r, c] = min(max(np.floor(x[r, c] * scale[c] + offset[c]), lo), hi)


@compiled()
def look_up(x, first, table, out):
    """Write `table[x - first]`, element by element."""
    for i in range(x.size):
        out[i] = table[np.int64(x[i]) - first]


@compiled()
def look_up_by_row(x, numbers, first, table, out):
    """Write `table[row - first, x - first]`, row being a number of the whole row."""
    rows, columns = x.shape
    for r in range(rows):
        answers = table[numbers[r] - first]
        for c in range(columns):
            out[r, c] = answers[np.int64(x[r, c]) - first]


@compiled()
def add_saturating(a, b, lo, hi, out):
    """Write `clip(a + b, lo, hi)`; one row of b for each of a, or one for all."""
    rows, columns = a.shape
    for r in range(rows):
        other = b[r if len(b) > 1 else 0]
        for c in range(columns):
            out[r, c] = min(max(np.int32(a[r, c]) + np.int32(other[c]), lo), hi)


@compiled()
def row_extremes(x, smallest, largest):
    """Write the smallest and the largest element of each row."""
    rows, columns = x.shape
    for r in range(rows):
        lo = hi = x[r, 0]
        for c in range(columns):
            lo = min(lo, x[r, c])
            hi = max(hi, x[r, c])
        smallest[r], largest[r] = lo, hi


@compiled()
def sum_terms(x, largest, terms, totals):
    """Write the sum of `terms[largest - x]` over each row."""
    rows, columns = x.shape
    for r in range(rows):
        total = np.int64(0)
        for c in range(columns):
            total += terms[largest[r] - x[r, c]]
        totals[r] = total


@compiled()
def scale_by_table(x, smallest, largest, numerators, places, factors, shifts, out):
    """Write `(numerators[d] * factor) >> (places[d] + shift)` for d = largest - x.

    Each row first answers every distance that it can have, in a loop without look-ups.
    """
    rows, columns = x.shape
    answers = np.empty(numerators.size, out.dtype)
    for r in range(rows):
        factor, shift = factors[r], shifts[r]
        for d in range(largest[r] - smallest[r] + 1):
            answers[d] = (numerators[d] * factor) >> (places[d] + shift)
        for c in range(columns):
            out[r, c] = answers[largest[r] - x[r, c]]


@compiled()
def log2_by_table(x, smallest, largest, terms, totals, finest, out):
    """Write how many of the thresholds of log-int-softmax the rounded `total / term` reaches."""
    rows, columns = x.shape
    answers = np.empty(terms.size, out.dtype)
    for r in range(rows):
        for d in range(largest[r] - smallest[r] + 1):
            term = terms[d]
            ratio = 2 * totals[r] + term
            code = np.int64(ratio >= 4 * term) + np.int64(ratio > 6 * term)
            for j in range(2, finest + 1):
                code += ratio >= (3 * term) << j
            answers[d] = code
        for c in range(columns):
            out[r, c] = answers[largest[r] - x[r, c]]


@compiled()
def sum_online(x, first, mantissas, octaves, ceilings, lanes, peaks, totals):
    """Write each row's largest ceiling, and the sum of mantissas shifted to it beat by beat.

    A number shifted by 16 places or more is zero.
    """
    rows, columns = x.shape
    for r in range(rows):
        total, peak = np.int64(0), ceilings[x[r, 0] - first]
        for start in range(0, columns, lanes):
            stop, before = min(start + lanes, columns), peak
            for c in range(start, stop):
                peak = max(peak, ceilings[x[r, c] - first])
            total = total >> (peak - before) if peak - before < 16 else 0
            for c in range(start, stop):
                code = x[r, c] - first
                if peak - octaves[code] < 16:
                    total += mantissas[code] >> (peak - octaves[code])
        peaks[r], totals[r] = peak, total


@compiled()
def scale_online(x, smallest, largest, first, mantissas, octaves, peaks, factors, shift, out):
    """Write `((mantissa >> (peak - octave)) * factor) >> shift`, 0 from 16 octaves down."""
    rows, columns = x.shape
    answers = np.empty(mantissas.size, out.dtype)
    for r in range(rows):
        for code in range(smallest[r] - first, largest[r] - first + 1):
            below = peaks[r] - octaves[code]
            mantissa = mantissas[code] >> below if below < 16 else 0
            answers[code] = (mantissa * factors[r]) >> shift
        for c in range(columns):
            out[r, c] = answers[x[r, c] - first]


@compiled()
def row_sums(x, out):
    """Write the sum of each row."""
    rows, columns = x.shape
    for r in range(rows):
        total = np.int64(0)
        for c in range(columns):
            total += x[r, c]
        out[r] = total


@compiled()
def row_squares(x, centers, shift, out):
    """Write the sum of `((x - center) >> shift)**2` over each row."""
    rows, columns = x.shape
    for r in range(rows):
        total = np.int64(0)
        for c in range(columns):
            deviation = (np.int64(x[r, c]) - centers[r]) >> shift
            total += deviation * deviation
        out[r] = total


@compiled()
def row_magnitudes(x, centers, out):
    """Write the sum of `abs(x - center)` over each row."""
    rows, columns = x.shape
    for r in range(rows):
        total = np.int64(0)
        for c in range(columns):
            total += abs(np.int64(x[r, c]) - centers[r])
        out[r] = total


@compiled()
def normalise_rows(x, gains, dropped, centers, factors, places, bias, out):
    """Write `(((x * gain) >> dropped) - center) * factor >> places`, plus the column's bias."""
    rows, columns = x.shape
    for r in range(rows):
        gain, center, factor = gains[r], centers[r], factors[r]
        for c in range(columns):
            deviation = ((x[r, c] * gain) >> dropped) - center
            out[r, c] = ((deviation * factor) >> places) + bias[c]


@compiled()
def normalise_to_operand(x, gains, dropped, centers, factors, places, limit, multipliers, shift,
                         bias, bias_places, lo, hi, out):
    """Do as `normalise_rows`, then scale to an operand of the next unit.

    With z the normalised value within -limit - 1 to limit, write
    `clip(((z * multiplier >> shift) + bias) >> bias_places, lo, hi)`, by column.
    """
    rows, columns = x.shape
    for r in range(rows):
        gain, center, factor = gains[r], centers[r], factors[r]
        for c in range(columns):
            deviation = ((x[r, c] * gain) >> dropped) - center
            z = min(max((deviation * factor) >> places, -limit - 1), limit)
            y = (((z * multipliers[c]) >> shift) + bias[c]) >> bias_places
            out[r, c] = min(max(y, lo), hi)


@compiled()
def encode_rows(x, shifts, alpha, lo, hi, out):
    """Write `clip(round(x / 2**shift), lo, hi) << alpha`, ties upward, by column."""
    rows, columns = x.shape
    for r in range(rows):
        for c in range(columns):
            q = (((np.int32(x[r, c]) << 1) >> shifts[c]) + 1) >> 1
            out[r, c] = min(max(q, lo), hi) << alpha[c]


@compiled()
def row_table_squares(x, alpha, table, first, out):
    """Write the sum of `table[q - first] << 2 * alpha` over each row of `x = q << alpha`."""
    rows, columns = x.shape
    for r in range(rows):
        total = np.int64(0)
        for c in range(columns):
            total += table[(np.int64(x[r, c]) >> alpha[c]) - first] << (2 * alpha[c])
        out[r] = total


@compiled()
def carry_down_lanes(x, lanes, dropped, out):
    """Write what the running sum of each lane grows by, in whole multiples of `2**dropped`."""
    rows, columns = x.shape
    for r in range(rows):
        for lane in range(min(lanes, columns)):
            running = np.int64(0)
            for c in range(lane, columns, lanes):
                before = running >> dropped
                running += x[r, c]
                out[r, c] = (running >> dropped) - before
