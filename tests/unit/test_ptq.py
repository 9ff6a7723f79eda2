"""Techniques of post-training quantization: each keeps what it promises, and gains something."""

import copy
import csv
import dataclasses
import json

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from vitrtl.sw.cli import main
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.ablation import chosen, variants
from vitrtl.sw.ptq.activation_search import SHARES, rounded
from vitrtl.sw.ptq.architectures.operations import Linear
from vitrtl.sw.ptq.calibration import calibrate, calibration_work
from vitrtl.sw.ptq.channel_codes import ChannelCodes
from vitrtl.sw.ptq.equalization import fold_factors
from vitrtl.sw.ptq.float_graph import FloatGraph, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.precision import PRECISIONS, W8A8, Precision, parse_precision
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.rounding import gptq, output_error, to_nearest
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.sensitivity import deferred, operand_nodes
from vitrtl.sw.ptq.techniques import (
    EQUALIZATIONS,
    TECHNIQUES,
    check_techniques,
    default_techniques,
    parse_techniques,
)
from vitrtl.sw.ptq.weight_scales import least_error_scales

S4 = Format(4, True)


def outlier_model() -> FloatModel:
    """Return an untrained network with outliers in what every LayerNorm and projection gives."""
    torch.manual_seed(3)
    module = VisionTransformer(img_size=8, patch_size=4, in_chans=3, num_classes=5, embed_dim=24,
                               depth=2, num_heads=2, qkv_bias=False)
    random = np.random.RandomState(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if "norm" in name:
                torch.nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.3, 0.3)
                parameter[random.permutation(24)[:2]] *= 8
            if "qkv.weight" in name or "fc1.weight" in name:
                parameter[[2, 7]] *= 8
    return FloatModel(name="outliers", module=module.eval(), mean=(0.4, 0.5, 0.6),
                      std=(0.2, 0.25, 0.3), weights="random")


@pytest.fixture(scope="module")
def model():
    return outlier_model()


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8)).astype(np.uint8)


def network_of(model, pixels, precision="w8a8", techniques=None, **methods):
    scheme = Scheme(precision=parse_precision(precision), techniques=techniques)
    calibration = calibrate(model, pixels, scheme)
    return export(calibration, resolve_methods(calibration.model, methods, {}))


def logit_error(model, network, pixels) -> float:
    wanted = FloatGraph(model).run(pixels).numpy()
    found = network.values[network.output].real(Executor(network).run(pixels))
    return float(np.sqrt(np.mean((found - wanted) ** 2)) / wanted.std())


@pytest.fixture(scope="module")
def layer():
    """Return weights, and the second moment of correlated inputs that they meet."""
    random = np.random.RandomState(0)
    x = random.normal(size=(2000, 12)) @ random.normal(size=(12, 48))
    x += 0.2 * random.normal(size=x.shape)
    return random.standard_t(4, size=(48, 20)), x.T @ x / len(x)


# --- the float network --------------------------------------------------------------------------

@pytest.mark.parametrize("techniques", [*((name,) for name in EQUALIZATIONS), EQUALIZATIONS])
def test_equalization_leaves_the_float_function_unchanged(model, pixels, techniques):
    before = model.digest
    equal = calibrate(model, pixels, Scheme(techniques=techniques)).model
    assert equal.digest != before == model.digest
    wanted, found = (FloatGraph(m).run(pixels) for m in (model, equal))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5 * float(wanted.abs().max()))


def test_equalization_takes_outliers_and_offsets_away(model, pixels):
    def spread(scheme, name) -> float:
        """Return the largest magnitude over the median channel's largest."""
        seen = {}
        FloatGraph(calibrate(model, pixels, scheme).model).run(
            pixels, lambda value, x: seen.__setitem__(value, x))
        largest = seen[name].flatten(0, -2).abs().amax(dim=0)
        return float(largest.max() / largest.median())

    for name, technique in (("blocks.0.norm1", "layernorm_fold"), ("norm", "layernorm_fold"),
                            ("blocks.1.attn.q", "attention_fold")):
        assert spread(Scheme(techniques=(technique,)), name) < 0.5 * spread(Scheme.plain(), name)


def test_all_is_folded_where_weights_have_bits_to_spare_and_less_where_they_have_not():
    reach = np.array([50.0, 1, 1, 1, 1])
    weight = np.ones((5, 3))
    wide = fold_factors(reach, reach**2 / 9, weight, 16, 8)
    narrow = fold_factors(reach, reach**2 / 9, weight, 3, 8)
    np.testing.assert_allclose(wide, reach)
    assert narrow[0] < wide[0]
    np.testing.assert_array_equal(fold_factors(np.zeros(3), np.zeros(3), weight[:3], 8, 8), 1)


# --- weights ------------------------------------------------------------------------------------

def test_gptq_is_never_worse_than_rounding_to_nearest_and_mostly_far_better(layer):
    weight, moment = layer
    scales = np.abs(weight).max(axis=0) / S4.hi
    errors = [output_error(codes * scales - weight, moment)
              for codes in (gptq(weight, scales, moment, S4), to_nearest(weight, scales, S4))]
    assert (errors[0] <= errors[1]).all()
    assert errors[0].sum() < 0.2 * errors[1].sum()


def test_gptq_codes_fit_and_repeat(layer):
    weight, moment = layer
    scales = np.abs(weight).max(axis=0) / S4.hi / 2
    codes = gptq(weight, scales, moment, S4)
    assert codes.min() == -7 and codes.max() == 7
    np.testing.assert_array_equal(codes, gptq(weight, scales, moment, S4))
    np.testing.assert_array_equal(gptq(weight, scales, np.zeros_like(moment), S4),
                                  to_nearest(weight, scales, S4))


def test_output_error_is_that_of_the_output(layer):
    weight, _ = layer
    random = np.random.RandomState(1)
    x, difference = random.normal(size=(100, 48)), 0.1 * weight
    np.testing.assert_allclose(output_error(difference, x.T @ x / 100),
                               np.square(x @ difference).mean(axis=0))


def test_searched_scales_are_not_worse_than_the_largest_weights(layer):
    weight, moment = layer
    scales = np.abs(weight).max(axis=0) / S4.hi

    def error(scales):
        return output_error(to_nearest(weight, scales, S4) * scales - weight, moment)

    found = least_error_scales(weight, scales, moment, lambda w, s: to_nearest(w, s, S4))
    assert (found <= scales).all() and (error(found) <= error(scales)).all()
    assert error(found).sum() < 0.9 * error(scales).sum()


# --- activations and biases ---------------------------------------------------------------------

def test_range_of_a_gelu_input_is_that_of_what_gelu_tells_apart():
    x = torch.cat([torch.linspace(-40, 4, 1000), torch.linspace(-2, 2, 9000)])
    gelu = torch.nn.functional.gelu
    errors = [float((gelu(rounded(x, limit, 31)) - gelu(x)).square().sum())
              for limit in (4.0, 40.0)]
    assert errors[0] < 0.1 * errors[1]


def test_searched_ranges_disturb_the_next_layer_less_than_observed_ones(model, pixels):
    pixels, scheme = pixels[:16], Scheme(precision=Precision(8, 5), edges=Precision(8, 5),
                                         techniques=("activation_search",))
    searched, observed = (calibrate(model, pixels, s) for s in (
        scheme, Scheme(precision=scheme.precision, edges=scheme.edges, techniques=())))
    seen = {}
    graph = FloatGraph(model)
    graph.run(pixels, seen.__setitem__)
    ratios = []
    for name in ("blocks.0.norm1", "blocks.0.mlp.gelu", "blocks.1.norm2", "norm"):
        reader = next(op for op in graph.graph.of(Linear) if op.inputs == (name,))
        weight = reader.parameters()[0].detach()
        errors = [float(((rounded(seen[name], 15 * float(c.scale(name)), 15) - seen[name])
                         @ weight.T).square().mean()) for c in (searched, observed)]
        ratios.append(errors[0] / errors[1])
    assert max(ratios) < 1.05 and min(ratios) < 0.8


def test_range_by_logits_is_the_one_at_which_the_logits_err_least(model, pixels):
    """Of what the head reads the first order is exact: its range can be tried one by one."""
    scheme = Scheme(edges=Precision(8, 4), techniques=("logit_search",))
    limit = calibrate(model, pixels, scheme).limits["norm"]
    graph, seen = FloatGraph(model), {}
    graph.run(pixels, seen.__setitem__)
    head = model.module.head.weight.detach()
    largest = float(seen["norm"].abs().max())
    errors = [float(((rounded(x, largest * share, 7) - x) @ head.T).square().sum())
              for x in [seen["norm"][:, 0]] for share in SHARES]
    assert limit == pytest.approx(largest * SHARES[int(np.argmin(errors))], rel=1e-6)


def test_channels_of_gelu_fill_their_codes_and_come_closer_to_its_values(model, pixels):
    def run(techniques):
        """Return the GELU layers, and of each the operand's codes and its error by channel."""
        calibration = calibrate(model, pixels, Scheme(observer="minmax", techniques=techniques))
        network = export(calibration, resolve_methods(calibration.model, {}, {}))
        wanted, seen = {}, {}
        FloatGraph(calibration.model).run(pixels, wanted.__setitem__)
        Executor(network).run(pixels, lambda node, inputs, output: seen.setdefault(
            node.name, []).append(output))
        layers = [one for one in layers_of(calibration.model) if one.operator == "gelu"]
        found = []
        for layer in layers:
            name = operand_nodes(network, layer.name)[-1].name
            codes = np.concatenate(seen[name])
            real = network.values[name].real(codes) + deferred(layer, network)
            error = np.square(real - wanted[layer.name].numpy()).mean(axis=(0, 1))
            found.append((codes.reshape(-1, codes.shape[-1]), error))
        return found

    for (codes, error), (_, coarse) in zip(run(("gelu_fold",)), run(()), strict=True):
        # The channel that sets the step has its range from one end of the codes to the other.
        assert codes.max() > 115 and codes.min() < -115
        assert np.median(error / coarse) < 0.5


def test_units_that_give_the_operand_themselves_keep_one_scale(model, pixels):
    network = network_of(model, pixels, techniques=("gelu_fold",), gelu="gelu_lut")
    assert len(network.values["blocks.0.mlp.gelu"].scale) == 1
    np.testing.assert_array_equal(
        network.operands["blocks.0.mlp.fc2.weight"],
        network_of(model, pixels, techniques=(), gelu="gelu_lut")
        .operands["blocks.0.mlp.fc2.weight"])


def test_moment_of_channel_codes_is_that_of_what_the_weights_meet():
    random = np.random.RandomState(0)
    x = random.normal(size=(50, 4)) * [1, 3, 0.5, 2] + [0, 1, 2, -1]
    codes = ChannelCodes(mean=x.mean(axis=0), center=np.array([0.0, 1.5, 2, -3]),
                         scales=np.array([0.1, 0.4, 0.05, 0.2]))
    y = (x - codes.center) / codes.scales * codes.scales.max()
    np.testing.assert_allclose(codes.moment(x.T @ x / 50), y.T @ y / 50)


def test_bias_correction_takes_the_mean_error_of_every_layer_away(model, pixels):
    def mean_errors(techniques) -> np.ndarray:
        calibration = calibrate(model, pixels, Scheme(
            precision=Precision(3, 8), techniques=techniques))
        network = export(calibration, resolve_methods(calibration.model, {}, {}))
        found = {}

        def observe(node, inputs, output):
            if node.op == "requantize" and node.inputs[0] in calibration.means:
                real = network.values[node.name].real(output)
                found.setdefault(node.inputs[0], []).append(real.reshape(-1, real.shape[-1]))

        Executor(network).run(pixels, observe)
        errors = [np.concatenate(rows).mean(axis=0) - calibration.means[name]
                  for name, rows in found.items() if name.endswith(("fc2", "proj", "head"))]
        return np.array([np.sqrt(np.mean(e**2)) for e in errors])

    assert (mean_errors(("bias_correction",)) < 0.1 * mean_errors(())).all()


# --- networks -----------------------------------------------------------------------------------

@pytest.mark.parametrize("precision", ["w8a8", "w4a8", "w6a6"])
def test_default_techniques_beat_none(model, pixels, precision):
    plain, ours = (logit_error(model, network_of(model, pixels, precision, techniques), pixels)
                   for techniques in ((), None))
    assert ours < 0.9 * plain


@pytest.mark.parametrize("gelu", ["gelu_pwl", "gelu_lut"])
def test_formats_are_those_of_the_precision(model, pixels, gelu):
    network = network_of(model, pixels, "w4a6", gelu=gelu)
    formats = {name: str(value.format) for name, value in network.values.items()}
    assert formats["patch_embed.weight"] == formats["head.weight"] == "s8"
    assert formats["norm.requantize"] == "s8"
    inner = {name: fmt for name, fmt in formats.items() if name.startswith("blocks.")}
    assert {fmt for name, fmt in inner.items() if name.endswith(".weight")} == {"s4"}
    for node in network.nodes:
        if node.op == "matmul" and node.name.startswith("blocks."):
            assert formats[node.inputs[0]] == "s6", node.name
        if node.op.startswith(("softmax", "gelu")):
            assert formats[node.inputs[0]] == "s6" and node.spec.in_width == 6
    for name, array in network.operands.items():
        if formats[name] == "s4":
            assert -7 <= array.min() and array.max() <= 7


@pytest.mark.parametrize("precision", PRECISIONS)
def test_fast_paths_equal_the_golden_functions(model, pixels, precision):
    network = network_of(model, pixels, precision)
    np.testing.assert_array_equal(Executor(network).run(pixels[:4]),
                                  Executor(network, plain=True).run(pixels[:4]))


def test_all_techniques_together_give_the_same_network_again(model, pixels):
    first, again = (network_of(model, pixels[:8], "w6a6", tuple(TECHNIQUES)).digest
                    for _ in range(2))
    assert first == again != network_of(model, pixels[:8], "w6a6").digest


def test_stream_takes_larger_steps_where_few_bits_make_those_of_a_layer_larger(model, pixels):
    coarse = copy.deepcopy(model.module)
    with torch.no_grad():
        coarse.blocks[0].mlp.fc2.weight[:, 0] *= 40
    coarse = dataclasses.replace(model, module=coarse)
    fine, large = (network_of(coarse, pixels, precision, ()).values["blocks.0.mlp.add"].scale[0]
                   for precision in ("w8a8", "w4a6"))
    assert large > 2 * fine


def test_progress_comes_to_the_stated_work(model, pixels):
    for scheme in (Scheme.plain(), Scheme()):
        done = []
        calibrate(model, pixels, scheme, done.append)
        assert sum(done) == calibration_work(scheme, len(pixels))


# --- names and commands -------------------------------------------------------------------------

def test_names_of_precisions_and_techniques():
    assert parse_precision("W4A8") == Precision(4, 8) and W8A8.name == "w8a8"
    assert parse_techniques("none") == () and parse_techniques("default") is None
    assert "gptq" in default_techniques(Precision(4, 8)) and "gptq" not in Scheme().techniques
    assert parse_techniques("gptq,zero_points,gptq") == ("zero_points", "gptq")
    scheme = Scheme(precision=Precision(4, 8), techniques=("gptq",), observer="mse")
    assert Scheme.of_provenance(json.loads(json.dumps(scheme.provenance))) == scheme


@pytest.mark.parametrize("call, message", [
    (lambda: parse_precision("int8"), "^precision must be w8a8, w6a6, w4a8 or .*, not 'int8'$"),
    (lambda: parse_precision("w9a8"), r"^weights must have 2\.\.8 bits, not 9$"),
    (lambda: parse_precision("w8a3"), r"^activations must have 4\.\.8 bits, not 3$"),
    (lambda: parse_techniques("gptq,magic"), "^technique must be .*, or none or .*, not 'magic'$"),
    (lambda: check_techniques(["none"]), "not 'none'$"),
    (lambda: Scheme(observer="guess"), "^observer must be one of minmax, percentile, mse, not"),
    (lambda: Scheme.of_provenance({"precision": "w8a8"}), "provenance must have 'edges': quantize"),
])
def test_unknown_names_are_refused(call, message):
    with pytest.raises(UserError, match=message):
        call()


def test_ablation_adds_and_removes_each_technique():
    names = [one.name for one in variants([W8A8], W8A8, "percentile")]
    assert names[0] == "none" and "default" in names and len(names) == 2 + 2 * len(TECHNIQUES)
    schemes = {one.name: one.scheme.techniques for one in variants([W8A8], W8A8, "percentile")}
    for name in TECHNIQUES:
        assert schemes[f"none + {name}"] == (name,)
        changed, = (set(schemes[other]) ^ set(Scheme().techniques) for other in schemes
                    if other in (f"default - {name}", f"default + {name}"))
        assert changed == {name}


def test_some_variants_are_chosen_by_their_names():
    found = variants([W8A8, Precision(6, 6)], W8A8, "percentile")
    some = chosen(found, ["default", "none"])
    assert [(one.name, one.scheme.precision.name) for one in some] == [
        ("none", "w8a8"), ("default", "w8a8"), ("none", "w6a6"), ("default", "w6a6")]
    with pytest.raises(UserError, match="^variant must be one of none, .*, not 'all'$"):
        chosen(found, ["none", "all"])


def test_commands_refuse_what_they_do_not_know(capsys, tmp_path):
    out = tmp_path / "out"
    for command, arguments, message in [
            ("quantize", ["--precision", "w4"], "precision must be"),
            ("quantize", ["--ptq", "adaround"], "technique must be one of"),
            ("quantize", ["--edges", "w1a8"], "weights must have 2..8 bits, not 1"),
            ("search", ["--ptq", "adaround"], "technique must be one of"),
            ("ablate", ["--precision", "w8a8,w4"], "precision must be"),
            ("ablate", ["--variants", "whole"], "variant must be one of none, none + zero_points"),
            ("ablate", ["--test", "0"], "test images must be 1..540"),
            ("ablate", ["--observer", "guess"], "observer must be one of")]:
        assert main([command, *arguments, "--out", str(out)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and message in error
    assert not out.exists()


def test_command_writes_what_it_prints(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("vitrtl.sw.ptq.ablation.TECHNIQUES", {"layernorm_fold": ""})
    monkeypatch.setattr("vitrtl.sw.ptq.ablation.default_techniques",
                        lambda precision: ("layernorm_fold",))
    arguments = ["ablate", "--precision", "w4a8", "--images", "8", "--test", "20",
                 "--out", str(tmp_path)]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    head = json.loads((tmp_path / "ablation.json").read_text())
    rows = list(csv.DictReader((tmp_path / "ablation.csv").read_text().splitlines()))
    assert [row["variant"] for row in rows] == [r["variant"] for r in head["records"]] == [
        "none", "none + layernorm_fold", "default", "default - layernorm_fold"]
    assert head["test_images"] == 20 and len(head["calibration_images"]) == 8
    for row in rows:
        assert row["variant"] in printed
        assert f"{float(row['logit_error']):.2%}" in printed
    assert rows[0]["network_digest"] == rows[3]["network_digest"]
    assert rows[1]["network_digest"] == rows[2]["network_digest"] != rows[0]["network_digest"]
