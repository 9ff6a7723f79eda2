"""Each faster path against its golden function."""

import functools
from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw import structure
from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.fast.paths import STRUCTURAL, fast_path, fixed_matmul
from vitrtl.sw.golden.matmul import MatMulSpec
from vitrtl.sw.ptq.quantize import DEFAULT_METHODS
from vitrtl.sw.stimuli import constants_for, synthetic_cases
from vitrtl.sw.storage import storage
from vitrtl.sw.vectors import Case

BUILDS = [pytest.param(entry, spec, id=f"{entry.name}-{variant}")
          for entry in UNITS.values() if entry.operator != "matmul"
          for variant, spec in {"default": entry.golden.spec(), **entry.golden.variants}.items()]


@functools.cache
def cases(entry, spec):
    """Return every code, corners and random rows under extreme and random constants."""
    return [case for case in synthetic_cases(entry, spec) if case.kind != "timing"]


def rows_of(case: Case):
    """Yield what a case has of each row length: rows and their expected results."""
    splits = np.cumsum(case.lengths)[:-1]
    rows, expected = np.split(case.x, splits), np.split(case.expected, splits)
    for length in np.unique(case.lengths):
        places = np.flatnonzero(case.lengths == length)
        yield np.stack([rows[i] for i in places]), np.stack([expected[i] for i in places])


@pytest.mark.parametrize(("entry", "spec"), BUILDS)
def test_a_path_gives_what_the_golden_function_gives(entry, spec):
    for case in cases(entry, spec):
        # A method may be without a faster path; it runs on its golden function then.
        path = fast_path(entry.name, spec, case.constants)
        if path is None:
            continue
        for x, expected in rows_of(case):
            found = path(x.astype(storage(spec.in_format)))
            assert found.dtype == storage(spec.out_format)
            np.testing.assert_array_equal(found, expected, err_msg=case.name)


@pytest.mark.parametrize("name", DEFAULT_METHODS.values())
def test_the_default_methods_have_a_path(name):
    entry = unit(name)
    spec = entry.golden.spec()
    constants = constants_for(entry, spec, Fraction(1, 20), np.zeros((1, 4), np.int64))
    assert fast_path(name, spec, constants) is not None


@pytest.mark.parametrize("name", ["softmax_exp2", "gelu_shiftgelu", "layernorm_rsqrt", "gelu_pwl"])
def test_a_path_takes_any_number_of_axes_and_any_layout(name):
    entry = unit(name)
    spec = entry.golden.spec()
    fmt = spec.in_format
    x = np.random.default_rng(0).integers(fmt.lo, fmt.hi + 1, (2, 3, 5, 4))
    constants = constants_for(entry, spec, Fraction(1, 20), x[..., :3])
    for rows in (x.swapaxes(1, 3)[..., :3], x[0, 0, :, :3], x[..., ::-1][..., :3], x[:0, ..., :3]):
        expected = entry.golden.function(rows, spec, constants)
        found = fast_path(name, spec, constants)(rows.astype(storage(fmt)))
        np.testing.assert_array_equal(found, expected)


def operands(inner, batched=False):
    """Return the largest products of both signs, and an odd sum next to the largest."""
    rng = np.random.default_rng(inner)
    a = rng.integers(-128, 128, (2, 5, inner)).astype(np.int8)
    b = rng.integers(-128, 128, (2, inner, 4) if batched else (inner, 4)).astype(np.int8)
    a[0, 0], a[0, 1] = -128, 127
    b[..., 0], b[..., 1] = -128, 127
    # The last place of the floating point type counts.
    a[0, 2], a[0, 2, 0] = -128, -127
    return a, b


@pytest.mark.parametrize("inner", [1, 65, 1024, 1025, 3000])
@pytest.mark.parametrize("batched", [False, True])
def test_matmul_is_exact_up_to_the_largest_sums(inner, batched):
    # 1024 products of 128 * 128 fill the 24 bits of float32; beyond, float64 takes over.
    entry, (a, b) = unit("matmul"), operands(inner, batched)
    spec = entry.golden.spec()
    np.testing.assert_array_equal(fast_path("matmul", spec, None)(a, b),
                                  entry.golden.function(a, b, spec))


@pytest.mark.parametrize("inner", [1, 65, 1024, 1025, 3000])
@pytest.mark.parametrize("fields", [{}, {"operand": "log2"}, {"in_width": 16}],
                         ids=["s8", "log2", "s16"])
def test_matmul_by_known_weights_is_exact_up_to_the_largest_sums(inner, fields):
    spec, (a, b) = MatMulSpec(**fields), operands(inner)
    b[:, 2:] >>= 5
    if fields:
        # No product over the whole inner dimension may leave the accumulator.
        a = a.astype(np.int16) * 256 if "in_width" in fields else a.view(np.uint8) % 32
        a[..., spec.longest_inner:] = 0 if "in_width" in fields else 16
        a = a.astype(storage(spec.in_format))
    np.testing.assert_array_equal(fixed_matmul(b, spec)(a),
                                  unit("matmul").golden.function(a, b, spec))


def test_long_products_by_small_weights_stay_in_float32():
    a, b = operands(3000)
    spec = MatMulSpec()
    assert fixed_matmul(b, spec)(a).dtype == np.float64
    assert fixed_matmul(b >> 5, spec)(a).dtype == np.float32


@pytest.mark.parametrize("out_width", [8, 16])
@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.float64])
def test_requantizer_is_exact_at_the_ends_and_at_ties(out_width, dtype):
    golden = unit("requantize").golden
    spec = golden.spec(out_width=out_width)
    rng = np.random.default_rng(out_width)
    ends = [spec.in_format.lo, spec.in_format.lo + 1, -1, 0, 1, spec.in_format.hi]
    multipliers = np.array([spec.multiplier_format.lo, -3, -1, 0, 1, 77777, 131071])
    for code in range(spec.shift_count):
        half = 1 << (spec.shifts[code] - 1)
        x = np.array([*ends, *(k * half for k in (-3, -1, 1, 3) if abs(k * half) < 1 << 31),
                      *rng.integers(-(1 << 31), 1 << 31, 500)])
        for bias in (spec.in_format.lo, -12345, 0, spec.in_format.hi):
            constants = golden.constants(
                bias=np.full(len(multipliers), bias), per_channel=1,
                factor=multipliers << spec.code_width | code)
            rows = np.broadcast_to(x[:, np.newaxis], (x.size, multipliers.size))
            np.testing.assert_array_equal(
                fast_path("requantize", spec, constants)(rows.astype(dtype)),
                golden.function(rows, spec, constants))


def test_requantizer_beyond_float64_has_no_path():
    golden = unit("requantize").golden
    spec = golden.spec(shift_min=32, shift_step=8, shift_count=16)
    constants, _ = golden.derive(spec, Fraction(1, 10**6))
    assert fast_path("requantize", spec, constants) is None


@pytest.mark.parametrize("name", ["requantize", "layernorm_rsqrt"])
def test_rows_of_other_channels_are_refused(name):
    entry = unit(name)
    spec = entry.golden.spec()
    constants = (entry.golden.derive(spec, [Fraction(1, 1000)] * 4)[0] if name == "requantize" else
                 entry.golden.derive(spec, Fraction(1, 100), gamma=[1.0] * 4, beta=[0.0] * 4)[0])
    x = np.zeros((3, 5), storage(spec.in_format))
    with pytest.raises(ValueError, match="^row length must be the 4 channels of the constants, "
                                         "not 5$"):
        fast_path(name, spec, constants)(x)


@pytest.mark.parametrize("name", [u.name for u in UNITS.values() if u.operator == "gelu"])
def test_gelu_equals_golden_below_every_maximum(name):
    golden = unit(name).golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, golden.fit_scale(spec, Fraction(1, 20)))
    codes = np.arange(-128, 128)
    staircase = np.minimum(codes, codes[:, np.newaxis]).astype(np.int8)
    np.testing.assert_array_equal(fast_path(name, spec, constants)(staircase),
                                  golden.function(staircase, spec, constants))


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_the_addition_saturates(dtype):
    limits = np.iinfo(dtype)
    ends = np.array([limits.min, limits.min + 1, -1, 0, 1, limits.max], dtype)
    a = np.stack([np.repeat(ends, ends.size).reshape(2, -1)] * 2)
    b = np.stack([np.tile(ends, ends.size).reshape(2, -1)] * 2)
    for other in (b, b[0], b[:, ::-1]):
        np.testing.assert_array_equal(STRUCTURAL["add"]([a, other], {}),
                                      structure.OPERATIONS["add"].function([a, other], {}))
