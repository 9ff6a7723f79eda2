"""Test vectors that need no network: every code, corners, seeded random, rows for the timing."""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from vitrtl.sw.catalog import Unit
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.vectors import Case, MatMulCase

__all__ = ["answer", "constants_for", "synthetic_cases"]

SCALES = (Fraction(1, 100), Fraction(1, 20), Fraction(1, 8), Fraction(1, 4))
"""Input scales at which every unit is tried, as far as its constants reach."""

SMALLEST_SCALE = Fraction(1, 1 << 12)
SMALLEST_GAMMA = 2.0**-24
"""Where the search for the least scale and the least gamma of a unit ends."""

RANDOM_CASES = 24
RANDOM_ROWS = 6
CALIBRATION_ROWS = 16
LAYERNORM_SCALE = Fraction(1, 100)
"""No LayerNorm's constants depend much on the scale of its input: it divides by the deviation."""
TIMING_ROWS = 6
LONGEST_UNBOUNDED = 256
"""Row length tried where a unit has no longest row."""


@dataclasses.dataclass(frozen=True, slots=True)
class Sampler:
    """How an operator gets its constants, and whether they fix the row's length.

    Parameters
    ----------
    extremes : `extremes(entry, spec, length)` yields constants at the ends of their ranges.
    draw : `draw(entry, spec, length, rng)` returns random constants.
    fixed_length : the constants are per channel, so all rows of a case have that length.
    """

    extremes: Callable[[Unit, Spec, int], Iterator[Any]]
    draw: Callable[[Unit, Spec, int, np.random.Generator], Any]
    fixed_length: bool


def synthetic_cases(entry: Unit, spec: Spec, seed: int = 1) -> list[Case | MatMulCase]:
    """Return the cases of all kinds but `network`, the same for the same seed."""
    rng = np.random.default_rng(seed)
    if entry.operator == "matmul":
        return [*_matmul_corners(entry, spec), *_matmul_random(entry, spec, rng),
                *_matmul_timing(entry, spec, rng)]
    return [*_codes(entry, spec, rng), *_corners(entry, spec), *_random(entry, spec, rng),
            *_timing(entry, spec, rng)]


def answer(entry: Unit, spec: Spec, kind: str, name: str, constants: Any,
           rows: list[np.ndarray]) -> Case:
    """Return a case whose expected rows the golden function gives."""
    lengths = np.array([row.size for row in rows], np.int64)
    expected: list[np.ndarray] = [np.empty(0, np.int64)] * len(rows)
    for length in np.unique(lengths):
        places = np.flatnonzero(lengths == length)
        x = np.stack([rows[i] for i in places]).astype(np.int64)
        for place, row in zip(places, entry.golden.function(x, spec, constants), strict=True):
            expected[place] = row
    return Case(kind=kind, name=name, constants=constants, x=np.concatenate(rows),
                lengths=lengths, expected=np.concatenate(expected))


def constants_for(entry: Unit, spec: Spec, scale: Fraction, rows: np.ndarray) -> Any:
    """Return constants under which a method can take rows that another method was given.

    A softmax or GELU has those of the scale, or of the next larger one that suits it. The affine
    parameters of a LayerNorm are random, the same for the same length.
    """
    if entry.operator == "layernorm":
        return SAMPLERS["layernorm"].draw(entry, spec, rows.shape[-1], np.random.default_rng(1))
    return _at_scale(entry, spec, scale, rows)


def longest_row(spec: Spec) -> int:
    """Return the length of the longest row to try."""
    return getattr(spec, "longest_row", getattr(spec, "channels", LONGEST_UNBOUNDED))


def _codes(entry: Unit, spec: Spec, rng: np.random.Generator) -> Iterator[Case]:
    """Every input code in order, and every code once more in a random order."""
    fmt, longest = spec.in_format, longest_row(spec)
    if fmt.width > 8:
        return
    sampler = SAMPLERS[entry.operator]
    codes = np.arange(fmt.lo, fmt.hi + 1)
    for number, constants in enumerate(sampler.extremes(entry, spec, longest)):
        rows = []
        for order in (codes, rng.permutation(codes)):
            rows += np.split(order, range(longest, order.size, longest))
        yield answer(entry, spec, "codes", f"codes, constants {number}", constants, rows)


def _corners(entry: Unit, spec: Spec) -> Iterator[Case]:
    """Extreme rows of extreme lengths under extreme constants."""
    longest, lanes = longest_row(spec), spec.lanes
    lengths = sorted({1, 2, 3, lanes, lanes + 1, 2 * lanes - 1, longest - 1, longest}
                     & set(range(1, longest + 1)))
    sampler = SAMPLERS[entry.operator]
    for group in [[n] for n in lengths] if sampler.fixed_length else [lengths]:
        for number, constants in enumerate(sampler.extremes(entry, spec, group[-1])):
            rows = [row for length in group for row in _patterns(spec.in_format, length)]
            yield answer(entry, spec, "corners", f"corners to length {group[-1]}, constants "
                         f"{number}", constants, rows)


def _patterns(fmt: Format, length: int) -> Iterator[np.ndarray]:
    """All equal, one hot, and what lies at the ends of the range."""
    for value in (0, fmt.lo, fmt.hi, -1 if fmt.signed else 1):
        yield np.full(length, value)
    place = np.arange(length)
    for hot in sorted({0, length // 2, length - 1}):
        yield np.where(place == hot, fmt.hi, fmt.lo)
        yield np.where(place == hot, fmt.lo, fmt.hi)
    yield np.where(place % 2, fmt.hi, fmt.lo)
    yield np.linspace(fmt.lo, fmt.hi, length).astype(np.int64)


def _random(entry: Unit, spec: Spec, rng: np.random.Generator) -> Iterator[Case]:
    """Random constants, row lengths and spreads."""
    longest = longest_row(spec)
    sampler = SAMPLERS[entry.operator]
    for number in range(RANDOM_CASES):
        lengths = rng.integers(1, longest + 1, RANDOM_ROWS)
        # Long and short rows next to each other, where the constants allow it.
        lengths[::2] = rng.integers(1, min(longest, 20) + 1, lengths[::2].size)
        if sampler.fixed_length:
            lengths[:] = lengths[number % 2]
        constants = sampler.draw(entry, spec, int(lengths[0]), rng)
        rows = [_random_row(spec.in_format, int(n), rng) for n in lengths]
        yield answer(entry, spec, "random", f"random {number}", constants, rows)


def _random_row(fmt: Format, length: int, rng: np.random.Generator) -> np.ndarray:
    """Return a row that is uniform, or gathers around a random value with a random spread."""
    if rng.random() < 0.3:
        return rng.integers(fmt.lo, fmt.hi + 1, length)
    spread = 2 ** rng.uniform(0, fmt.width - 1)
    centre = rng.normal(0, 2 ** rng.uniform(0, fmt.width - 2))
    return np.clip(np.rint(rng.normal(centre, spread, length)), fmt.lo, fmt.hi).astype(np.int64)


def _timing(entry: Unit, spec: Spec, rng: np.random.Generator) -> Iterator[Case]:
    """Equal rows of every short length and some long ones."""
    longest = longest_row(spec)
    beats = [*range(1, 41), 47, 48, 49, 63, 64, 65, 96, 127, 128, -(-longest // spec.lanes)]
    sampler = SAMPLERS[entry.operator]
    for count in beats:
        length = min(count * spec.lanes, longest)
        if -(-length // spec.lanes) == count:
            constants = sampler.draw(entry, spec, length, rng)
            rows = [_random_row(spec.in_format, length, rng) for _ in range(TIMING_ROWS)]
            yield answer(entry, spec, "timing", f"rows of {length}", constants, rows)


def _at_scale(entry: Unit, spec: Spec, scale: Fraction, codes: np.ndarray | None = None) -> Any:
    """Constants at the scale at or above the wanted one that suits the method."""
    return entry.golden.export(spec, entry.golden.fit_scale(spec, scale), codes)[0]


def _by_scale(entry: Unit, spec: Spec, scales: list[Fraction]) -> Iterator[Any]:
    """Constants for each of the scales that the unit accepts."""
    for scale in scales:
        if _accepts(entry, spec, scale):
            yield _at_scale(entry, spec, scale)


def _accepts(entry: Unit, spec: Spec, scale: Fraction) -> bool:
    try:
        _at_scale(entry, spec, scale)
    except ValueError:
        return False
    return True


@functools.cache
def _smallest_scale(entry: Unit, spec: Spec) -> Fraction:
    """Return the smallest scale, to one part in a million, that the unit's constants reach.

    A unit that takes every scale is tried down to `SMALLEST_SCALE`.
    """
    low, high = SMALLEST_SCALE, Fraction(1, 8)
    while high - low > high / 1_000_000:
        middle = (low + high) / 2
        low, high = (low, middle) if _accepts(entry, spec, middle) else (middle, high)
    return high


def _scale_extremes(entry: Unit, spec: Spec, length: int) -> Iterator[Any]:
    yield from _by_scale(entry, spec, [_smallest_scale(entry, spec), *SCALES, Fraction(1),
                                       Fraction(3)])


def _scale_draw(entry: Unit, spec: Spec, length: int, rng: np.random.Generator) -> Any:
    smallest = float(_smallest_scale(entry, spec))
    scale = math.exp(rng.uniform(math.log(smallest), math.log(0.3)))
    codes = _random_row(spec.in_format, length, rng)[None]
    return _at_scale(entry, spec, Fraction(max(scale, smallest * 1.000001)), codes)


def _layernorm_extremes(entry: Unit, spec: Spec, length: int) -> Iterator[Any]:
    """No bias, biases of both signs, and the largest that still fit."""
    signs = np.where(np.arange(length) % 2, -1.0, 1.0)
    for gamma, beta in ((np.ones(length), np.zeros(length)), (signs, np.full(length, 0.5)),
                        (signs * _smallest_gamma(entry, spec, length), np.ones(length))):
        yield entry.golden.derive(spec, LAYERNORM_SCALE, gamma=gamma.tolist(),
                                  beta=beta.tolist())[0]


def _smallest_gamma(entry: Unit, spec: Spec, length: int) -> float:
    """Return the smallest gamma, within 1 %, that a beta of one allows."""
    refused, allowed = SMALLEST_GAMMA, 2.0
    while allowed > 1.01 * refused:
        gamma = math.sqrt(refused * allowed)
        try:
            entry.golden.derive(spec, LAYERNORM_SCALE, gamma=[gamma] * length,
                                beta=[1.0] * length)
        except ValueError:
            refused = gamma
        else:
            allowed = gamma
    return allowed


def _layernorm_draw(entry: Unit, spec: Spec, length: int, rng: np.random.Generator) -> Any:
    """Random affine parameters; what is calibrated is so on channels of unlike spread."""
    gamma = rng.uniform(0.2, 2, length) * rng.choice([-1, 1], length)
    beta = gamma * rng.uniform(-0.9, 0.9, length)
    spreads = 2 ** rng.uniform(0, spec.in_format.width - 2, length)
    codes = np.clip(np.rint(rng.normal(0, spreads, (CALIBRATION_ROWS, length))),
                    spec.in_format.lo, spec.in_format.hi).astype(np.int64)
    return entry.golden.export(spec, LAYERNORM_SCALE, codes, gamma=gamma.tolist(),
                               beta=beta.tolist())[0]


def _requantize_extremes(entry: Unit, spec: Spec, length: int) -> Iterator[Any]:
    """Every pair of extreme multiplier and shift, with extreme biases."""
    derive, bias = entry.golden.derive, spec.in_format
    multiplier = spec.multiplier_format
    pairs = [(m, c) for m in (multiplier.hi, multiplier.lo, 1, -1, 0)
             for c in (0, spec.shift_count - 1)]
    for index, (m, c) in enumerate(pairs):
        yield entry.golden.constants(
            bias=np.full(spec.lanes, (0, bias.hi, bias.lo)[index % 3]),
            factor=np.full(spec.lanes, (m << spec.code_width) | c), per_channel=0)
    # Per channel: all pairs side by side.
    channel = np.arange(length)
    yield entry.golden.constants(
        bias=np.array([bias.hi, bias.lo, 0])[channel % 3],
        factor=np.array([(m << spec.code_width) | c for m, c in pairs])[channel % len(pairs)],
        per_channel=1)
    yield derive(spec, [Fraction(1, 1000 + int(i)) for i in channel])[0]


def _requantize_draw(entry: Unit, spec: Spec, length: int, rng: np.random.Generator) -> Any:
    count = length if rng.random() < 0.7 else 1
    ratios = [Fraction(2 ** rng.uniform(-spec.in_width + 6, 0)) * int(rng.choice([-1, 1]))
              for _ in range(count)]
    spread = spec.in_format.hi // 4
    return entry.golden.derive(spec, ratios, bias=rng.integers(-spread, spread, count).tolist())[0]


SAMPLERS = {
    "softmax": Sampler(_scale_extremes, _scale_draw, False),
    "gelu": Sampler(_scale_extremes, _scale_draw, False),
    "layernorm": Sampler(_layernorm_extremes, _layernorm_draw, True),
    "requantize": Sampler(_requantize_extremes, _requantize_draw, True),
}
"""Operator name to sampler."""


def _matmul_case(entry: Unit, spec: Spec, kind: str, name: str, a: np.ndarray, b: np.ndarray,
                 transposed: bool = False) -> MatMulCase:
    shape = f"{a.shape[0]}x{a.shape[1]}x{b.shape[1]}{' transposed' if transposed else ''}"
    return MatMulCase(kind=kind, name=f"{name} {shape}", transposed=transposed, a=a, b=b,
                      expected=entry.golden.function(a, b, spec))


def _matmul_corners(entry: Unit, spec: Spec) -> Iterator[MatMulCase]:
    """Smallest, whole and broken tiles; the ends of both ranges."""
    rows, columns, tall = spec.rows, spec.columns, spec.longest_pass
    shapes = [(1, 1, 1), (1, rows, columns), (2, rows + 1, columns - 1), (rows, 1, columns + 1),
              (3, 3 * rows, 1), (tall, rows, columns), (tall + 1, rows, columns),
              (5, min(40 * rows, spec.longest_inner), 3)]
    ends = [(spec.in_format.lo, spec.weight_format.lo), (spec.in_format.lo, spec.weight_format.hi),
            (spec.in_format.hi, spec.weight_format.hi), (0, spec.weight_format.lo)]
    for transposed in (False, True)[:1 + spec.transposable]:
        for m, k, n in shapes:
            for x, w in ends if m <= 5 else ends[:1]:
                yield _matmul_case(entry, spec, "corners", f"{x} times {w}", np.full((m, k), x),
                                   np.full((k, n), w), transposed)


def _matmul_random(entry: Unit, spec: Spec, rng: np.random.Generator) -> Iterator[MatMulCase]:
    """Random shapes and values."""
    for _ in range(RANDOM_CASES):
        m, k, n = (int(v) for v in rng.integers(1, (70, 5 * spec.rows, 3 * spec.columns)))
        yield _random_product(entry, spec, "random", m, k, n, rng)


def _matmul_timing(entry: Unit, spec: Spec, rng: np.random.Generator) -> Iterator[MatMulCase]:
    """The two multiplications of which the utilization is stated."""
    for m, k, n in ((65, 64, 64), (197, 192, 192)):
        yield _random_product(entry, spec, "timing", m, k, n, rng, transposed=False)


def _random_product(entry: Unit, spec: Spec, kind: str, m: int, k: int, n: int,
                    rng: np.random.Generator, transposed: bool | None = None) -> MatMulCase:
    a = rng.integers(spec.in_format.lo, spec.in_format.hi + 1, (m, k))
    b = rng.integers(spec.weight_format.lo, spec.weight_format.hi + 1, (k, n))
    if transposed is None:
        transposed = spec.transposable and bool(rng.integers(2))
    return _matmul_case(entry, spec, kind, kind, a, b, transposed)
