"""An integer network in onnxruntime, value by value."""

import itertools

import numpy as np
import onnx
import pytest

from vitrtl.sw.catalog import ALL, OPERATORS, methods_of
from vitrtl.sw.cli import main
from vitrtl.sw.network import save
from vitrtl.sw.onnx_check import differences, random_images
from vitrtl.sw.onnx_graph import DOMAIN, to_onnx
from vitrtl.sw.onnx_session import run_model
from vitrtl.sw.ptq.float_graph import layers_of
from vitrtl.sw.ptq.quantize import export


def mixtures(model) -> list[dict[str, str]]:
    """Return choices that together give every method of the catalogue some layer."""
    left = {operator: itertools.cycle(unit.name for unit in methods_of(operator, software=True))
            for operator in OPERATORS}
    layers = layers_of(model)
    choices, unused = [], set(ALL) - {"matmul", "requantize"}
    while unused:
        choices.append({layer.name: next(left[layer.operator]) for layer in layers})
        unused -= set(choices[-1].values())
    return choices


def test_every_value_of_every_method_is_equal(float_model, calibration, digits) -> None:
    for methods in mixtures(float_model):
        network = export(calibration, methods)
        images = np.concatenate([random_images(network, 1, seed=1),
                                 digits.pixels[digits.test[:1]]])
        compared, differing = differences(network, images)
        assert not differing
        assert compared == len(images) * sum(
            int(np.prod(network.values[node.output].shape)) for node in network.nodes)


def test_what_has_a_standard_operator_takes_it(network) -> None:
    nodes = to_onnx(network).graph.node
    own = [node.op_type for node in nodes if node.domain == DOMAIN]
    rowwise = {name for name in network.methods.values() if not name.startswith("gelu")}
    assert set(own) <= {"requantize", "concat", "center", *rowwise}
    products = [node for node in network.nodes if node.op == "matmul"]
    assert sum(node.op_type == "MatMulInteger" for node in nodes) == len(products)


def test_the_logits_alone_are_the_output_and_a_batch_is_free(network) -> None:
    model = to_onnx(network)
    for count in (1, 3):
        found = run_model(model, random_images(network, count, seed=0))
        assert {name: codes.shape for name, codes in found.items()} == {
            network.output: (count, *network.values[network.output].shape)}


def test_one_wrong_weight_is_found(network, monkeypatch) -> None:
    def spoiled(*arguments, **options):
        model = to_onnx(*arguments, **options)
        weight = next(t for t in model.graph.initializer if t.data_type == onnx.TensorProto.INT8)
        data = bytearray(weight.raw_data)
        data[0] ^= 64
        weight.raw_data = bytes(data)
        return model

    monkeypatch.setattr("vitrtl.sw.onnx_check.to_onnx", spoiled)
    assert differences(network, random_images(network, 1, seed=0))[1]


def test_the_command_writes_the_same_model_twice(network, tmp_path, capsys) -> None:
    save(network, tmp_path / "network")
    models = []
    for name in ("a.onnx", "b.onnx"):
        path = tmp_path / name
        assert main(["onnx", str(tmp_path / "network"), "--out", str(path), "--check", "1"]) == 0
        assert "equal in onnxruntime" in capsys.readouterr().out
        models.append(path.read_bytes())
    assert models[0] == models[1]
    model = onnx.load_model_from_string(models[0])
    assert {p.key: p.value for p in model.metadata_props}["digest"] == network.digest


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["--check", "-1"], "images to check must be 0 or more, not -1"),
    (["--out", "."], "--out must be a file, but . is a folder"),
])
def test_a_wrong_option_is_one_line_and_exit_2(arguments, complaint, capsys) -> None:
    assert main(["onnx", *arguments]) == 2
    assert complaint in capsys.readouterr().err
