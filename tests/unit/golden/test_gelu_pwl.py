"""The piecewise linear GELU against its lines, computed anew, and against float."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.special import ndtr

from vitrtl.sw import reference
from vitrtl.sw.golden import gelu_pwl
from vitrtl.sw.golden.exact import normal_cdf

GOLDEN = gelu_pwl.GOLDEN
OPERAND = GOLDEN.variants["s8 operand"]
CODES = np.arange(-128, 128)


def bump(u: Fraction) -> Fraction:
    return u * normal_cdf(-u)


def test_the_lines_are_chords_set_where_their_largest_error_is_smallest():
    slopes, bases = [], []
    for k in range(16):
        slope = round((bump(Fraction(k + 1, 4)) - bump(Fraction(k, 4))) * 4 * 2**9)
        # A code of the real value stands for the span up to the next one: take its middle.
        rests = [bump(Fraction(k, 4) + Fraction(2 * r + 1, 2**11)) * 2**10 - ((slope * r) >> 9)
                 for r in range(2**8)]
        slopes.append(slope)
        bases.append(round((min(rests) + max(rests)) / 2))
    assert gelu_pwl.SLOPES == tuple(slopes)
    assert gelu_pwl.BASES == tuple(bases)


def test_the_number_of_lines_is_the_page_s():
    found = []
    for lines in (8, 16, 32):
        worst = 0
        for k in range(lines):
            u = np.linspace(4 * k / lines, 4 * (k + 1) / lines, 101)
            h = u * ndtr(-u)
            rest = h - np.linspace(h[0], h[-1], u.size)
            worst = max(worst, np.ptp(rest) / 2)
        found.append(worst)
    np.testing.assert_allclose(found, [0.0116, 0.0031, 0.0008], rtol=0.05)


@pytest.mark.parametrize("scale", ["0.001", "0.01", "0.0321", "0.05", "0.137", "0.25", "0.5"])
def test_it_is_the_rectifier_less_the_line(scale):
    spec = GOLDEN.spec()
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert out_scale == Fraction(1, 1024)
    expected = []
    for x in CODES.tolist():
        value = x * round(Fraction(scale) * 2**18) // 2**8
        k, r = divmod(value if value >= 0 else -value - 1, 256)
        h = gelu_pwl.BASES[k] + gelu_pwl.SLOPES[k] * r // 512 if k < 16 else 0
        expected.append(max(value, 0) - h)
    assert GOLDEN.function(CODES, spec, constants).tolist() == expected


def test_its_error_is_within_its_statement_at_every_scale():
    spec = GOLDEN.spec()
    worst = 0
    for step in range(1, 1001):
        scale = Fraction(step, 2000)
        constants, out_scale = GOLDEN.derive(spec, scale)
        found = GOLDEN.function(CODES, spec, constants) * float(out_scale)
        worst = max(worst, np.abs(found - reference.gelu(CODES * float(scale))).max())
    assert 0.9 * GOLDEN.error_limit(0.25) <= worst <= GOLDEN.error_limit(0.25)


def test_a_scale_that_leaves_the_range_is_refused():
    with pytest.raises(ValueError, match="^scale must be at most 0.5 for activations of 6 bits "
                                         "before the point, not 0.6$"):
        GOLDEN.derive(GOLDEN.spec(), "0.6")


@pytest.mark.parametrize(("scale", "wanted"), [
    ("0.001", None), ("0.01", None), ("0.05", "0.0137"), ("0.137", "0.002"), ("0.25", "0.25"),
    ("0.5", "0.061")])
def test_an_operand_is_the_result_at_the_output_scale(scale, wanted):
    real, _ = GOLDEN.derive(GOLDEN.spec(), scale)
    constants, out_scale = GOLDEN.derive(OPERAND, scale, wanted)
    # Half a step up and then down; -128 is never reached.
    expected = [min(int((y * 2 + (step := 1024 * out_scale)) // (2 * step)), 127)
                for y in GOLDEN.function(CODES, GOLDEN.spec(), real).tolist()]
    assert GOLDEN.function(CODES, OPERAND, constants).tolist() == expected
    assert min(expected) > -90


def test_an_operand_is_within_half_a_step_more_at_every_scale():
    limit = GOLDEN.error_limit(0.25)
    share = []
    for step in range(20, 501, 3):
        for ratio in (1, Fraction(1, 3), Fraction(8, 7)):
            scale = Fraction(step, 2000)
            constants, out_scale = GOLDEN.export(OPERAND, scale, out_scale=scale * ratio)
            out_step = float(out_scale)
            exact = np.minimum(reference.gelu(CODES * float(scale)), 127 * out_step)
            found = GOLDEN.function(CODES, OPERAND, constants) * out_step
            share.append((np.abs(found - exact).max() - out_step / 2) / limit)
    assert 0.8 <= max(share) <= 1


@pytest.mark.parametrize(("wanted", "inverse"), [
    ("0.002", 256000), ("0.25", 2048), ("0.00001", 2**18 - 1), ("2000", 1)])
def test_the_output_scale_is_the_one_that_its_inverse_stands_for(wanted, inverse):
    constants, out_scale = GOLDEN.export(OPERAND, Fraction(1, 20), out_scale=Fraction(wanted))
    assert constants.inverse == inverse
    assert out_scale == Fraction(512, inverse)
    assert OPERAND.merges_requantizer


def test_a_range_that_the_multiplier_cannot_take_is_refused():
    with pytest.raises(ValueError, match=r"^range_width must be 3\.\.7 bits, not 8$"):
        GOLDEN.spec(merged=True, range_width=8)
    assert GOLDEN.spec(range_width=8).out_format.width == 19
