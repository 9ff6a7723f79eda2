"""The executor: the network on the faster paths is the network on the golden functions."""

import dataclasses

import numpy as np
import pytest

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.storage import storage
from vitrtl.sw.structure import OPERATIONS


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
    network = export(calibration, resolve_methods(
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
