"""Quantization-aware training, the baseline."""

import dataclasses

import numpy as np
import pytest
import torch

from vitrtl.sw.executor import Executor
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.float_graph import FloatGraph
from vitrtl.sw.ptq.origin import Origin
from vitrtl.sw.ptq.qat import Recipe, _Quantized, train_quantized, trained
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme

IVIT = {"softmax": "softmax_shiftmax", "gelu": "gelu_shiftgelu", "layernorm": "layernorm_newton"}


@pytest.fixture(scope="module")
def ivit(float_model, calibration):
    return export(calibration, resolve_methods(float_model, IVIT, {}))


@pytest.fixture(scope="module")
def some(digits):
    return dataclasses.replace(digits, train=digits.train[:256])


def rms(x) -> float:
    return float(np.sqrt(np.mean(np.square(x))))


def test_the_forward_pass_computes_what_the_integer_network_computes(float_model, ivit, digits):
    pixels = digits.pixels[digits.test[:32]]
    graph = FloatGraph(float_model)
    with torch.inference_mode():
        trained = graph.logits(_Quantized(float_model, ivit), pixels).numpy()
    integer = ivit.values[ivit.output].real(Executor(ivit).run(pixels))
    assert rms(trained - integer) < 0.4 * rms(graph.run(pixels).numpy() - integer)


def test_training_lowers_the_loss_of_the_integer_network(float_model, ivit, some):
    def loss(model) -> float:
        calibration = calibrate(model, some.pixels[some.train[:64]], Scheme.plain())
        network = export(calibration, resolve_methods(model, IVIT, {}))
        logits = network.values[network.output].real(Executor(network).run(some.pixels[some.train]))
        return float(torch.nn.functional.cross_entropy(
            torch.from_numpy(logits), torch.from_numpy(some.labels[some.train])))

    before = float_model.digest
    trained = train_quantized(float_model, ivit, some, Recipe(rate=1e-4))
    assert float_model.digest == before != trained.digest
    assert loss(trained) < 0.9 * loss(float_model)
    old, new = (dict(m.module.named_parameters()) for m in (float_model, trained))
    frozen = {name for name in old if torch.equal(old[name], new[name])}
    assert frozen == {name for name in old if "norm" in name}


def test_a_trained_origin_makes_networks_of_its_own_weights(float_model, some):
    few = dataclasses.replace(some, train=some.train[:64])
    origin = Origin.calibrated(float_model, few, few.train[:16], 0, Scheme(techniques=()))
    methods = resolve_methods(float_model, IVIT, {})
    again = trained(origin, methods)
    assert again.calibration.scheme == origin.calibration.scheme
    assert again.network(methods).digest != origin.network(methods).digest
    assert again.network(methods).provenance["weights_digest"] == again.model.digest


def test_equal_seeds_give_equal_weights(float_model, ivit, some):
    few = dataclasses.replace(some, train=some.train[:64])
    first, again, other = (train_quantized(float_model, ivit, few, Recipe(seed=seed)).digest
                           for seed in (0, 0, 1))
    assert first == again != other
