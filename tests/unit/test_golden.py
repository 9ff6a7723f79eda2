"""Golden functions against the published formulas in plain Python integers, and against float."""

from fractions import Fraction
from math import floor, isqrt

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.fixed_point import WidthError

CODES = np.arange(-128, 128)
SCALES = ["0.01", "0.02", "0.0321", "0.05", "0.0723", "0.1", "0.137", "0.2", "0.25"]


def softmax_rows(length: int) -> np.ndarray:
    """Rows from nearly flat to nearly one hot, uniform ones and extremes."""
    rng = np.random.default_rng(length)
    rows = [np.clip(np.rint(rng.normal(0, deviation, (20, length))), -128, 127)
            for deviation in (2, 5, 10, 20, 40, 80)]
    extremes = np.full((4, length), -128)
    extremes[0, 0] = extremes[1] = 127
    extremes[2, :length // 2] = 127
    extremes[3] = 0
    return np.concatenate([*rows, rng.integers(-128, 128, (20, length)), extremes]).astype(int)


def shift_exp_published(distance: int, i0: int, n: int) -> int:
    """ShiftExp of the official PyTorch code, its half bit kept as a fraction."""
    p = distance + (distance >> 1) - (distance >> 4)
    p = max(p, -n * i0)
    q = floor(Fraction(p, -i0))
    r = p + i0 * q
    return floor((Fraction(r, 2) + i0) * Fraction(2) ** (n - q))


def shiftmax_published(row: list[int], i0: int, k: int) -> list[int]:
    exps = [shift_exp_published(x - max(row), i0, 15) for x in row]
    factor = (2**31 - 1) // min(sum(exps), 2**31 - 1)
    return [(e * factor) >> (32 - k) for e in exps]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", SCALES)
def test_shiftmax_is_the_published_formula(scale, bits):
    golden = unit("softmax_shiftmax").golden
    spec = golden.spec(out_bits=bits)
    constants, out_scale = golden.derive(spec, scale)
    i0 = -floor(-1 / Fraction(scale))
    rows = softmax_rows(33)[::3]
    assert out_scale == Fraction(1, 2 ** (bits - 1))
    assert golden.function(rows, spec, constants).tolist() == [
        shiftmax_published(row, i0, bits) for row in rows.tolist()]


def iexp_published(row: list[int], scale: Fraction, k: int) -> list[int]:
    """I-BERT in exact arithmetic: E with all of its bits, then the 16-bit activation."""
    x0 = floor(Fraction("-0.6931") / scale)
    b = floor(Fraction("0.96963238") / Fraction("0.35815147") / scale)
    c = floor(1 / Fraction("0.35815147") / scale**2)
    exps = []
    for x in row:
        distance = max(x - max(row), 30 * x0)
        q = floor(Fraction(distance, x0))
        r = distance - x0 * q
        exps.append(max(0, ((r + b) * r + c) << (30 - q)))
    # One row's maximum is the calibrated range: E(0) = c * 2**30 becomes 32767.
    ratio = Fraction(32767, c << 30)
    exponent = 0
    while ratio >= 1 or ratio < Fraction(1, 2):
        step = 1 if ratio >= 1 else -1
        ratio, exponent = ratio / Fraction(2) ** step, exponent + step
    m, e = floor(ratio * 2**31 + Fraction(1, 2)), 31 - exponent
    exps16 = [min(round(Fraction(v * m, 2**e)), 32767) for v in exps]
    factor = 2**32 // sum(exps16)
    return [min(v * factor // 2 ** (32 - k), 2**k - 1) for v in exps16]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("scale", [*SCALES, "1"])
def test_iexp_is_the_published_formula(scale, bits):
    golden = unit("softmax_iexp").golden
    spec = golden.spec(out_bits=bits)
    constants, out_scale = golden.derive(spec, scale)
    rows = softmax_rows(21)[::4]
    assert out_scale == Fraction(1, 2**bits)
    assert golden.function(rows, spec, constants).tolist() == [
        iexp_published(row, Fraction(scale), bits) for row in rows.tolist()]


@pytest.mark.parametrize(("name", "fine", "coarse"), [("softmax_shiftmax", 0.04, 0.12),
                                                      ("softmax_iexp", 0.05, 0.16)])
@pytest.mark.parametrize("length", [17, 65, 197])
def test_softmax_error_is_within_its_statement(name, fine, coarse, length):
    golden = unit(name).golden
    spec = golden.spec()
    rows = softmax_rows(length)
    for scale in SCALES:
        constants, out_scale = golden.derive(spec, scale)
        found = golden.function(rows, spec, constants) * float(out_scale)
        error = np.abs(found - reference.softmax(rows * float(scale))).max()
        assert error <= (fine if float(scale) <= 0.1 else coarse), (scale, error)


def test_shiftmax_keeps_the_mass_with_16_bits_and_loses_it_with_8():
    golden = unit("softmax_shiftmax").golden
    rows = softmax_rows(197)
    mass = {}
    for bits in (8, 16):
        spec = golden.spec(out_bits=bits)
        constants, out_scale = golden.derive(spec, "0.05")
        mass[bits] = (golden.function(rows, spec, constants) * float(out_scale)).sum(axis=-1)
    assert mass[16].mean() >= 0.98
    assert mass[8].min() == 0


def shiftgelu_published(row: list[int], i0: int) -> list[int]:
    out = []
    for x in row:
        e = shift_exp_published(x - max(row), i0, 23)
        total = min(e + shift_exp_published(-max(row), i0, 23), 2**31 - 1)
        out.append(x * ((e * ((2**31 - 1) // total)) >> 24))
    return out


@pytest.mark.parametrize("scale", SCALES)
def test_shiftgelu_is_the_published_formula(scale):
    golden = unit("gelu_shiftgelu").golden
    spec = golden.spec()
    constants, out_scale = golden.derive(spec, scale)
    i0 = -floor(-1 / (Fraction(scale) * Fraction("1.702")))
    # Rows whose maximum is far above, near and below zero.
    rows = np.stack([np.sort(CODES[::4]) - shift for shift in (0, 60, 120)]).clip(-128, 127)
    rows = np.concatenate([rows, [[-128] * 64, [127] * 64, [-1] * 64]])
    assert out_scale == Fraction(scale) / 128
    assert golden.function(rows, spec, constants).tolist() == [
        shiftgelu_published(row, i0) for row in rows.tolist()]


def test_shiftgelu_saturates_as_published():
    # methods: 0.24 at 0.05, 1.16 at 0.0723, 6.3 at 0.1, over all codes in one row.
    golden = unit("gelu_shiftgelu").golden
    spec = golden.spec()
    found = []
    for scale in ("0.05", "0.0723", "0.1"):
        constants, out_scale = golden.derive(spec, scale)
        values = golden.function(CODES[None], spec, constants)[0] * float(out_scale)
        found.append(np.abs(values - reference.gelu(CODES * float(scale))).max())
    np.testing.assert_allclose(found, [0.240, 1.157, 6.30], rtol=2e-3)


@pytest.mark.parametrize("name", ["gelu_shiftgelu", "gelu_shiftgelu_elem", "gelu_ierf"])
def test_gelu_error_is_within_its_statement_between_the_scales_too(name):
    golden = unit(name).golden
    spec = golden.spec()
    # Where the row counts: every element under every maximum.
    element, largest = np.meshgrid(CODES, CODES)
    rows = np.stack([element, np.maximum(element, largest)], axis=-1).reshape(-1, 2)
    rows = rows if spec.rowwise else CODES[:, None]
    share = []
    for step in range(20, 501, 3):
        scale = Fraction(step, 2000)
        constants, out_scale = golden.derive(spec, scale)
        found = golden.function(rows, spec, constants)[:, 0] * float(out_scale)
        error = np.abs(found - reference.gelu(rows[:, 0] * float(scale))).max()
        share.append(error / golden.error_limit(float(scale)))
    assert 0.95 <= max(share) <= 1


@pytest.mark.parametrize("scale", SCALES)
def test_shiftgelu_elem_is_its_formula_and_within_its_error(scale):
    golden = unit("gelu_shiftgelu_elem").golden
    spec = golden.spec()
    constants, out_scale = golden.derive(spec, scale)
    i0 = -floor(-4 / (Fraction(scale) * Fraction("1.702")))
    expected = []
    for x in CODES.tolist():
        e, one = shift_exp_published(-4 * abs(x), i0, 6), i0 << 6
        p = 4 * abs(x) + (4 * abs(x) + 1) // 2 - (4 * abs(x) + 15) // 16
        e = e if p < 6 * i0 else 0
        expected.append(x * min(((e if x < 0 else one) << 10) // (one + e), 1023))
    found = golden.function(CODES, spec, constants)
    assert found.tolist() == expected
    error = np.abs(found * float(out_scale) - reference.gelu(CODES * float(scale))).max()
    assert error <= golden.error_limit(float(scale))


@pytest.mark.parametrize("scale", SCALES)
def test_ierf_is_the_published_formula_and_within_its_error(scale):
    golden = unit("gelu_ierf").golden
    spec = golden.spec()
    constants, out_scale = golden.derive(spec, scale)
    a, b = Fraction("-0.2888"), Fraction("-1.769")
    s_e = Fraction(scale) / Fraction("1.4142")
    b_int, c_int = floor(b / s_e), floor(1 / a / s_e**2)
    s_y = a * s_e**2
    one = floor(1 / s_y)
    expected = []
    for x in CODES.tolist():
        sign = (x > 0) - (x < 0)
        expected.append(x * (sign * ((min(abs(x), -b_int) + b_int) ** 2 + c_int) + one))
    found = golden.function(CODES, spec, constants)
    assert found.tolist() == expected
    assert out_scale == Fraction(scale) * s_y / 2
    error = np.abs(found * float(out_scale) - reference.gelu(CODES * float(scale))).max()
    assert error <= golden.error_limit(float(scale))


def layernorm_published(row: list[int], bias: list[int]) -> list[int]:
    mean = round(Fraction(sum(row), len(row)))
    deviations = [x - mean for x in row]
    factor = (2**31 - 1) // max(isqrt(sum(y * y for y in deviations)), 1)
    return [((y * factor) >> 1) + b for y, b in zip(deviations, bias, strict=True)]


def layernorm_rows(length: int) -> np.ndarray:
    rng = np.random.default_rng(length)
    rows = [rng.normal(rng.normal(0, d), d, (20, length)) for d in (3, 10, 30, 100, 1000, 8000)]
    extremes = [np.full(length, 32767), np.full(length, -32768), np.arange(length) % 2 * 65535
                - 32768, np.arange(length) == 0]
    return np.clip(np.rint(np.concatenate([*rows, extremes])), -32768, 32767).astype(int)


@pytest.mark.parametrize("length", [1, 5, 64, 192, 256])
def test_layernorm_is_the_published_formula_converged(length):
    golden = unit("layernorm_newton").golden
    spec = golden.spec()
    rng = np.random.default_rng(1)
    gamma, beta = rng.normal(1, 0.2, length), rng.normal(0, 0.3, length)
    constants, _ = golden.derive(spec, "0.01", gamma=gamma, beta=beta)
    rows = layernorm_rows(length)
    assert golden.function(rows, spec, constants).tolist() == [
        layernorm_published(row, constants.bias.tolist()) for row in rows.tolist()]


@pytest.mark.parametrize("length", [64, 192])
def test_layernorm_error_is_within_its_statement(length):
    golden = unit("layernorm_newton").golden
    spec = golden.spec()
    rng = np.random.default_rng(2)
    gamma, beta = rng.normal(1, 0.2, length), rng.normal(0, 0.3, length)
    constants, scales = golden.derive(spec, "0.01", gamma=gamma, beta=beta)
    rows = layernorm_rows(length)
    rows = rows[rows.std(axis=-1) > 1]
    found = golden.function(rows, spec, constants) * np.array([float(s) for s in scales])
    error = np.abs(found - reference.layernorm(rows.astype(float), gamma, beta))
    limit = 1.5 * np.abs(gamma).max() / rows.std(axis=-1, keepdims=True) + 2**-9
    assert (error <= limit).all()


@pytest.mark.parametrize("out_width", [8, 16])
@pytest.mark.parametrize("exponent", [0, -3, -7, -12, -18, -24])
def test_requantize_rounds_the_exact_product_and_saturates(out_width, exponent):
    golden = unit("requantize").golden
    spec = golden.spec(out_width=out_width)
    rng = np.random.default_rng(3)
    ratios = [Fraction(int(v), 1000) * Fraction(2) ** exponent
              for v in rng.integers(-999, 1000, 24)]
    bias = rng.integers(-2**12, 2**12, 24)
    constants, _ = golden.derive(spec, ratios, bias)
    x = rng.integers(-2**31, 2**31, (200, 24)) >> rng.integers(0, 30, (200, 1))
    found = golden.function(x, spec, constants)
    top, bottom = spec.out_format.hi, spec.out_format.lo
    for c, (ratio, factor) in enumerate(zip(ratios, constants.factor.tolist(), strict=True)):
        b, shift = factor >> 3, spec.shifts[factor & 7]
        assert abs(Fraction(b, 2**shift) - ratio) <= max(
            abs(ratio) / 2 ** (18 - 4), Fraction(1, 2 ** (spec.shifts[-1] + 1)))
        for value, out in zip(x[:, c].tolist(), found[:, c].tolist(), strict=True):
            exact = Fraction((value + int(bias[c])) * b, 2**shift)
            assert out == min(max(floor(exact + Fraction(1, 2)), bottom), top)


def test_requantize_per_tensor_takes_any_row():
    golden = unit("requantize").golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, Fraction(1, 256))
    assert golden.function(np.array([[128, 127, -128, -129]]), spec, constants).tolist() == [
        [1, 0, 0, -1]]


@pytest.mark.parametrize(("name", "scale", "message"), [
    ("softmax_shiftmax", "0", "^scale must be a finite positive number, not '0'$"),
    ("softmax_shiftmax", "0.001", "^scale must be above 1/256 for an I0 of 8 bits, not 0.001$"),
    ("softmax_iexp", float("nan"), "^scale must be a finite positive number, not nan$"),
    ("softmax_iexp", "0.001", "^scale must give 1..32767 for 2.792 / S"),
    ("gelu_shiftgelu", "0.001", "^scale must be at least 0.004626 for an I0 of 7 bits, not 0.001$"),
    ("gelu_shiftgelu_elem", "5", "^scale must be 0.009216..2.350 for an I0 of 8 bits, not 5.0$"),
    ("gelu_ierf", "0.001", "^scale must be larger for coefficients of 17 bits, not 0.001$"),
])
def test_derive_refuses_scales_it_cannot_hold(name, scale, message):
    golden = unit(name).golden
    with pytest.raises(ValueError, match=message):
        golden.derive(golden.spec(), scale)


def test_layernorm_refuses_a_gamma_that_leaves_no_room():
    golden = unit("layernorm_newton").golden
    with pytest.raises(ValueError, match=r"^gamma\[1\] must be at least .* for its beta of 0.5, "
                                         "not 1e-09$"):
        golden.derive(golden.spec(), "0.01", gamma=[1.0, 1e-9], beta=[0.0, 0.5])


def test_requantize_refuses_a_ratio_out_of_reach():
    golden = unit("requantize").golden
    with pytest.raises(ValueError, match="^ratio of scales must be below 2.0, not 4.0$"):
        golden.derive(golden.spec(), Fraction(4))


@pytest.mark.parametrize("name", ["softmax_shiftmax", "softmax_iexp", "gelu_shiftgelu"])
def test_a_row_longer_than_the_spec_is_refused(name):
    golden = unit(name).golden
    spec = golden.spec(longest_row=16)
    constants, _ = golden.derive(spec, "0.05")
    with pytest.raises(ValueError, match="^row length must be 1..16, not 17$"):
        golden.function(np.zeros((1, 17), int), spec, constants)


@pytest.mark.parametrize("name", ["softmax_shiftmax", "softmax_iexp", "gelu_shiftgelu",
                                  "gelu_shiftgelu_elem", "gelu_ierf"])
def test_an_input_outside_its_format_is_refused(name):
    golden = unit(name).golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, "0.05")
    with pytest.raises(WidthError, match=r"^input must fit s8 \(-128..127\), not 128$"):
        golden.function(np.array([[128]]), spec, constants)
