"""The integer network as a graph and as two files."""

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest

from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.network import IntegerNetwork, Node, Value, load, save

S8 = Format(8, True)


def tiny(**changes) -> IntegerNetwork:
    """Return a network of two nodes: centre the image, keep its first row."""
    level = (Fraction(1, 255),)
    fields = {
        "name": "tiny",
        "nodes": (Node("center", "center", ("image",)),
                  Node("first", "select", ("center",), attributes={"token": 0})),
        "values": {"image": Value(Format(8, False), (2, 3), level),
                   "center": Value(S8, (2, 3), level), "first": Value(S8, (1, 3), level)},
        "operands": {},
    }
    return IntegerNetwork(**{**fields, **changes})


@pytest.fixture
def folder(network, tmp_path):
    save(network, tmp_path)
    return tmp_path


def edit(folder, change):
    """Change the JSON of a saved network."""
    path = folder / "network.json"
    head = json.loads(path.read_text())
    change(head)
    path.write_text(json.dumps(head))


def test_loaded_network_gives_the_logits_of_the_saved_one(network, folder, digits):
    loaded = load(folder)
    assert loaded.digest == network.digest
    assert loaded.provenance == network.provenance
    for plain, count in ((False, 40), (True, 4)):
        pixels = digits.pixels[digits.test[:count]]
        np.testing.assert_array_equal(Executor(loaded, plain=plain).run(pixels),
                                      Executor(network).run(pixels))


def test_saving_again_writes_the_same_bytes(network, folder, tmp_path):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    save(load(folder), tmp_path / "again")
    assert {p.name: p.read_bytes() for p in (tmp_path / "again").iterdir()} == before
    assert set(before) == {"network.json", "network.safetensors"}


def test_digest_follows_every_integer_but_not_the_provenance(network):
    operands = dict(network.operands)
    operands["position"] = operands["position"].copy()
    operands["position"][0, 0] ^= 1
    assert dataclasses.replace(network, operands=operands).digest != network.digest
    assert dataclasses.replace(network, provenance={}).digest == network.digest


def test_provenance_names_what_made_the_network(network, digits):
    made = network.provenance
    assert made["seed"] == 0
    assert made["weights"] == "shipped"
    assert made["data_digest"] == digits.digest
    assert set(made["calibration_images"]) <= set(digits.train.tolist())
    assert {"python", "vitrtl", "numpy", "torch", "timm"} <= set(made["versions"])


def test_damaged_tensors_are_refused(folder):
    path = folder / "network.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(UserError, match="does not have the checksum that .*network.json states"):
        load(folder)


def test_edited_graph_is_refused(folder):
    def change(head):
        head["nodes"][-1]["spec"]["lanes"] = 2

    edit(folder, change)
    with pytest.raises(UserError, match="does not have the digest that it states"):
        load(folder)


def test_missing_tensor_is_refused(folder):
    edit(folder, lambda head: head["operands"].append("blocks.9.weight"))
    with pytest.raises(UserError, match=r"network.json or its tensors lack 'blocks\.9\.weight'$"):
        load(folder)


def test_other_versions_and_formats_are_refused(folder):
    edit(folder, lambda head: head.update(version=99))
    with pytest.raises(UserError, match=r"network\.json must have version 2, not 99$"):
        load(folder)
    edit(folder, lambda head: head.update(format="something"))
    with pytest.raises(UserError, match=r"network\.json is not a vitrtl\.network file$"):
        load(folder)


def test_half_a_file_is_refused(folder):
    path = folder / "network.json"
    path.write_text(path.read_text()[:1000])
    with pytest.raises(UserError, match="is not JSON"):
        load(folder)


def test_half_a_network_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="^there is no file .*network.json$"):
        load(tmp_path / "nowhere")
    (folder / "network.safetensors").unlink()
    with pytest.raises(UserError, match="^there is no file .*network.safetensors$"):
        load(folder)


def test_unknown_unit_is_refused(folder):
    edit(folder, lambda head: head["nodes"][2].update(op="convolve"))
    with pytest.raises(UserError, match="is damaged: unit must be one of .*, not 'convolve'$"):
        load(folder)


def test_value_tells_what_its_codes_stand_for():
    value = Value(S8, (2,), (Fraction(1, 2), Fraction(1, 4)))
    np.testing.assert_array_equal(value.real(np.array([[2, 4], [-2, -4]])), [[1, 1], [-1, -1]])


def test_tiny_network_runs():
    images = np.array([[[0, 128, 255], [1, 2, 3]]], np.uint8)
    np.testing.assert_array_equal(Executor(tiny()).run(images), [[-128, 0, 127]])


@pytest.mark.parametrize("changes, message", [
    ({"nodes": ()}, "network tiny must have nodes"),
    ({"nodes": (Node("center", "blur", ("image",)),)},
     r"node center \(blur\) must be one of softmax_shiftmax, .*, total"),
    ({"nodes": (Node("center", "center", ("picture",)),)},
     r"node center \(center\) reads picture, which nothing before it computes"),
    ({"nodes": (Node("image", "center", ("image",)),)},
     r"node image \(center\) must have a name of its own"),
    ({"nodes": (Node("other", "center", ("image",)),)},
     r"node other \(center\) must have its result among the values"),
    ({"nodes": (Node("center", "center", ("image",)),
                Node("first", "select", ("center",), attributes={"token": 2}))},
     r"node first \(select\): token must be 0\.\.1, not 2"),
    ({"nodes": (Node("center", "center", ("image",)),
                Node("first", "select", ("center",)))}, r"node first \(select\): 'token'"),
    ({"nodes": (Node("center", "center", ("image",)), Node("first", "gelu_ierf", ("center",)))},
     r"node first \(gelu_ierf\) must have a spec of its unit"),
    ({"operands": {"center": np.zeros((2, 3))}},
     "constant operand center must be integers, not float64"),
    ({"operands": {"center": np.full((2, 3), 128)}},
     r"constant operand center must fit s8 \(-128\.\.127\), not 128"),
    ({"operands": {"center": np.zeros((3, 2), np.int8)}},
     r"constant operand center must have shape \(2, 3\), not \(3, 2\)"),
    ({"operands": {"weight": np.zeros((3, 2), np.int8)}},
     "constant operand weight must be among the values"),
])
def test_graph_that_does_not_fit_is_refused(changes, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        tiny(**changes)


def test_result_of_another_shape_is_refused(network):
    values = dict(network.values)
    values["blocks.0.attn.scores"] = dataclasses.replace(values["blocks.0.attn.scores"],
                                                         shape=(4, 65, 64))
    with pytest.raises(UserError, match=r"\.scores \(matmul\) must give s32 of shape "
                                        r"\(4, 65, 65\), not s32 of shape \(4, 65, 64\)$"):
        dataclasses.replace(network, values=values)


def test_row_longer_than_the_spec_is_refused(network):
    nodes = tuple(
        dataclasses.replace(node, spec=dataclasses.replace(node.spec, longest_row=64))
        if node.name == "blocks.1.attn.softmax" else node for node in network.nodes)
    with pytest.raises(UserError, match=r"^node blocks\.1\.attn\.softmax \(softmax_exp2\) "
                                        r"takes rows of 1\.\.64, not 65$"):
        dataclasses.replace(network, nodes=nodes)
