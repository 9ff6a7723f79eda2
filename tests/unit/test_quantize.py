"""Export: what the integer network computes, and what it refuses."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from timm.models.vision_transformer import VisionTransformer

from vitrtl.sw import assignment
from vitrtl.sw.candidate import candidates_of
from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.cli import main
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.ptq.architectures.families import check_structure
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.float_graph import FloatGraph, layers_of
from vitrtl.sw.ptq.models import FloatModel, build
from vitrtl.sw.ptq.observers import OBSERVERS, MagnitudeHistogram, round_scale
from vitrtl.sw.ptq.quantize import DEFAULT_METHODS, export, quantize, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.shipped import SHIPPED

SINGLE_METHODS = [(operator, one.name) for operator in OPERATORS
                  for one in candidates_of(operator)]


@pytest.fixture(scope="module")
def float_logits(float_model, digits):
    return FloatGraph(float_model).run(digits.pixels[digits.test]).numpy()


def small_model(**changes) -> FloatModel:
    """Return an untrained colour network with what the default one does not have."""
    torch.manual_seed(1)
    module = VisionTransformer(img_size=8, patch_size=4, in_chans=3, num_classes=5, embed_dim=24,
                               depth=2, num_heads=2, init_values=0.5, qkv_bias=False, **changes)
    for name, parameter in module.named_parameters():
        if "norm" in name:
            torch.nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.2)
    return FloatModel(name="small", module=module.eval(), mean=(0.4, 0.5, 0.6),
                      std=(0.2, 0.25, 0.3), weights="random")


@pytest.fixture
def colours():
    return np.random.default_rng(0).integers(0, 256, (24, 3, 8, 8)).astype(np.uint8)


def exported(model, pixels, observer="minmax"):
    """Return the integer network of a float one."""
    return export(calibrate(model, pixels, Scheme.plain(observer)), resolve_methods(model, {}, {}))


def relative_error(model, network, pixels):
    """Return the error of the integer logits over the spread of the float ones."""
    wanted = FloatGraph(model).run(pixels).numpy()
    logits = network.values[network.output].real(Executor(network).run(pixels))
    return np.sqrt(np.mean((logits - wanted) ** 2)) / wanted.std()


@pytest.mark.parametrize("operator, name", SINGLE_METHODS)
def test_every_single_method_network_is_as_accurate_as_the_float_one(
        operator, name, float_model, calibration, digits, float_logits):
    methods = resolve_methods(float_model, {operator: name}, {})
    network = export(calibration, methods)
    labels = digits.labels[digits.test]
    predicted = Executor(network).run(digits.pixels[digits.test]).argmax(axis=-1)
    expected = (float_logits.argmax(axis=-1) == labels).mean()
    assert (predicted == labels).mean() >= expected - 0.005


def test_integer_logits_stand_for_the_float_ones(network, digits, float_logits):
    codes = Executor(network).run(digits.pixels[digits.test[:64]])
    error = network.values[network.output].real(codes) - float_logits[:64]
    assert np.sqrt(np.mean(error ** 2)) < 0.05 * float_logits.std()


def test_no_float_between_image_and_logits(network, digits):
    for name, array in network.tensors.items():
        assert array.dtype.kind in "iu", name
    for node in network.nodes:
        assert all(isinstance(v, int) for v in node.attributes.values()), node.name
        if node.spec is not None:
            assert all(isinstance(v, (int, str)) for v in node.spec.asdict().values()), node.name
    kinds = set()

    def observe(node, inputs, output):
        kinds.update(array.dtype.kind for array in [*inputs, output])

    logits = Executor(network, plain=True).run(digits.pixels[:2], observe)
    assert kinds <= {"i", "u"} and logits.dtype.kind == "i"


def test_formats_are_the_stated_ones(network):
    formats = {name: str(value.format) for name, value in network.values.items()}
    assert formats["image"] == "u8" and formats["patchify"] == "s8"
    assert {formats[f"blocks.{i}.{part}.add"] for i in range(4) for part in ("attn", "mlp")} == {
        "s16"}
    assert {fmt for name, fmt in formats.items() if name.endswith(".weight")} == {"s8"}
    assert {fmt for name, fmt in formats.items() if name.endswith("attn.scores")} == {"s32"}
    assert {fmt for name, fmt in formats.items() if name.endswith("softmax.requantize")} == {"s8"}
    stream = {network.values[name].scale for name in formats if name.endswith(".add")}
    assert len(stream) == 1 and network.values["embed"].scale in stream


def test_same_seed_gives_the_same_network(float_model, digits):
    first, again, other = (quantize(float_model, digits, count=8, seed=seed).digest
                           for seed in (0, 0, 1))
    assert first == again != other


def test_methods_are_per_operator_and_per_layer(float_model, calibration):
    methods = resolve_methods(float_model, {"gelu": "gelu_ierf"},
                              {"blocks.2.attn.softmax": "softmax_iexp"})
    network = export(calibration, methods)
    assert network.methods == methods
    assert methods["blocks.2.attn.softmax"] == "softmax_iexp"
    assert methods["blocks.1.attn.softmax"] == DEFAULT_METHODS["softmax"]
    assert {methods[f"blocks.{i}.mlp.gelu"] for i in range(4)} == {"gelu_ierf"}
    assert len(methods) == 17


def test_float_graph_computes_what_timm_computes(float_model, digits):
    pixels = digits.pixels[digits.test[:40]]
    with torch.inference_mode():
        wanted = float_model.module(float_model.normalize(torch.from_numpy(pixels)))
    torch.testing.assert_close(FloatGraph(float_model).run(pixels), wanted, rtol=1e-4, atol=1e-4)


def test_float_values_have_the_names_and_shapes_of_the_integer_ones(float_model, network, digits):
    def observe(name, value):
        assert tuple(value.shape[1:]) == network.values[name].shape, name

    FloatGraph(float_model).run(digits.pixels[:2], observe)


def test_layer_values_are_those_of_each_layer(float_model, digits):
    found = list(FloatGraph(float_model).layer_values(digits.pixels[:3]))
    assert [layer for layer, _, _ in found] == layers_of(float_model)
    for layer, given, result in found:
        if layer.operator == "softmax":
            torch.testing.assert_close(given.softmax(-1), result)
        elif layer.operator == "layernorm":
            torch.testing.assert_close(
                torch.nn.functional.layer_norm(given, given.shape[-1:], torch.tensor(layer.gamma),
                                               torch.tensor(layer.beta), 1e-6), result)


def test_colour_network_with_layer_scale_and_no_qkv_bias(colours):
    model = small_model()
    assert relative_error(model, exported(model, colours), colours) < 0.06


def test_layernorm_channel_without_gain_keeps_its_offset(colours):
    model = small_model()
    with torch.no_grad():
        for block in model.module.blocks:
            block.norm1.weight[0], block.norm1.bias[0] = 0.0, 1.5
            block.norm2.weight[3], block.norm2.bias[3] = 1e-4, -0.7
            block.norm2.weight[4], block.norm2.bias[4] = 0.0, 0.0
    assert relative_error(model, exported(model, colours), colours) < 0.06


def test_output_channel_without_weights_keeps_its_bias(colours):
    model = small_model()
    with torch.no_grad():
        model.module.blocks[0].mlp.fc1.weight[2] = 0.0
        model.module.blocks[0].mlp.fc1.bias[2] = 0.8
        model.module.head.weight[1] = 0.0
    assert relative_error(model, exported(model, colours), colours) < 0.06


@pytest.mark.parametrize("observer", OBSERVERS)
def test_observers_do_not_depend_on_the_batches(observer):
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(0))
    whole, pieces = MagnitudeHistogram(), MagnitudeHistogram()
    whole.update(values)
    for piece in values.sort().values.split(1000):
        pieces.update(piece)
    limits = [OBSERVERS[observer](h, 127) for h in (whole, pieces)]
    assert limits[0] == pytest.approx(limits[1], rel=1e-3)
    assert 2 < limits[0] <= float(values.abs().max())


def test_percentile_leaves_out_the_rarest():
    histogram = MagnitudeHistogram()
    histogram.update(torch.cat([torch.linspace(0, 1, 99_999), torch.tensor([50.0])]))
    assert OBSERVERS["minmax"](histogram, 127) == 50.0
    assert OBSERVERS["percentile"](histogram, 127) == pytest.approx(1.0, abs=0.02)


def test_scales_are_short_and_never_too_small():
    for scale in (1e-9, 0.037, 1 / 3, 1.0, 977.7):
        rounded = round_scale(scale)
        assert 1 <= rounded / Fraction(scale) <= 1 + Fraction(1, 2048)
        assert rounded.numerator < 1 << 12 or rounded.denominator == 1


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_scale_of_zero_is_refused(scale):
    with pytest.raises(UserError, match=rf"^scale must be a finite positive number, not {scale}$"):
        round_scale(scale)


def test_value_that_is_always_zero_is_refused(colours):
    model = small_model()
    with torch.no_grad():
        model.module.blocks[1].mlp.fc1.weight.zero_()
        model.module.blocks[1].mlp.fc1.bias.zero_()
    with pytest.raises(UserError, match=r"^calibration of blocks\.1\.mlp\.gelu: scale must be a "
                                        r"finite positive number, not 0\.0$"):
        exported(model, colours)


def test_network_that_computes_more_is_refused(colours):
    model = small_model()
    model.module.head_drop.register_forward_hook(lambda module, inputs, output: output + 1)
    with pytest.raises(UserError, match="^small computes more than its architecture says"):
        calibrate(model, colours, Scheme.plain("minmax"))


@pytest.mark.parametrize("name, message", [
    ("resnet18", "^model must be one of timm's VisionTransformer, .*, but resnet18 is a ResNet$"),
    ("vit_none", r"^model must be digits_vit.* or a name of timm\.list_models\(\)"),
])
def test_unsupported_models_are_refused(name, message, tmp_path):
    with pytest.raises(UserError, match=message):
        build(name, checkpoint=tmp_path / "weights.safetensors")


@pytest.mark.parametrize("changes, message", [
    ({"global_pool": "avg"}, "pooling 'avg' with 1 prefix tokens"),
    ({"reg_tokens": 2}, "pooling 'token' with 3 prefix tokens"),
    ({"pre_norm": True}, r"norm_pre \(LayerNorm\)"),
    ({"qk_norm": True}, r"blocks\.0\.attn\.q_norm \(LayerNorm\)"),
    ({"no_embed_class": True}, "a position embedding other than"),
    ({"act_layer": "relu"}, r"blocks\.0\.mlp\.act ReLU.* \(only GELU\)"),
])
def test_unsupported_structure_is_named(changes, message):
    with pytest.raises(UserError, match=f"^small has {message}"):
        check_structure("small", small_model(**changes).module)


@pytest.fixture
def damaged(tmp_path):
    """Write weights of the default network after a change; return the path."""
    def write(change):
        state = load_file(SHIPPED["digits_vit"].weights)
        change(state)
        save_file(state, tmp_path / "weights.safetensors")
        return tmp_path / "weights.safetensors"

    return write


def nan(state):
    state["head.bias"][3] = float("nan")


def test_weights_that_do_not_fit_are_refused(damaged):
    with pytest.raises(UserError, match="^weights must be finite numbers, but head.bias of "
                                        "digits_vit is not$"):
        build(checkpoint=damaged(nan))
    with pytest.raises(UserError, match=r"lacks the tensor head\.bias \(1 missing in all\)$"):
        build(checkpoint=damaged(lambda state: state.pop("head.bias")))
    with pytest.raises(UserError, match=r"has a tensor more that the network does not know \(1 "):
        build(checkpoint=damaged(lambda state: state.update(more=torch.zeros(1))))
    with pytest.raises(UserError, match=r"^head\.bias of .* must have shape \(10,\), not \(3,\)$"):
        build(checkpoint=damaged(lambda state: state.update({"head.bias": torch.zeros(3)})))


def test_checkpoint_that_is_no_safetensors_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"not weights")
    with pytest.raises(UserError, match="is not a safetensors file"):
        build(checkpoint=path)
    with pytest.raises(UserError, match="^there is no file"):
        build(checkpoint=tmp_path / "nothing")


def test_images_of_another_shape_are_refused(float_model, digits):
    with pytest.raises(UserError, match=r"^images of digits_vit must have shape \(1, 16, 16\), not "
                                        r"\(1, 16, 8\)$"):
        calibrate(float_model, digits.pixels[:2, :, :, :8], Scheme.plain("minmax"))


def refused(capsys, *arguments):
    """Run a command that must fail; return the one line it printed."""
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_wrong_arguments_are_one_line_and_leave_nothing(capsys, tmp_path, damaged):
    out = tmp_path / "out"
    assignments = tmp_path / "assignment.json"

    def of(*arguments):
        return refused(capsys, "quantize", *arguments, "--out", str(out))

    assert of("no_such_vit") == (f"vitrtl quantize: model must be {', '.join(SHIPPED)} or a name "
                                 "of timm.list_models(), not 'no_such_vit'\n")
    assert of("--softmax", "magic") == (
        "vitrtl quantize: softmax method must be one of "
        f"{', '.join(one.method for one in candidates_of('softmax', software=True))}, not "
        "'magic'\n")
    assert "weights must be finite" in of("--checkpoint", str(damaged(nan)))
    assert "calibration images must be 1..1257" in of("--images", "0")
    assert "observer must be one of minmax, percentile, mse" in of("--observer", "guess")
    assert "there is no file" in of("--assignment", str(assignments))
    for layers, message in [
            ({"blocks.9.norm1": "layernorm_newton"}, "layer must be one of"),
            ({"blocks.0.norm1": "gelu_ierf"}, "unit of blocks.0.norm1 must be one of"),
            ({"blocks.0.norm1": "magic"}, "unit of blocks.0.norm1 in")]:
        assignment.save(assignment.Assignment("digits_vit", layers), assignments)
        assert message in of("--assignment", str(assignments))
    assignment.save(assignment.Assignment("other", {}), assignments)
    assert "must be for digits_vit, not other" in of("--assignment", str(assignments))
    assert not out.exists()


def test_commands_quantize_and_evaluate(capsys, tmp_path, network):
    chosen = assignment.Assignment("digits_vit", {"blocks.0.attn.softmax": "softmax_iexp"})
    path, out = tmp_path / "assignment.json", tmp_path / "out"
    assignment.save(chosen, path)
    assert assignment.load(path) == chosen
    assert main(["quantize", "--assignment", str(path), "--gelu", "ierf", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "softmax_iexp" in printed and "gelu_ierf" in printed
    assert main(["eval", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "integer accuracy" in printed and "same class as float" in printed
    assert "there is no file" in refused(capsys, "eval", str(tmp_path / "nothing"))
