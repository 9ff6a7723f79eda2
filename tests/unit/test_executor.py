"""The executor, and each fast path against its golden function."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor, storage
from vitrtl.sw.fast import fast_path
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.structure import OPERATIONS

ELEMENTWISE = [u.name for u in UNITS.values() if u.operator == "gelu"]
SCALES = [Fraction(1, 100), Fraction(1, 20), Fraction(1, 4)]


def assert_same(name, spec, constants, *inputs):
    """Compare a unit's fast path with its golden function."""
    golden = unit(name).golden.function
    wanted = golden(*inputs, spec) if name == "matmul" else golden(*inputs, spec, constants)
    np.testing.assert_array_equal(fast_path(name, spec, constants)(*inputs), wanted)


@pytest.mark.parametrize("inner", [1, 65, 1024, 1025, 3000])
@pytest.mark.parametrize("batched", [False, True])
def test_fast_matmul_is_exact_up_to_the_largest_sums(inner, batched):
    # 1024 products of 128 * 128 fill the 24 bits of float32; beyond, float64 takes over.
    rng = np.random.default_rng(inner)
    spec = unit("matmul").golden.spec()
    a = rng.integers(-128, 128, (2, 5, inner)).astype(np.int8)
    b = rng.integers(-128, 128, (2, inner, 3) if batched else (inner, 3)).astype(np.int8)
    a[0, 0], a[0, 1] = -128, 127
    b[..., 0], b[..., 1] = -128, 127
    # An odd sum next to the largest one: the last place of the type counts.
    a[0, 2], a[0, 2, 0] = -128, -127
    assert_same("matmul", spec, None, a, b)


@pytest.mark.parametrize("out_width", [8, 16])
def test_fast_requantizer_is_exact_at_the_ends_and_at_ties(out_width):
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
            rows = np.broadcast_to(x[:, np.newaxis], (x.size, multipliers.size)).astype(np.int32)
            assert_same("requantize", spec, constants, rows)


def test_fast_requantizer_takes_one_constant_for_all():
    golden = unit("requantize").golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, Fraction(1, 1000))
    x = np.random.default_rng(0).integers(-200_000, 200_000, (3, 4, 50)).astype(np.int32)
    assert_same("requantize", spec, constants, x)


def test_requantizer_beyond_float64_has_no_fast_path():
    golden = unit("requantize").golden
    spec = golden.spec(shift_min=32, shift_step=8, shift_count=16)
    constants, _ = golden.derive(spec, Fraction(1, 10**6))
    assert fast_path("requantize", spec, constants) is None


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("scale", SCALES)
def test_fast_gelu_equals_golden_on_every_code_and_row(name, scale):
    golden = unit(name).golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, golden.fit_scale(spec, Fraction(scale)))
    codes = np.arange(-128, 128)
    rng = np.random.default_rng(0)
    # Every element below every maximum, as a row-wise method sees them.
    staircase = np.minimum(codes, codes[:, np.newaxis])
    for x in (codes[np.newaxis], codes[:, np.newaxis], staircase,
              rng.integers(-128, 128, (4, 7, 96)), rng.integers(-128, 0, (5, 64)),
              np.full((1, 64), -128), np.full((1, 64), 127)):
        assert_same(name, spec, constants, x.astype(np.int8))


def test_storage_is_the_narrowest_type():
    formats = {"s8": "int8", "u8": "uint8", "s9": "int16", "u15": "uint16", "s16": "int16",
               "s26": "int32", "s32": "int32", "s33": "int64"}
    assert {text: storage(Format.parse(text)).name for text in formats} == formats


def test_fast_network_equals_the_golden_one_at_every_node(network, digits):
    rng = np.random.default_rng(0)
    images = np.concatenate([
        digits.pixels[digits.test[:3]], np.zeros((1, 1, 16, 16), np.uint8),
        np.full((1, 1, 16, 16), 255, np.uint8),
        rng.integers(0, 256, (2, 1, 16, 16)).astype(np.uint8)])
    seen = {}
    Executor(network).run(images, lambda node, inputs, output: seen.setdefault(node.name, [])
                          .append(output))
    fast = {name: np.concatenate(parts) for name, parts in seen.items()}
    seen.clear()
    Executor(network, plain=True).run(
        images, lambda node, inputs, output: seen.setdefault(node.name, []).append(output))
    assert set(fast) == {node.name for node in network.nodes}
    for name, parts in seen.items():
        np.testing.assert_array_equal(fast[name], np.concatenate(parts), err_msg=name)


def test_observer_sees_what_each_unit_was_given(network, digits):
    def observe(node, inputs, output):
        assert len(inputs) == len(node.inputs)
        for name, array in zip([*node.inputs, node.output], [*inputs, output], strict=True):
            value = network.values[name]
            assert array.dtype == storage(value.format)
            assert array.shape[-len(value.shape):] == value.shape
        if node.op in UNITS and node.op != "matmul":
            golden = unit(node.op).golden.function
            np.testing.assert_array_equal(golden(inputs[0], node.spec, node.unit_constants), output)

    Executor(network).run(digits.pixels[digits.test[:2]], observe)


def test_order_of_the_images_is_kept_whatever_the_threads(network, digits):
    pixels = digits.pixels[digits.test[:60]]
    one = Executor(network, threads=1).run(pixels)
    np.testing.assert_array_equal(Executor(network, threads=3).run(pixels), one)
    np.testing.assert_array_equal(np.concatenate(list(Executor(network).iterate(pixels))), one)
    np.testing.assert_array_equal(Executor(network).run(pixels[7:8]), one[7:8])


def test_no_images_give_no_logits(network, digits):
    assert Executor(network).run(digits.pixels[:0]).shape == (0, 10)


def test_residual_stream_saturates():
    a = np.array([[[32767, -32768, 5]]], np.int16)
    b = np.array([[1, -1, 6]], np.int16)
    np.testing.assert_array_equal(OPERATIONS["add"].function([a, b], {}), [[[32767, -32768, 11]]])


def test_plain_run_checks_widths(float_model, calibration, digits):
    network = export(float_model, calibration, resolve_methods(
        float_model, {"layernorm": "layernorm_newton"}, {}))
    # A LayerNorm bias near the end of its register leaves the result no room.
    nodes = []
    for node in network.nodes:
        if node.name == "norm":
            bias = np.full_like(node.constants["bias"], 2**31 - 1)
            node = dataclasses.replace(node, constants={"bias": bias})
        nodes.append(node)
    broken = dataclasses.replace(network, nodes=tuple(nodes))
    with pytest.raises(ValueError, match="^output must fit s32"):
        Executor(broken, plain=True).run(digits.pixels[:1])


def test_wrong_images_are_refused(network, digits):
    with pytest.raises(UserError, match=r"^images must have shape \(images, 1, 16, 16\), not "
                                        r"\(2, 1, 8, 8\)$"):
        Executor(network).run(digits.pixels[:2, :, :8, :8])
    with pytest.raises(UserError, match="^images must be uint8 codes, not float64$"):
        Executor(network).run(digits.pixels[:2] / 255)
