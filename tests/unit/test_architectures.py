"""Architectures: each description computes what timm does, and its integer network follows it."""

import dataclasses

import numpy as np
import pytest
import timm
import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer, window_partition
from timm.models.vision_transformer import VisionTransformer

from vitrtl.sw.candidate import candidates_of
from vitrtl.sw.capture import record, write_vectors
from vitrtl.sw.catalog import OPERATORS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.fast.paths import STRUCTURAL
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.architectures.families import check_structure, describe
from vitrtl.sw.ptq.architectures.operations import Mask
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.float_graph import FloatGraph, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.proxies import random_choices
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.structure import MOVES, OPERATIONS
from vitrtl.sw.vectors import load

TIMM_NAMES = ["vit_small_patch16_224", "vit_base_patch16_224", "deit_tiny_patch16_224",
              "deit_small_patch16_224", "deit_base_patch16_224", "deit_tiny_distilled_patch16_224",
              "swin_tiny_patch4_window7_224", "swin_small_patch4_window7_224"]

SWIN = {"patch_size": 2, "embed_dim": 12, "depths": (2, 2), "num_heads": (2, 3), "num_classes": 5}
TINY = {
    "vit": lambda: VisionTransformer(img_size=8, patch_size=4, embed_dim=24, depth=2, num_heads=2,
                                     num_classes=5),
    "distilled": lambda: VisionTransformerDistilled(img_size=8, patch_size=4, embed_dim=24,
                                                    depth=2, num_heads=2, num_classes=5),
    "swin": lambda: SwinTransformer(img_size=16, window_size=4, **SWIN),
    # Neither the windows nor the squares of patches divide its grids of 9 x 7 and 5 x 4.
    "swin, padded": lambda: SwinTransformer(img_size=(18, 14), window_size=3, **SWIN),
}
LARGEST_ERROR = 0.1
"""Of the integer logits, over the deviation of the float ones; sharp random attention."""


def tiny(name: str) -> FloatModel:
    """Return a small network of an architecture, with random weights that make it say something."""
    module = TINY[name]()
    torch.manual_seed(0)
    with torch.no_grad():
        for key, parameter in module.named_parameters():
            gain = 1.0 if "table" in key else 1.2 / parameter.shape[-1] ** 0.5
            torch.nn.init.normal_(parameter, 0.0, gain if parameter.ndim > 1 else 0.2)
            if "norm" in key and key.endswith("weight"):
                parameter += 1.0
    return FloatModel(name=name, module=module.eval(), mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3),
                      weights="random")


def images_for(model: FloatModel, count: int = 12) -> np.ndarray:
    shape = (count, *model.input_shape)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def exported(model, pixels, layernorm="layernorm_rsqrt"):
    methods = resolve_methods(model, {"layernorm": layernorm}, {})
    return export(calibrate(model, pixels, Scheme.plain("minmax")), methods)


def relative_error(model, network, pixels):
    wanted = FloatGraph(model).run(pixels).numpy()
    logits = network.values[network.output].real(Executor(network).run(pixels))
    return np.sqrt(np.mean((logits - wanted) ** 2)) / wanted.std()


@pytest.fixture(scope="module", params=TINY)
def made(request):
    """Give a float network, images and the integer network."""
    model = tiny(request.param)
    pixels = images_for(model)
    return model, pixels, exported(model, pixels)


def test_a_description_computes_what_timm_computes(made):
    model, pixels, _ = made
    with torch.inference_mode():
        wanted = model.module(model.normalize(torch.from_numpy(pixels)))
    torch.testing.assert_close(FloatGraph(model).run(pixels), wanted, rtol=1e-4, atol=1e-5)


def test_the_integer_network_follows_the_float_one(made):
    model, pixels, network = made
    assert relative_error(model, network, pixels) < LARGEST_ERROR


def test_every_path_gives_the_same_integers(made):
    _, pixels, network = made
    kinds = set()

    def observe(node, inputs, output):
        kinds.update(array.dtype.kind for array in [*inputs, output])

    plain = Executor(network, plain=True).run(pixels[:3], observe)
    np.testing.assert_array_equal(plain, Executor(network).run(pixels[:3]))
    assert kinds <= {"i", "u"}
    assert all(array.dtype.kind in "iu" for array in network.tensors.values())


def test_float_values_have_the_shapes_that_the_description_and_the_integers_have(made):
    model, pixels, network = made
    shapes = describe(model.module).shapes(model.input_shape)

    def observe(name, value):
        assert tuple(value.shape[1:]) == network.values[name].shape == shapes[name], name

    FloatGraph(model).run(pixels[:2], observe)


def test_networks_of_one_calibration_do_not_depend_on_those_made_before(made):
    model, pixels, _ = made
    calibration = calibrate(model, pixels, Scheme())
    names = {operator: [one.name for one in candidates_of(operator)] for operator in OPERATORS}
    layers = {layer.name: layer.operator for layer in layers_of(model)}

    def outcome(calibration, methods):
        try:
            return export(calibration, methods).digest
        except UserError as error:
            return str(error)

    outcomes = [(outcome(calibration, methods), outcome(dataclasses.replace(calibration), methods))
                for methods in random_choices(names, layers, 8)]
    assert all(kept == anew for kept, anew in outcomes)
    assert len(set(outcomes)) == 8


@pytest.mark.parametrize("name", ["matmul", "softmax_exp2"])
def test_units_get_vectors_from_windows(name, tmp_path):
    model = tiny("swin")
    pixels = images_for(model)
    network = exported(model, pixels)
    (spec, *_) = network.units[name]
    activations = record(network, pixels[:1])
    vectors = load(write_vectors(tmp_path, unit(name), spec, activations))
    nodes = [node for node in network.nodes if node.op == name and node.spec == spec]
    from_network = vectors.of_kind("network")
    assert {case.name.split()[0] for case in from_network} == {node.name for node in nodes}


@pytest.mark.parametrize("name", TIMM_NAMES)
def test_networks_of_timm_are_described(name):
    with torch.device("meta"):
        module = timm.create_model(name)
    check_structure(name, module)
    assert describe(module).shapes((3, 224, 224))["head"] == (1, 1000)


@pytest.mark.parametrize("changes, message", [
    ({"global_pool": "max"}, r"pooling 'max' \(only 'avg'\)"),
    ({"strict_img_size": False}, "an input size that may change"),
    ({"num_classes": 0}, "no linear classifier head"),
    ({"norm_layer": timm.layers.RmsNorm}, r"patch_embed\.norm \(RmsNorm, only LayerNorm"),
])
def test_what_a_swin_transformer_may_not_have_is_named(changes, message):
    module = SwinTransformer(**{"img_size": 16, "window_size": 4, **SWIN, **changes})
    with pytest.raises(UserError, match=f"^small has {message}"):
        check_structure("small", module)


def test_a_class_without_a_description_is_refused():
    with pytest.raises(UserError, match=r"^model must be one of timm's VisionTransformer, "
                                        r"VisionTransformerDistilled, SwinTransformer, but small "
                                        r"is a Linear$"):
        check_structure("small", torch.nn.Linear(1, 1))


@pytest.mark.parametrize("sharpness", [1.0, 0.01])
def test_forbidden_scores_weigh_nothing(sharpness):
    model = tiny("swin")
    with torch.no_grad():
        for parameter in model.module.parameters():
            if parameter.ndim == 2 and len(parameter) == 3 * parameter.shape[1]:
                parameter *= sharpness
    pixels = images_for(model)
    network = exported(model, pixels)
    masks = {operation.name: operation.allowed.numpy()[:, np.newaxis]
             for operation in describe(model.module).of(Mask)}
    weights = {}

    def observe(node, inputs, output):
        if node.name.endswith("softmax.requantize"):
            weights[node.name.replace("softmax.requantize", "mask")] = output

    Executor(network).run(pixels, observe)
    assert len(masks) == 1
    for name, allowed in masks.items():
        forbidden = np.broadcast_to(~allowed, weights[name].shape)
        assert not weights[name][forbidden].any() and weights[name][~forbidden].any()


@pytest.mark.parametrize("layernorm", ["layernorm_rsqrt", "layernorm_ptf"])
@pytest.mark.parametrize("name", ["distilled", "swin", "swin, padded"])
def test_channels_that_a_norm_cannot_offset_are_offset_later(name, layernorm):
    model = tiny(name)
    with torch.no_grad():
        for part in model.module.modules():
            if isinstance(part, torch.nn.LayerNorm):
                part.weight[2], part.bias[2] = 0.0, 1.5
                part.weight[3], part.bias[3] = 1e-4, -0.7
    pixels = images_for(model)
    assert relative_error(model, exported(model, pixels, layernorm), pixels) < LARGEST_ERROR


MOVED = [
    ("heads", (3, 8, 12), {"heads": 2, "parts": 3, "part": 1}, (3, 2, 8, 2)),
    ("merge", (3, 2, 8, 4), {}, (3, 8, 8)),
    ("select", (5, 4), {"token": 1, "count": 2}, (2, 4)),
    ("flatten", (2, 4), {}, (1, 8)),
    ("grid", (6, 4), {"rows": 2, "columns": 3}, (2, 3, 4)),
    ("roll", (4, 6, 3), {"rows": -1, "columns": 2}, (4, 6, 3)),
    ("crop", (4, 6, 3), {"rows": 3, "columns": 5}, (3, 5, 3)),
    ("windows", (4, 6, 3), {"height": 2, "width": 3}, (4, 6, 3)),
    ("join_windows", (4, 6, 3), {"rows": 4, "columns": 6, "height": 2, "width": 3}, (4, 6, 3)),
    ("merge_patches", (4, 6, 3), {}, (2, 3, 12)),
]


@pytest.mark.parametrize("name, shape, attributes, result", MOVED)
def test_a_move_is_the_same_for_codes_and_for_tensors(name, shape, attributes, result):
    codes = np.random.default_rng(0).integers(-128, 128, (2, *shape)).astype(np.int8)
    moved = OPERATIONS[name].function([codes], attributes)
    assert OPERATIONS[name].result([(Format(8, True), shape)], attributes)[1] == result
    assert moved.shape[1:] == result and moved.dtype == codes.dtype and moved.flags.c_contiguous
    np.testing.assert_array_equal(MOVES[name](torch.from_numpy(codes), attributes).numpy(), moved)


def test_moves_are_all_tried():
    assert {name for name, *_ in MOVED} == set(MOVES)


def test_grid_moves_are_those_of_timm_and_torch():
    x = torch.arange(2 * 4 * 6 * 3).reshape(2, 4, 6, 3)
    cut = MOVES["windows"](x, {"height": 2, "width": 3})
    torch.testing.assert_close(cut, window_partition(x, (2, 3)).reshape(2, 4, 6, 3))
    joined = MOVES["join_windows"](cut, {"rows": 4, "columns": 6, "height": 2, "width": 3})
    torch.testing.assert_close(joined, x)
    torch.testing.assert_close(MOVES["roll"](x, {"rows": -1, "columns": 2}),
                               torch.roll(x, (-1, 2), (1, 2)))


@pytest.mark.parametrize("name, inputs, attributes, message", [
    ("grid", [("s8", (6, 4))], {"rows": 2, "columns": 2}, "^grid must have 6 tokens, not 2 x 2$"),
    ("roll", [("s8", (4, 6, 3))], {"rows": 4, "columns": 0}, "must move by less than its size"),
    ("crop", [("s8", (4, 6, 3))], {"rows": 5, "columns": 6}, "cannot keep 5 x 6$"),
    ("windows", [("s8", (4, 6, 3))], {"height": 3, "width": 3}, "must be whole windows of 3 x 3"),
    ("join_windows", [("s8", (4, 6, 3))], {"rows": 4, "columns": 6, "height": 4, "width": 6},
     "must have shape"),
    ("merge_patches", [("s8", (3, 6, 3))], {}, "^grid must have even sides, not 3 x 6$"),
    ("pad", [("s8", (4, 6, 3)), ("s8", (4,))], {"rows": 5, "columns": 6}, "cannot be padded"),
    ("total", [("s16", (1 << 17, 1))], {}, "^sum of 131072 tokens of s16 must fit s32$"),
    ("widen", [("s16", (2, 2))], {"bits": 17}, "^codes s16 may gain bits up to s32, not 17$"),
    ("add", [("s32", (2, 3, 4)), ("s32", (3, 1, 4))], {}, "^both inputs must be"),
    ("select", [("s8", (3, 4))], {"token": 2, "count": 2}, r"^token must be 0\.\.1, not 2$"),
])
def test_shapes_that_do_not_fit_are_refused(name, inputs, attributes, message):
    with pytest.raises(ValueError, match=message):
        OPERATIONS[name].result([(Format.parse(fmt), shape) for fmt, shape in inputs], attributes)


@pytest.mark.parametrize("function", [OPERATIONS["add"].function, STRUCTURAL["add"]])
def test_sums_saturate_and_constants_serve_all_windows(function):
    a = np.array([[[[2**31 - 5, 7]], [[-2**31 + 3, 0]]]], np.int32)
    constant = np.array([[9, -9]], np.int32)
    np.testing.assert_array_equal(function([a, constant], {}),
                                  [[[[2**31 - 1, -2]], [[-2**31 + 12, -9]]]])
