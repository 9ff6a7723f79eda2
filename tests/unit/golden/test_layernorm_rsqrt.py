"""LayerNorm by reciprocal root against its formula in plain integers, and against float."""

from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import reference
from vitrtl.sw.accuracy.rows import affine, layernorm_rows, quantized
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.layernorm_rsqrt import BIAS_FRACTION, CURVE, GOLDEN, reciprocal_root
from vitrtl.sw.golden.operand_affine import operand_affine

MERGED = GOLDEN.variants["s8 operand"]
FIELDS = [(16, 256), (16, 4096), (8, 192), (4, 5), (16, 1)]


def parabola(v: int) -> int:
    index, place = v // 2**14, v % 2**14 - 2**13
    value, slope, curve = CURVE[index].tolist()
    return value + (slope + curve * place // 2**10) * place // 2**13


def formula(row: list[int], bias: list[int], width: int, longest: int) -> list[int]:
    """The unit's arithmetic in plain integers; a shift by half a step is a root of the spread's."""
    range_bits = next(k for k in range(7) if 4**k >= longest)
    root_bits = max(width - 1 + (longest - 1).bit_length(), 17 - range_bits)
    channels, total = len(row), sum(row)
    spread = channels * sum(x * x for x in row) - total**2
    factor = 1
    while 16**factor * spread < 4**root_bits and 4 * factor < 2 * root_bits:
        factor += 1
    factor = 4**(factor - 1)
    leading = spread * factor**2 * 2**20 // 4**root_bits
    low = leading < 2**18
    weight = parabola(leading) * 2 if low else parabola(leading // 4)
    cut = 2**(root_bits + range_bits - 17)
    return [(x * channels * factor // cut - total * factor // cut) * weight // 2**15 + b
            for x, b in zip(row, bias, strict=True)]


def rows_of(length: int, width: int = 16) -> np.ndarray:
    """Rows of every spread, far from zero and near it, and extreme ones."""
    rng = np.random.default_rng(length)
    top = 2 ** (width - 1)
    rows = [rng.normal(rng.normal(0, d), d, (9, length)) for d in (0.3, 1, 3, 30, 300, 3000, 30000)]
    rows.append(rng.normal(0.9 * top, 2, (9, length)))
    places = np.arange(length)
    extremes = [0 * places + top - 1, 0 * places - top, places % 2 * (2 * top - 1) - top,
                places == 0, -top + (2 * top - 1) * (places == 0), top - 1 - (places == length - 1)]
    return np.clip(np.rint(np.concatenate([*rows, extremes])), -top, top - 1).astype(int)


def results(rows: np.ndarray, scale: str = "0.05", gamma: object = 1.0, beta: object = 0.0,
            **fields: int) -> tuple[np.ndarray, np.ndarray]:
    """Return results as integers and as real numbers."""
    spec = GOLDEN.spec(**fields)
    gamma, beta = (np.broadcast_to(v, rows.shape[-1]).tolist() for v in (gamma, beta))
    constants, scales = GOLDEN.derive(spec, Fraction(scale), gamma=gamma, beta=beta)
    found = GOLDEN.function(rows, spec, constants)
    return found, found * np.array([float(s) for s in scales])


@pytest.mark.parametrize(("width", "longest"), FIELDS)
@pytest.mark.parametrize("length", [1, 5, 64, 192])
def test_it_is_its_formula(length, width, longest):
    length = min(length, longest)
    rng = np.random.default_rng(1)
    gamma, beta = rng.normal(1, 0.1, length).tolist(), rng.normal(0, 0.1, length).tolist()
    spec = GOLDEN.spec(in_width=width, longest_row=longest)
    constants, _ = GOLDEN.derive(spec, "0.01", gamma=gamma, beta=beta)
    rows = rows_of(length, width)
    assert GOLDEN.function(rows, spec, constants).tolist() == [
        formula(row, constants.bias.tolist(), width, longest) for row in rows.tolist()]


def test_the_root_is_within_its_error():
    v = np.arange(1 << 16, 1 << 18)
    assert np.abs(reciprocal_root(v) * np.sqrt(v) / 2**24 - 1).max() <= 1 / 7000


@pytest.mark.parametrize(("width", "longest"), FIELDS)
def test_the_error_depends_neither_on_mean_nor_on_deviation(width, longest):
    length = min(longest, 1000)
    rows = rows_of(length, width)
    _, found = results(rows, in_width=width, longest_row=longest)
    expected = reference.layernorm(rows.astype(float), 1, 0)
    unit_of_result = 2.0**-GOLDEN.spec(in_width=width, longest_row=longest).fraction_bits
    assert (np.abs(found - expected) <= np.abs(expected) / 7000 + 6 * unit_of_result).all()


@pytest.mark.parametrize("scale", ["0.01", "0.0321", "0.05", "0.1", "0.137", "0.2", "0.25"])
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_the_error_is_within_its_limit(length, scale):
    gamma, beta = affine(length)
    for real in layernorm_rows(length).values():
        rows = quantized(real, GOLDEN.spec().in_format, float(scale))
        _, found = results(rows, scale, gamma, beta, longest_row=max(length, 256))
        error = np.abs(found - reference.layernorm(rows.astype(float), gamma, beta))
        assert error.max() <= GOLDEN.error_limit(float(scale))


def test_the_error_is_a_fortieth_of_that_with_a_rounded_mean():
    # Rows of 192 with a deviation of ten codes: 0.0007 against 0.05.
    rows = np.rint(np.random.default_rng(1).normal(0, 10, (50, 192))).astype(int)
    expected = reference.layernorm(rows.astype(float), 1, 0)
    newton = unit("layernorm_newton").golden
    constants, scales = newton.derive(newton.spec(), "0.1", gamma=[1.0] * 192, beta=[0.0] * 192)
    rounded = newton.function(rows, newton.spec(), constants) * float(scales[0])
    exact = results(rows)[1]
    assert 40 * np.abs(exact - expected).max() <= np.abs(rounded - expected).max()


@pytest.mark.parametrize("length", [4, 16, 64, 256, 1024, 4096])
def test_the_largest_result_and_the_largest_bias_fit(length):
    # One element apart from the others: a result of sqrt(C - 1), here of either sign.
    rows = np.where(np.arange(length) == 1, np.array([[1], [-1], [32767], [-32768], [3]]), 0)
    largest = 0.99 * np.sqrt(length)
    for sign in (1, -1):
        results(rows, beta=sign * largest, longest_row=length)


def test_gammas_next_to_zero_are_taken_without_a_beta_and_refused_with_one():
    assert results(np.array([[1, 2]]), gamma=2.0**-60)[1].max() <= 2.0**-59
    with pytest.raises(ValueError, match=r"^gamma\[0\] must be at least .* for its beta of 0.5, "
                                         "not 1e-09$"):
        results(np.array([[1, 2]]), gamma=1e-9, beta=0.5)


def test_rows_of_another_length_are_refused():
    constants, _ = GOLDEN.derive(GOLDEN.spec(), "0.05", gamma=[1.0] * 3, beta=[0.0] * 3)
    with pytest.raises(ValueError, match="^row length must be the 3 channels of the constants, "
                                         "not 2$"):
        GOLDEN.function(np.array([[1, 2]]), GOLDEN.spec(), constants)


def merged(rows: np.ndarray, gamma: np.ndarray, beta: np.ndarray, **fields: int):
    """Return spec, constants, output scale and codes with the requantizer merged."""
    spec = GOLDEN.spec(merged=True, **fields)
    constants, scale = GOLDEN.export(spec, Fraction("0.05"), rows, gamma=gamma.tolist(),
                                     beta=beta.tolist())
    return spec, constants, scale, GOLDEN.function(rows, spec, constants)


@pytest.mark.parametrize(("width", "longest"), FIELDS)
@pytest.mark.parametrize("length", [1, 5, 64, 192])
def test_a_merged_requantizer_is_its_formula(length, width, longest):
    length = min(length, longest)
    gamma, beta = affine(length)
    rows = rows_of(length, width)
    spec, constants, _, found = merged(rows, gamma, beta, in_width=width, longest_row=longest)
    range_bits = next(k for k in range(7) if 4**k >= longest)
    assert spec.multiplier_shift == 26 - range_bits
    for row, codes in zip(rows.tolist(), found.tolist(), strict=True):
        z = formula(row, [0] * length, width, longest)
        assert codes == [
            min(max((v // 2 * m // 2 ** (18 - range_bits) + b) // 256, -128), 127)
            for v, m, b in zip(z, constants.multiplier.tolist(), constants.bias.tolist(),
                               strict=True)]


@pytest.mark.parametrize(("width", "longest"), FIELDS)
def test_a_merged_requantizer_adds_half_a_step_of_its_result(width, longest):
    rows = rows_of(min(longest, 1000), width)
    gamma, beta = affine(rows.shape[-1])
    gamma[::3] *= -1
    spec, _, scale, codes = merged(rows, gamma, beta, in_width=width, longest_row=longest)
    step, z = float(scale), reference.layernorm(rows.astype(float), 1, 0)
    own = np.abs(gamma) * (np.abs(z) / 7000 + 6 * 2.0**-spec.fraction_bits)
    last_places = step * (np.abs(z) / 2000 + 1 / 256)
    inside = np.abs(codes) < 127
    error = np.abs(codes * step - (gamma * z + beta))
    assert (error <= step / 2 + own + last_places)[inside].all()
    assert inside.mean() > 0.9


@pytest.mark.parametrize(("gamma", "beta", "scale"), [
    (1.0, 0.0, "0.03"), (-0.7, 0.4, "0.01"), (2.5, -12.0, "0.025"), (0.0, 0.3, "0.02"),
    (1.27, 0.0, "0.01")])
def test_the_product_rounds_every_normalised_value(gamma, beta, scale):
    constants, found_scale = GOLDEN.derive(MERGED, "0.05", gamma=[gamma], beta=[beta],
                                           out_scale=Fraction(scale))
    assert found_scale == Fraction(scale)
    z = np.arange(-2**16 - 32, 2**16 + 32)
    codes = operand_affine(z, constants.multiplier, constants.bias, MERGED.multiplier_shift,
                           BIAS_FRACTION)
    # Half a place is what z lost on average.
    real = gamma * (z + 0.5) / 2.0 ** (MERGED.fraction_bits - 1) + beta
    wanted = np.clip(real / float(found_scale), -128, 127)
    assert np.abs(codes - wanted).max() <= 0.5 + 16 / 2000 + 1 / 256
    assert (np.diff(codes) * np.sign(gamma) >= 0).all()


@pytest.mark.parametrize("scale", ["0.01", "0.0321", "0.05", "0.137", "0.25"])
@pytest.mark.parametrize("length", [17, 65, 197, 577])
def test_merged_it_errs_by_half_a_step_and_its_own_error(length, scale):
    gamma, beta = affine(length)
    real = np.concatenate(list(layernorm_rows(length).values()))
    spec = GOLDEN.spec(merged=True, longest_row=max(length, 256))
    rows = quantized(real, spec.in_format, float(scale))
    constants, step = GOLDEN.export(spec, Fraction(scale), rows, gamma=gamma.tolist(),
                                    beta=beta.tolist())
    error = np.abs(GOLDEN.function(rows, spec, constants) * float(step)
                   - reference.layernorm(rows.astype(float), gamma, beta))
    assert error.max() <= float(step) / 2 + 0.002


def test_only_a_merged_requantizer_takes_the_output_scale():
    parameters = {"gamma": [1.0, 2.0], "beta": [0.0, 0.5], "out_scale": Fraction(1, 32)}
    assert GOLDEN.export(MERGED, "0.05", **parameters)[1] == Fraction(1, 32)
    assert GOLDEN.export(GOLDEN.spec(), "0.05", **parameters)[1] == [Fraction(1, 1 << 13),
                                                                      Fraction(1, 1 << 12)]
    with pytest.raises(ValueError, match="^the multiplier of channel 1 must fit s18, not 204800; "
                                         "the output scale of 0.01 is too small$"):
        GOLDEN.derive(MERGED, "0.05", gamma=[1.0, 2.0], beta=[0.0, 0.5], out_scale="0.01")
    with pytest.raises(ValueError, match="^the bias of channel 0 must fit s18, not .*$"):
        GOLDEN.derive(MERGED, "0.05", gamma=[0.01], beta=[9.0], out_scale="0.01")
