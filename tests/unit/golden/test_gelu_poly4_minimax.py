"""The minimax coefficients of Poly-GELU: none near to them have a smaller largest error."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.golden.gelu_poly4 import CURVATURE as PUBLISHED_A
from vitrtl.sw.golden.gelu_poly4 import GOLDEN as POLY4
from vitrtl.sw.golden.gelu_poly4 import SATURATION as PUBLISHED_B
from vitrtl.sw.golden.gelu_poly4_minimax import CURVATURE, GOLDEN, SATURATION

REAL = np.linspace(-8, 8, 64001)


def largest_error(a: float, b: float) -> float:
    """Of `x / 2 * (1 + L(x / sqrt(2)))`, in float64."""
    u = REAL / np.sqrt(2)
    erf = np.sign(u) * (a * (np.minimum(np.abs(u), -b) + b) ** 4 + 1)
    return np.abs(REAL / 2 * (1 + erf) - reference.gelu(REAL)).max()


def test_no_neighbour_has_a_smaller_largest_error():
    a, b = float(CURVATURE), float(SATURATION)
    best = largest_error(a, b)
    assert best < 0.00385
    assert largest_error(float(PUBLISHED_A), float(PUBLISHED_B)) > 2.4 * best
    for da in np.linspace(-0.02, 0.02, 21):
        for db in np.linspace(-0.005, 0.005, 21):
            assert largest_error(a * (1 + da), b * (1 + db)) > best - 1e-5


@pytest.mark.parametrize("scale", ["0.01", "0.02", "0.05", "0.1", "0.137", "0.2", "0.25"])
def test_it_is_poly4_with_other_constants(scale):
    spec = GOLDEN.spec()
    constants, out_scale = GOLDEN.derive(spec, Fraction(scale))
    assert (constants, out_scale) == POLY4.derive(spec, Fraction(scale), a=CURVATURE, b=SATURATION)
    codes = np.arange(-128, 128)
    found = GOLDEN.function(codes, spec, constants) * float(out_scale)
    error = np.abs(found - reference.gelu(codes * float(scale))).max()
    assert error <= GOLDEN.error_limit(float(scale))
