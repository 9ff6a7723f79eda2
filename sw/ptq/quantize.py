"""Export of a calibrated float network to an integer network: W8A8, the whole graph."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch

from vitrtl.sw.catalog import OPERATORS, UNITS, methods_of, unit
from vitrtl.sw.data import ImageSet
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import storage
from vitrtl.sw.golden.fixed_point import Format, require, saturate
from vitrtl.sw.golden.log2_code import FRACTION_BITS
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.network import IntegerNetwork, Node, Value
from vitrtl.sw.provenance import command_line, versions
from vitrtl.sw.ptq.calibration import Calibration, calibrate
from vitrtl.sw.ptq.float_graph import FloatLayer, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.observers import round_scale
from vitrtl.sw.structure import OPERATIONS

__all__ = ["DEFAULT_METHODS", "deferred_beta", "export", "provenance_of", "quantize",
           "resolve_methods"]

DEFAULT_METHODS = {"softmax": "softmax_exp2", "gelu": "gelu_pwl", "layernorm": "layernorm_rsqrt"}
"""Unit of each operator where nothing else is asked for."""

S8, S16 = Format(8, True), Format(16, True)
WEIGHT_STEPS = 127
STREAM_HEADROOM = 1.5
"""How far beyond calibration the residual stream may go before it saturates; s16 affords it."""
LOGIT_HEADROOM = 2.0
SMALLEST_RATIO = Fraction(1, 1 << 24)
"""Smallest requantization ratio of a linear layer's channel, which the multiplier still holds
with all its bits. A channel with next to no weights gets a coarser weight scale instead."""
LARGEST_BIAS = 1 << 30
"""Half of what an accumulator holds, so that the products find room as well."""
WEAKEST_GAIN = 0.99
"""Largest beta of a LayerNorm channel that its unit adds, in units of sqrt(channels) * gamma."""
SMALLEST_GAIN = 2.0**-60
"""Stands for a gamma of zero, which has no reciprocal; the requantizer makes it zero again."""


def quantize(model: FloatModel, images: ImageSet, *, count: int = 128, seed: int = 0,
             observer: str = "percentile", operators: Mapping[str, str] | None = None,
             layers: Mapping[str, str] | None = None,
             progress: Callable[[int], None] = lambda images: None) -> IntegerNetwork:
    """Calibrate on training images and export.

    Parameters
    ----------
    model : the float network.
    images : whose training part gives the calibration images.
    count, seed : how many of them, and which.
    observer : rule that turns what was seen into a range.
    operators, layers : chosen units, as `resolve_methods` takes them.
    progress : called with the number of images done, batch by batch.
    """
    methods = resolve_methods(model, operators or {}, layers or {})
    ids = images.calibration(count, seed)
    calibration = calibrate(model, images.pixels[ids], observer, progress)
    return export(model, calibration, methods, provenance_of(model, images, ids, seed, observer))


def provenance_of(model: FloatModel, images: ImageSet, ids: np.ndarray, seed: int,
                  observer: str) -> dict[str, Any]:
    """Return what a network says about its making: all that it takes to make it again."""
    return {"command": command_line(), "weights": model.weights, "weights_digest": model.digest,
            "data": images.name, "data_digest": images.digest, "seed": seed, "observer": observer,
            "calibration_images": ids.tolist(),
            "versions": versions("numpy", "torch", "timm", "safetensors")}


def resolve_methods(model: FloatModel, operators: Mapping[str, str],
                    layers: Mapping[str, str]) -> dict[str, str]:
    """Return the unit of each layer that offers a choice.

    Parameters
    ----------
    model : the float network.
    operators : unit name by operator, for all its layers; those left out take the default.
    layers : unit name by layer, which comes before the operator's.

    Raises
    ------
    UserError
        For a layer that the network does not have, or a unit of another operator.
    """
    choices = {layer.name: layer.operator for layer in layers_of(model)}
    for name, chosen in layers.items():
        if name not in choices:
            raise UserError(f"layer must be one of {', '.join(choices)}, not {name!r}")
        if chosen not in (known := _names_of(choices[name])):
            raise UserError(f"unit of {name} must be one of {', '.join(known)}, not {chosen!r}")
    for operator, chosen in operators.items():
        if operator not in OPERATORS or chosen not in _names_of(operator):
            raise UserError(f"{operator} has no unit {chosen!r}")
    by_operator = {**DEFAULT_METHODS, **operators}
    return {name: layers.get(name, by_operator[operator]) for name, operator in choices.items()}


def _names_of(operator: str) -> list[str]:
    """Return the names of the methods of an operator, the float baseline among them."""
    return [entry.name for entry in methods_of(operator, software=True)]


def deferred_beta(layer: FloatLayer) -> np.ndarray:
    """Return the part of a LayerNorm's beta that the next linear layer adds in its place.

    A unit adds beta as an integer at gamma's scale. Where gamma is too small beside beta for
    that, the channel is next to constant, and its whole beta is left to the next layer.

    Shape
    -----
    (channels,), zero where the unit adds beta itself.
    """
    gamma, beta = np.array(layer.gamma), np.array(layer.beta)
    return np.where(np.abs(beta) > WEAKEST_GAIN * math.sqrt(gamma.size) * np.abs(gamma), beta, 0.0)


def export(model: FloatModel, calibration: Calibration, methods: Mapping[str, str],
           provenance: Mapping[str, Any] | None = None) -> IntegerNetwork:
    """Return the integer network.

    The image is u8 and becomes s8 by inverting the top bit; that offset, mean and standard
    deviation of the pixels go into the patch embedding's weights and bias. Weights are s8 with a
    scale per output channel, activations s8 with one scale per value, accumulators s32. The
    residual stream is s16 with one scale from end to end, so that a skip needs no requantizer.

    Parameters
    ----------
    model : the float network.
    calibration : its ranges.
    methods : unit name of every layer that offers a choice, as `resolve_methods` gives them.
    provenance : what made the network.
    """
    return _Export(model, calibration, methods).network(dict(provenance or {}))


@dataclasses.dataclass(frozen=True, slots=True)
class _Operand:
    """A value of the graph under construction: its name and its scales as they stand."""

    name: str
    scale: tuple[Fraction, ...]


class _Export:
    """The graph under construction."""

    def __init__(self, model: FloatModel, calibration: Calibration,
                 methods: Mapping[str, str]) -> None:
        self.model = model
        self.calibration = calibration
        self.methods = methods
        self.layers = {layer.name: layer for layer in layers_of(model)}
        self.nodes: list[Node] = []
        self.values: dict[str, Value] = {}
        self.operands: dict[str, np.ndarray] = {}
        self.left_out: dict[str, np.ndarray] = {}
        self.specs = _specs(model, methods)

    def network(self, provenance: dict[str, Any]) -> IntegerNetwork:
        """Build the graph from the image to the logits."""
        module, calibration = self.model.module, self.calibration
        depth = len(module.blocks)
        self.stream_scale = calibration.scale_of_largest(
            ["embed", "patch_embed", "tokens",
             *(f"blocks.{i}.{part}" for i in range(depth)
               for part in ("attn.proj", "attn.add", "mlp.fc2", "mlp.add"))],
            S16.width, STREAM_HEADROOM)
        stream = self._embed()
        for i, block in enumerate(module.blocks):
            stream = self._attention(f"blocks.{i}", block, stream)
            stream = self._mlp(f"blocks.{i}", block, stream)
        # Each token is normalised by itself, so the others need not be.
        x = self._structural("class_token", "select", [stream], {"token": 0})
        x = self._norm("norm", x)
        logit_scale = calibration.scale_of_largest(["head"], S16.width, LOGIT_HEADROOM)
        self._linear("head", x, module.head, [logit_scale], S16)
        return IntegerNetwork(name=self.model.name, nodes=tuple(self.nodes), values=self.values,
                              operands=self.operands, provenance=provenance)

    def _embed(self) -> _Operand:
        """Image to residual stream."""
        module, level = self.model.module, Fraction(1, 255)
        self.values["image"] = Value(Format(8, False), self.model.input_shape, (level,))
        x = self._structural("center", "center", [_Operand("image", (level,))])
        x = self._structural("patchify", "patchify", [x],
                             {"patch": module.patch_embed.patch_size[0]})
        conv = module.patch_embed.proj
        mean, std = (np.array(v).reshape(-1, 1, 1) for v in (self.model.mean, self.model.std))
        weight = _array(conv.weight) / std
        bias = (weight * (128 / 255 - mean)).sum(axis=(1, 2, 3))
        if conv.bias is not None:
            bias += _array(conv.bias)
        x = self._affine("patch_embed", x, weight.reshape(len(weight), -1).T, bias,
                         [self.stream_scale], S16)
        token = self._stream_constant("class_token.constant", module.cls_token)
        x = self._structural("tokens", "concat", [x, token])
        position = self._stream_constant("position", module.pos_embed)
        return self._structural("embed", "add", [x, position])

    def _attention(self, at: str, block: torch.nn.Module, stream: _Operand) -> _Operand:
        """Add the attention branch to the residual stream."""
        attn, calibration = block.attn, self.calibration
        x = self._norm(f"{at}.norm1", stream)
        parts = {name: calibration.scale(f"{at}.attn.{name}") for name in "qkv"}
        x = self._linear(f"{at}.attn.qkv", x, attn.qkv,
                         np.repeat(list(parts.values()), attn.attn_dim).tolist(), S8)
        q, k, v = (self._structural(f"{at}.attn.{name}", "heads", [x],
                                    {"heads": attn.num_heads, "parts": 3, "part": part},
                                    (parts[name],)) for part, name in enumerate("qkv"))
        # 1 / sqrt(head width) is part of the scale of the scores.
        x = self._product(f"{at}.attn.scores", q, k, Fraction(attn.scale), transposed=True)
        softmax = self.layers[f"{at}.attn.softmax"]
        x = self._requantize(x, [self._input_scale(softmax)], S8)
        x = self._nonlinear(softmax, x, [calibration.scale(softmax.name)])
        x = self._product(f"{at}.attn.context", x, v)
        x = self._requantize(x, [calibration.scale(f"{at}.attn.context")], S8)
        x = self._structural(f"{at}.attn.merge", "merge", [x])
        x = self._linear(f"{at}.attn.proj", x, attn.proj, [self.stream_scale], S16, block.ls1)
        return self._structural(f"{at}.attn.add", "add", [stream, x])

    def _mlp(self, at: str, block: torch.nn.Module, stream: _Operand) -> _Operand:
        """Add the MLP branch to the residual stream."""
        mlp = block.mlp
        gelu = self.layers[f"{at}.mlp.gelu"]
        x = self._norm(f"{at}.norm2", stream)
        x = self._linear(f"{at}.mlp.fc1", x, mlp.fc1, [self._input_scale(gelu)], S8)
        x = self._nonlinear(gelu, x, [self.calibration.scale(gelu.name)])
        x = self._linear(f"{at}.mlp.fc2", x, mlp.fc2, [self.stream_scale], S16, block.ls2)
        return self._structural(f"{at}.mlp.add", "add", [stream, x])

    def _norm(self, name: str, x: _Operand) -> _Operand:
        """LayerNorm and its requantizer, per channel.

        What of beta the unit cannot add goes into the next layer's bias, exactly.
        """
        layer = self.layers[name]
        gamma, beta, deferred = np.array(layer.gamma), np.array(layer.beta), deferred_beta(layer)
        layer = dataclasses.replace(
            layer, beta=tuple(np.where(deferred != 0, 0.0, beta).tolist()),
            gamma=tuple(np.where(gamma == 0, SMALLEST_GAIN, gamma).tolist()))
        x = self._nonlinear(layer, x, [self.calibration.scale(name)])
        self.left_out[x.name] = deferred
        return x

    def _nonlinear(self, layer: FloatLayer, x: _Operand, scales: list[Fraction]) -> _Operand:
        """Add the unit that was chosen for a layer, and the requantizer that it may need."""
        name = self.methods[layer.name]
        golden, spec = unit(name).golden, self.specs[name]
        parameters = {"gamma": layer.gamma, "beta": layer.beta} if layer.gamma else {}
        try:
            constants, scale = golden.export(spec, x.scale[0], self._codes(layer, x), scales[0],
                                             **parameters)
        except ValueError as error:
            raise UserError(f"{layer.name}: {error}") from None
        scale = tuple(scale) if isinstance(scale, Sequence) else (scale,)
        x = self._unit(layer.name, name, spec, [x], constants, scale)
        if spec.merges_requantizer or spec.operand != "linear":
            return x
        return self._requantize(x, scales, S8)

    def _codes(self, layer: FloatLayer, x: _Operand) -> np.ndarray:
        """Return what calibration saw of a layer's input, as the integer network codes it."""
        codes = np.rint(self.calibration.samples[layer.source] / float(x.scale[0]))
        return saturate(codes, self.values[x.name].format).astype(np.int64)

    def _input_scale(self, layer: FloatLayer) -> Fraction:
        """Return the calibrated scale of a layer's input, raised until its unit accepts it.

        A unit's registers bound the scale from below; a layer whose inputs are that small loses
        nothing by coarser codes than the calibration asked for. Some methods take powers of two
        alone.
        """
        name = self.methods[layer.name]
        golden, spec = unit(name).golden, self.specs[name]
        scale = self.calibration.scale(layer.source)
        for _ in range(64):
            fitted = golden.fit_scale(spec, scale)
            try:
                golden.derive(spec, fitted)
            except ValueError as error:
                refusal = error
                scale = round_scale(float(fitted * Fraction(9, 8)))
            else:
                return fitted
        raise UserError(f"{layer.name}: {refusal}")

    def _linear(self, name: str, x: _Operand, part: torch.nn.Linear, scales: list[Fraction],
                out: Format, layer_scale: torch.nn.Module | None = None) -> _Operand:
        """Linear layer, its requantizer, and the LayerScale that may follow it."""
        weight = _array(part.weight).T
        bias = np.zeros(weight.shape[1]) if part.bias is None else _array(part.bias)
        if x.name in self.left_out:
            bias = bias + self.left_out[x.name] @ weight
        if hasattr(layer_scale, "gamma"):
            gain = _array(layer_scale.gamma)
            weight, bias = weight * gain, bias * gain
        return self._affine(name, x, weight, bias, scales, out)

    def _affine(self, name: str, x: _Operand, weight: np.ndarray, bias: np.ndarray,
                scales: list[Fraction], out: Format) -> _Operand:
        """Matrix multiplication by s8 weights, bias and requantizer.

        Shape
        -----
        `weight` (in, out); `scales` one or one per output channel.
        """
        scales = scales * (weight.shape[1] // len(scales))
        weight_scales = [
            max(round_scale(max(largest / WEIGHT_STEPS, abs(b) / float(x.scale[0]) / LARGEST_BIAS,
                                np.finfo(np.float32).tiny)),
                SMALLEST_RATIO * scale / x.scale[0])
            for largest, b, scale in zip(np.abs(weight).max(axis=0).tolist(), bias.tolist(),
                                         scales, strict=True)]
        codes = np.rint(weight / np.array([float(s) for s in weight_scales]))
        operand = self._operand(f"{name}.weight", codes, S8, tuple(weight_scales))
        x = self._product(name, x, operand)
        biases = [round(Fraction(b) / s) for b, s in zip(bias.tolist(), x.scale, strict=True)]
        return self._requantize(x, scales, out, biases)

    def _product(self, name: str, a: _Operand, b: _Operand, factor: Fraction = Fraction(1),
                 transposed: bool = False) -> _Operand:
        """Matrix multiplication; `factor` is only part of the scale."""
        operand = self.values[a.name].operand
        golden, spec = unit("matmul").golden, self.specs[f"matmul {operand}"]
        inner = self.values[a.name].shape[-1]
        constants, _ = golden.derive(spec, inner, transposed)
        step = Fraction(1, 1 << FRACTION_BITS) if operand == "log2" else a.scale[0]
        scale = tuple(step * s * factor for s in b.scale)
        return self._unit(name, "matmul", spec, [a, b], constants, scale)

    def _requantize(self, x: _Operand, scales: list[Fraction], out: Format,
                    bias: Sequence[int] | None = None) -> _Operand:
        """Requantizer from the scales of `x` to `scales`, one or one per channel."""
        spec = self.specs[f"requantize {out}"]
        count = max(len(scales), len(x.scale))
        ratios = [s / t for s, t in zip(x.scale * (count // len(x.scale)),
                                        scales * (count // len(scales)), strict=True)]
        try:
            constants, _ = unit("requantize").golden.derive(
                spec, ratios if count > 1 else ratios[0], bias)
        except ValueError as error:
            raise UserError(f"{x.name}: {error}") from None
        scale = tuple(scales) if len(set(scales)) > 1 else (scales[0],)
        return self._unit(f"{x.name}.requantize", "requantize", spec, [x], constants, scale)

    def _unit(self, name: str, op: str, spec: Spec, inputs: list[_Operand], constants: Any,
              scale: tuple[Fraction, ...]) -> _Operand:
        """Add a node of the catalogue."""
        shape = self.values[inputs[0].name].shape
        if op == "matmul":
            b = self.values[inputs[1].name].shape
            shape = (*shape[:-1], b[-2] if constants.transposed else b[-1])
        arrays = {}
        for register in spec.registers:
            array = require(np.asarray(getattr(constants, register.name)), register.format,
                            register.name)
            arrays[register.name] = array.astype(storage(register.format))
        self.nodes.append(Node(name, op, tuple(x.name for x in inputs), spec, arrays))
        operand = spec.operand if isinstance(spec, VectorSpec) else "linear"
        self.values[name] = Value(spec.out_format, shape, scale, operand)
        return _Operand(name, scale)

    def _structural(self, name: str, op: str, inputs: list[_Operand],
                    attributes: Mapping[str, int] | None = None,
                    scale: tuple[Fraction, ...] | None = None) -> _Operand:
        """Add a node that only moves integers, or adds two of one scale."""
        attributes = dict(attributes or {})
        values = [self.values[x.name] for x in inputs]
        fmt, shape = OPERATIONS[op].result([(v.format, v.shape) for v in values], attributes)
        scale = scale or inputs[0].scale
        self.nodes.append(Node(name, op, tuple(x.name for x in inputs), attributes=attributes))
        self.values[name] = Value(fmt, shape, scale)
        return _Operand(name, scale)

    def _stream_constant(self, name: str, parameter: torch.Tensor) -> _Operand:
        """Add a constant of the residual stream."""
        codes = np.rint(_array(parameter)[0] / float(self.stream_scale))
        return self._operand(name, codes, S16, (self.stream_scale,))

    def _operand(self, name: str, codes: np.ndarray, fmt: Format,
                 scale: tuple[Fraction, ...]) -> _Operand:
        codes = require(codes.astype(np.int64), fmt, name).astype(storage(fmt))
        self.operands[name] = codes
        self.values[name] = Value(fmt, codes.shape, scale)
        return _Operand(name, scale)


def _specs(model: FloatModel, methods: Mapping[str, str]) -> dict[str, Spec]:
    """Return the build-time numbers of each unit: the defaults, with longer rows if needed.

    One unit serves all layers, so its spec follows from the widest.
    """
    module = model.module
    hidden = max(block.mlp.fc1.out_features for block in module.blocks)
    qkv = max(block.attn.qkv.out_features for block in module.blocks)
    rows = {"softmax": module.patch_embed.num_patches + 1, "gelu": hidden,
            "layernorm": module.embed_dim}
    specs = {}
    for name in set(methods.values()):
        spec = unit(name).golden.spec()
        if hasattr(spec, "longest_row"):
            longest = max(spec.longest_row, _power_of_two(rows[unit(name).operator]))
            spec = dataclasses.replace(spec, longest_row=longest)
        specs[name] = spec
    spec = UNITS["requantize"].golden.spec()
    channels = max(spec.channels, _power_of_two(max(hidden, qkv, module.head.out_features)))
    for fmt in (S8, S16):
        specs[f"requantize {fmt}"] = dataclasses.replace(spec, out_width=fmt.width,
                                                         channels=channels)
    spec = UNITS["matmul"].golden.spec()
    for operand in ("linear", "log2"):
        specs[f"matmul {operand}"] = dataclasses.replace(spec, operand=operand)
    return specs


def _power_of_two(value: int) -> int:
    return 1 << math.ceil(math.log2(value))


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().double().numpy()
