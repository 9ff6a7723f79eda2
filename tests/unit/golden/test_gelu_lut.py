"""The table GELU against float, its saturation and its output scale."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.golden.gelu_lut import GOLDEN

CODES = np.arange(-128, 128)


@pytest.mark.parametrize(("scale", "out_scale"), [
    ("0.01", None), ("0.05", None), ("0.25", None), ("0.05", "0.0251"), ("0.137", "0.07")])
def test_every_entry_is_the_nearest_output(scale, out_scale):
    spec = GOLDEN.spec()
    constants, found_scale = GOLDEN.derive(spec, scale, out_scale)
    assert found_scale == Fraction(out_scale or scale)
    exact = reference.gelu(CODES * float(scale)) / float(found_scale)
    expected = np.clip(np.rint(exact), -128, 127)
    np.testing.assert_array_equal(GOLDEN.function(CODES, spec, constants), expected)


def test_its_error_is_within_its_statement_at_every_scale():
    spec = GOLDEN.spec()
    share = []
    for step in range(1, 26):
        scale = Fraction(step, 100)
        constants, out_scale = GOLDEN.derive(spec, scale)
        error = np.abs(GOLDEN.function(CODES, spec, constants) * float(out_scale)
                       - reference.gelu(CODES * float(scale))).max()
        share.append(error / GOLDEN.error_limit(float(scale)))
    assert 0.95 <= max(share) <= 1


def test_an_export_with_a_calibrated_output_uses_it():
    spec = GOLDEN.spec(in_width=6, out_width=6)
    constants, out_scale = GOLDEN.export(spec, Fraction(1, 4), out_scale=Fraction(1, 8))
    assert out_scale == Fraction(1, 8)
    assert constants.table.size == 64
    assert constants.table.max() == 31
