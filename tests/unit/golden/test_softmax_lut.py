"""The table softmax against its formula in plain Python, and against float."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import quantized, softmax_rows
from vitrtl.sw.golden.exact import exp
from vitrtl.sw.golden.softmax_lut import GOLDEN

SCALES = ["0.01", "0.02", "0.0341", "0.05", "0.0723", "0.1", "0.145", "0.2", "0.25"]


@pytest.mark.parametrize(("in_width", "bits"), [(8, 16), (8, 8), (6, 16)])
@pytest.mark.parametrize("scale", ["0.01", "0.0723", "3"])
def test_it_is_its_formula(scale, in_width, bits):
    spec = GOLDEN.spec(in_width=in_width, out_bits=bits)
    constants, out_scale = GOLDEN.derive(spec, scale)
    assert out_scale == Fraction(1, 2**bits)
    ends = spec.in_format
    rows = np.random.default_rng(1).normal(0, 40, (8, 37)).clip(ends.lo, ends.hi).astype(int)
    rows[0, 0], rows[0, 1] = ends.lo, ends.hi
    expected = []
    for row in rows.tolist():
        exps = [round(exp(Fraction(scale) * (x - max(row))) * 65535) for x in row]
        expected.append([e * ((2**32 - 1) // sum(exps)) >> (32 - bits) for e in exps])
    assert GOLDEN.function(rows, spec, constants).tolist() == expected


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_its_error_is_within_its_statement(length, scale):
    spec = GOLDEN.spec(longest_row=1024)
    constants, out_scale = GOLDEN.derive(spec, scale)
    rows = np.concatenate(list(softmax_rows(length).values()))
    codes = quantized(rows, spec.in_format, float(scale))
    found = GOLDEN.function(codes, spec, constants) * float(out_scale)
    error = np.abs(found - reference.softmax(codes * float(scale))).max()
    assert error <= GOLDEN.error_limit(float(scale))


def test_a_scale_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="^scale must be a finite positive number, not 0$"):
        GOLDEN.derive(GOLDEN.spec(), 0)
