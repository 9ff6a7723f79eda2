"""LayerNorm of FQ-ViT against the published formula in exact arithmetic, and against float."""

import dataclasses
from fractions import Fraction
from math import floor, log2

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import affine, layernorm_rows, quantized
from vitrtl.sw.golden.layernorm_ptf import GOLDEN
from vitrtl.sw.golden.ptf import encode, normalised

SCALES = (0.01, 0.0321, 0.05, 0.1, 0.137, 0.2, 0.25)
HALF = Fraction(1, 2)


def layer(length, scale, width=16, **changes):
    """A layer calibrated on the study's rows; rows with their reference, constants and scale."""
    spec = GOLDEN.spec(in_width=width, longest_row=max(length, 256))
    gamma, beta = affine(length)
    real = np.concatenate(list(layernorm_rows(length).values()))
    rows = quantized(real, spec.in_format, scale)
    constants, out_scale = GOLDEN.export(spec, Fraction(scale), rows, gamma=gamma.tolist(),
                                         beta=beta.tolist(), **changes)
    return rows, reference.layernorm(rows * scale, gamma, beta), spec, constants, out_scale


def in_fractions(row, spec, constants):
    """FQ-ViT's normalised value, squared, without its sign: C**2 * y**2 / (C*M2 - M1**2) / C."""
    codes = []
    for x, alpha in zip(row, constants.alpha.tolist(), strict=True):
        q = floor(Fraction(x, 1 << constants.base + alpha) + HALF)
        codes.append(min(max(q, -128), 127) << alpha)
    count, m1, m2 = len(row), sum(codes), sum(x * x for x in codes)
    return codes, [((count * x - m1), count * m2 - m1 * m1) for x in codes]


@pytest.mark.parametrize(("length", "width"), [(1, 16), (5, 16), (65, 16), (197, 16), (64, 8)])
def test_it_is_the_published_formula_but_for_the_last_places(length, width):
    rows, _, spec, constants, _ = layer(length, 0.05, width)
    codes, found = encode(rows, spec, constants), GOLDEN.function(rows, spec, constants)
    for row, q, results in zip(rows[::5].tolist(), codes[::5], found[::5].tolist(), strict=True):
        elements, exact = in_fractions(row, spec, constants)
        assert (q << constants.alpha).tolist() == elements
        for (y, variance), m, b, out in zip(exact, constants.multiplier.tolist(),
                                            constants.bias.tolist(), results, strict=True):
            z = y / max(variance, 1) ** 0.5 * 2**16 / length**0.5
            value = z * m / 2**spec.multiplier_shift + b / 64 - 0.5
            # Mean and table: a 64th of a code of a standard deviation, and one part in 1024.
            slack = 0.1 + abs(value) / 512
            assert abs(out - min(max(value, -128), 127)) <= 0.5 + slack


def test_the_variance_from_two_sums_is_the_sum_of_the_squared_deviations():
    rows, _, spec, constants, _ = layer(65, 0.05)
    q = encode(rows, spec, constants)
    x = q << constants.alpha
    y = 32 * x - np.array([[round(Fraction(int(total) * 32, 65))] for total in x.sum(axis=-1)])
    exact = y * 2.0**16 / np.sqrt((y * y).sum(axis=-1, keepdims=True))
    assert np.abs(normalised(q, x * x, spec, constants) - exact).max() <= 2**16 / 1024 + 2


@pytest.mark.parametrize("length", [17, 65, 197])
@pytest.mark.parametrize("scale", SCALES)
def test_the_error_is_within_its_statement(length, scale):
    rows, expected, spec, constants, out_scale = layer(length, scale)
    found = GOLDEN.function(rows, spec, constants) * float(out_scale)
    assert np.abs(found - expected).max() <= GOLDEN.error_limit(scale)


def test_a_multiplier_of_eight_bits_would_change_one_code_in_forty():
    # The published M: eight bits, rounded down, of |gamma| over the output scale.
    rows, _, spec, constants, _ = layer(197, 0.25)
    exact = GOLDEN.function(rows, spec, constants)
    eight = [int(np.sign(m)) * (abs(m) >> (drop := max(floor(log2(abs(m))) - 7, 0)) << drop)
             for m in constants.multiplier.tolist()]
    coarse = GOLDEN.function(rows, spec, dataclasses.replace(constants, multiplier=np.array(eight)))
    assert np.abs(coarse - exact).max() == 1
    assert 1 / 50 <= (coarse != exact).mean() <= 1 / 30


def test_calibration_finds_the_least_squared_error_of_the_layer_and_of_each_channel():
    rng = np.random.default_rng(3)
    spec = GOLDEN.spec()
    x = np.rint(rng.normal(0, [30, 200, 900, 6000], (400, 4))).clip(-2**15, 2**15 - 1).astype(int)
    errors = {(base, alpha): ((np.clip(np.floor(x / 2 ** (base + alpha) + 0.5), -128, 127)
                               * 2 ** (base + alpha) - x) ** 2).sum(axis=0)
              for base in range(6) for alpha in range(4)}
    fitted = GOLDEN.calibrate(spec, Fraction(1, 100), x)
    totals = [np.min([errors[base, alpha] for alpha in range(4)], axis=0).sum()
              for base in range(6)]
    assert fitted["base"] == np.argmin(totals)
    chosen = [errors[fitted["base"], alpha] for alpha in range(4)]
    assert fitted["alpha"] == np.argmin(chosen, axis=0).tolist()
    assert len(set(fitted["alpha"])) > 1


def test_derive_refuses_what_it_cannot_hold():
    spec, ones = GOLDEN.spec(), [1.0, 1.0]
    with pytest.raises(ValueError, match="^alpha and base must be given together$"):
        GOLDEN.derive(spec, "0.01", gamma=ones, beta=ones, alpha=[0, 0])
    with pytest.raises(ValueError, match=r"^base must be 0\.\.5, not 6$"):
        GOLDEN.derive(spec, "0.01", gamma=ones, beta=ones, alpha=[0, 0], base=6)
    with pytest.raises(ValueError, match="^the multiplier of channel 0 must fit s18, not .*$"):
        GOLDEN.derive(spec, "0.01", gamma=ones, beta=ones, out_scale=Fraction(1, 10000))
