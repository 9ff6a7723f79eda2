"""Cutting a multiplication into tiles and putting its results back together."""

import numpy as np
import pytest

from vitrtl.sw.golden.fixed_point import WidthError
from vitrtl.sw.golden.matmul import MatMulSpec, derive, matmul, tile, untile

RNG = np.random.default_rng(0)


def play(a, b, spec, transposed):
    """Multiply the way the array does: pass by pass over tiles, results of the last pass out."""
    tiles = tile(a, b, spec, transposed)
    constants, _ = derive(spec, a.shape[1], transposed)
    beats = []
    for first in range(0, len(tiles.passes), constants.inner_tiles):
        block = slice(first, first + constants.inner_tiles)
        beats.append(sum(p @ (w.T if transposed else w)
                         for p, w in zip(tiles.passes[block], tiles.weights[block], strict=True)))
    return untile(np.concatenate(beats), a.shape[0], b.shape[1], spec)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (65, 64, 64), (5, 9, 17), (300, 8, 8),
                                           (257, 20, 3)])
def test_tiles_put_back_together_are_the_product(m, k, n, transposed):
    spec = MatMulSpec()
    a, b = RNG.integers(-128, 128, (m, k)), RNG.integers(-128, 128, (k, n))
    np.testing.assert_array_equal(play(a, b, spec, transposed), matmul(a, b, spec))


def test_a_tall_product_is_cut_into_passes_the_accumulators_hold():
    spec = MatMulSpec(longest_pass=100)
    tiles = tile(np.zeros((250, 8), int), np.zeros((8, 8), int), spec)
    assert [len(p) for p in tiles.passes] == [100, 100, 50]


def test_an_accumulator_too_narrow_is_an_error():
    spec = MatMulSpec(out_width=19)
    big = np.full((1, 64), -128)
    with pytest.raises(WidthError, match="^accumulator must fit s19"):
        matmul(big, big.T, spec)


@pytest.mark.parametrize(("fields", "message"), [
    ({"rows": 1}, "^rows must be 2..64, not 1$"),
    ({"out_width": 18}, "^out_width must be 19..32 bits, not 18$"),
    ({"rows": 4}, "^transposable must be false unless the array is square, not 4 x 8$"),
])
def test_spec_refuses_what_cannot_work(fields, message):
    with pytest.raises(ValueError, match=message):
        MatMulSpec(**fields)
