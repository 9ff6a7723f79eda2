"""Export of a calibrated float network to an integer network, the whole graph."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from fractions import Fraction
from itertools import islice
from typing import Any

import numpy as np
import torch

from vitrtl.sw.candidate import candidate, candidates_of
from vitrtl.sw.catalog import OPERATORS, UNITS, unit
from vitrtl.sw.data import ImageSet
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest
from vitrtl.sw.golden.fixed_point import Format, WidthError, require, saturate
from vitrtl.sw.golden.log2_code import FRACTION_BITS
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.network import IntegerNetwork, Node, Value
from vitrtl.sw.provenance import command_line, versions
from vitrtl.sw.ptq.architectures.families import describe
from vitrtl.sw.ptq.architectures.graph import Graph, Interpreter, Shape
from vitrtl.sw.ptq.architectures.operations import (
    Add,
    Average,
    Concat,
    Constant,
    Gelu,
    Linear,
    Mask,
    Move,
    Norm,
    Operation,
    Pad,
    PatchEmbed,
    PositionBias,
    Product,
    Softmax,
)
from vitrtl.sw.ptq.bias_correction import corrected
from vitrtl.sw.ptq.calibration import Calibration, calibrate
from vitrtl.sw.ptq.channel_codes import ChannelCodes
from vitrtl.sw.ptq.float_graph import FloatLayer, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.observers import round_scale
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.storage import storage
from vitrtl.sw.structure import OPERATIONS

__all__ = ["DEFAULT_METHODS", "deferred_beta", "export", "provenance_of", "quantize",
           "resolve_methods"]

DEFAULT_METHODS = {"softmax": "softmax_exp2", "gelu": "gelu_pwl", "layernorm": "layernorm_rsqrt"}
"""Candidate of each operator where nothing else is asked for."""

S8, S16, S32 = Format(8, True), Format(16, True), Format(32, True)
STREAM_HEADROOM = 1.5
"""How far beyond calibration the residual stream may go before it saturates; s16 affords it."""
LOGIT_HEADROOM = 2.0
SMALLEST_RATIO = Fraction(1, 1 << 24)
"""Smallest requantization ratio of a linear layer's channel, which the multiplier still holds
with all its bits. A channel with next to no weights gets a coarser weight scale instead."""
TINY = float(np.finfo(np.float32).tiny)
"""Scale of the weights of a channel that has none."""
LARGEST_BIAS = 1 << 30
"""Half of what an accumulator holds, so that the products find room as well."""
WEAKEST_GAIN = 0.99
"""Largest beta of a LayerNorm channel that its unit adds, in units of sqrt(channels) * gamma."""
MASK_GAP = 8.0
"""How far below the largest score of its row one that must not count has to lie: its weight is
then below `exp(-8)`, which is less than half an s8 code."""
SMALLEST_GAIN = 2.0**-60
"""Stands for a gamma of zero, which has no reciprocal; the requantizer makes it zero again."""


def quantize(model: FloatModel, images: ImageSet, *, count: int = 128, seed: int = 0,
             scheme: Scheme | None = None, operators: Mapping[str, str] | None = None,
             layers: Mapping[str, str] | None = None,
             progress: Callable[[int], None] = lambda images: None) -> IntegerNetwork:
    """Calibrate on training images and export.

    Parameters
    ----------
    model : the float network.
    images : whose training part gives the calibration images.
    count, seed : how many of them, and which.
    scheme : bits, ranges and techniques; the default ones if not given.
    operators, layers : chosen units, as `resolve_methods` takes them.
    progress : called with the number of images done, `calibration_work` of them in all.
    """
    scheme = scheme or Scheme()
    methods = resolve_methods(model, operators or {}, layers or {})
    ids = images.calibration(count, seed)
    pixels = images.pixels[ids]
    calibration = calibrate(model, pixels, scheme, progress)
    return export(calibration, methods, provenance_of(model, images, ids, digest(pixels.tobytes()),
                                                      seed, scheme))


def provenance_of(model: FloatModel, images: ImageSet, ids: np.ndarray, pixels_digest: str,
                  seed: int, scheme: Scheme) -> dict[str, Any]:
    """Return what a network says about its making: all that it takes to make it again.

    Parameters
    ----------
    model : the float network as it was given.
    images : where the calibration images come from.
    ids, pixels_digest : of the calibration images, and checksum of their pixels.
    seed : that chose them.
    scheme : what the network was calibrated for.
    """
    return {"command": command_line(), "weights": model.weights, "weights_digest": model.digest,
            "model_options": dict(model.options), "preprocessing": model.preprocessing.asdict(),
            "data": images.name, "data_digest": images.digest, "seed": seed, **scheme.provenance,
            "calibration_images": ids.tolist(), "calibration_digest": pixels_digest,
            "versions": versions("numpy", "torch", "timm", "safetensors")}


def resolve_methods(model: FloatModel, operators: Mapping[str, str],
                    layers: Mapping[str, str]) -> dict[str, str]:
    """Return the candidate of each layer that offers a choice, by its name.

    Parameters
    ----------
    model : the float network.
    operators : candidate by operator, for all its layers; those left out take the default.
    layers : candidate by layer, which comes before the operator's.

    Raises
    ------
    UserError
        For a layer that the network does not have, or a candidate of another operator.
    """
    choices = {layer.name: layer.operator for layer in layers_of(model)}
    for name, chosen in layers.items():
        if name not in choices:
            raise UserError(f"layer must be one of {', '.join(choices)}, not {name!r}")
        if not _computes(choices[name], chosen):
            known = [one.name for one in candidates_of(choices[name], software=True)]
            raise UserError(f"unit of {name} must be one of {', '.join(known)}, not {chosen!r}")
    for operator, chosen in operators.items():
        if operator not in OPERATORS or not _computes(operator, chosen):
            raise UserError(f"{operator} has no unit {chosen!r}")
    by_operator = {**DEFAULT_METHODS, **operators}
    return {name: layers.get(name, by_operator[operator]) for name, operator in choices.items()}


def _computes(operator: str, name: str) -> bool:
    """Return whether there is a candidate of that name, and it computes that operator."""
    try:
        return candidate(name).operator == operator
    except UserError:
        return False


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


def export(calibration: Calibration, methods: Mapping[str, str],
           provenance: Mapping[str, Any] | None = None) -> IntegerNetwork:
    """Return the integer network.

    The image is u8 and becomes s8 by inverting the top bit; that offset, mean and standard
    deviation of the pixels go into the patch embedding's weights and bias. Weights have a scale
    per output channel, activations one per value, both as many bits as the scheme says;
    accumulators are s32. The residual stream is s16 with one scale from end to end, so that a
    skip needs no requantizer.

    Parameters
    ----------
    calibration : the float network, its ranges and the scheme.
    methods : candidate of every layer that offers a choice, as `resolve_methods` gives them.
    provenance : what made the network.
    """
    network = _Export(calibration, methods).network(dict(provenance or {}))
    if not calibration.scheme.uses("bias_correction"):
        return network
    return corrected(network, calibration.pixels, calibration.means)


@dataclasses.dataclass(frozen=True, slots=True)
class _Operand:
    """A value of the graph under construction.

    Parameters
    ----------
    name : of the integer value.
    scale : its scales as they stand.
    deferred : what each channel lacks of the float value, for the next linear layer to add.
    codes : of the channels, where they have scales of their own for the next linear layer's
        weights to take up; `scale` is then the largest.
    """

    name: str
    scale: tuple[Fraction, ...]
    deferred: np.ndarray | None = None
    codes: ChannelCodes | None = None


class _Export(Interpreter[_Operand]):
    """The graph under construction."""

    def __init__(self, calibration: Calibration, methods: Mapping[str, str]) -> None:
        self.model = model = calibration.model
        self.graph = describe(model.module)
        self.calibration = calibration
        self.methods = methods
        self.layers = {layer.name: layer for layer in layers_of(model)}
        self.nodes: dict[str, Node] = {}
        self.values: dict[str, Value] = {}
        self.operands: dict[str, np.ndarray] = {}
        self.specs = _specs(self.graph, model.input_shape, methods,
                            calibration.scheme.precision.activation_format)
        self.targets: dict[str, tuple[list[Fraction], Format]] = {}
        self.finest: dict[str, Fraction] = {}
        self.streams: dict[str, Fraction] = {}
        for names in self.graph.streams():
            self.streams |= dict.fromkeys(names, self._stream_scale(names))
            # What was sought so far did not know of this stream.
            self.targets.clear()
            self.finest.clear()

    def network(self, provenance: dict[str, Any]) -> IntegerNetwork:
        """Build the graph from the image to the logits."""
        level = (Fraction(1, 255),)
        self.values["image"] = Value(Format(8, False), self.model.input_shape, level)
        self.interpret(self.graph, _Operand("image", level))
        return IntegerNetwork(name=self.model.name, nodes=tuple(self.nodes.values()),
                              values=self.values, operands=self.operands, provenance=provenance)

    def patch_embed(self, operation: PatchEmbed, image: _Operand) -> _Operand:
        """Image to residual stream."""
        x = self._structural("center", "center", [image])
        x = self._structural("patchify", "patchify", [x],
                             {"patch": operation.module.kernel_size[0]})
        return self._affine(operation.name, x, lambda: self._patch_parameters(operation))

    def constant(self, operation: Constant) -> _Operand:
        """Parameter that joins a stream, at its scale."""
        scale = self.streams[operation.name]
        codes = np.rint(_array(operation.parameter)[0] / float(scale))
        return self._operand(operation.name, codes, S16, (scale,))

    def linear(self, operation: Linear, x: _Operand) -> _Operand:
        """Linear layer and its requantizer."""
        return self._affine(operation.name, x,
                            lambda: _linear_parameters(operation, x.codes, x.deferred))

    def norm(self, operation: Norm, x: _Operand) -> _Operand:
        """LayerNorm and its requantizer, per channel.

        What of beta the unit cannot add goes into the next layer's bias, exactly.
        """
        layer = self.layers[operation.name]
        gamma, beta, deferred = np.array(layer.gamma), np.array(layer.beta), deferred_beta(layer)
        layer = dataclasses.replace(
            layer, beta=tuple(np.where(deferred != 0, 0.0, beta).tolist()),
            gamma=tuple(np.where(gamma == 0, SMALLEST_GAIN, gamma).tolist()))
        x = dataclasses.replace(self._nonlinear(layer, x), deferred=deferred)
        return self._with_deferred(x) if layer.name in self.streams else x

    def _with_deferred(self, x: _Operand) -> _Operand:
        """Add what a stream's channels lack, since no linear layer follows that could."""
        if not x.deferred.any():
            return dataclasses.replace(x, deferred=None)
        constant = self._operand(f"{x.name}.beta", np.rint(x.deferred / float(x.scale[0])), S16,
                                 x.scale)
        return self._structural(f"{x.name}.add_beta", "add", [x, constant])

    def softmax(self, operation: Softmax, x: _Operand) -> _Operand:
        """Softmax and its requantizer."""
        return self._nonlinear(self.layers[operation.name], x)

    def gelu(self, operation: Gelu, x: _Operand) -> _Operand:
        """GELU and its requantizer."""
        return self._nonlinear(self.layers[operation.name], x)

    def product(self, operation: Product, a: _Operand, b: _Operand) -> _Operand:
        """Product of two values and its requantizer; the factor is part of the scale."""
        x = self._product(operation.name, a, b, Fraction(operation.factor), operation.transposed)
        return self._settle(operation, x)

    def position_bias(self, operation: PositionBias, x: _Operand) -> _Operand:
        """Constant that is added to the accumulators of the scores."""
        codes = np.rint(_array(operation.bias()) / float(x.scale[0]))
        return self._settle(operation, self._add_to_accumulators(operation, x, codes))

    def mask(self, operation: Mask, x: _Operand) -> _Operand:
        """Constant that takes what must not count to the lowest code.

        `_input_scale` keeps that code far enough below the others.
        """
        forbidden = ~operation.allowed.numpy()[:, np.newaxis]
        x = self._add_to_accumulators(operation, x, np.where(forbidden, S32.lo, 0))
        (target,), fmt = self._target(operation.name)
        if float(x.scale[0] / target) * (S32.hi / 2) < -fmt.lo:
            raise UserError(f"{operation.name}: scale of the scores {float(x.scale[0]):.3g} must "
                            f"be larger beside {float(target):.3g} for a mask to saturate")
        return self._settle(operation, x)

    def _settle(self, operation: Operation, x: _Operand) -> _Operand:
        """Requantize accumulators, unless the next operation adds to them."""
        readers = self.graph.readers(operation.name)
        if any(isinstance(reader, (PositionBias, Mask)) for reader in readers):
            return x
        return self._requantize(x, *self._target(operation.name))

    def _add_to_accumulators(self, operation: Operation, x: _Operand,
                             codes: np.ndarray) -> _Operand:
        try:
            constant = self._operand(f"{operation.name}.constant", codes, S32, x.scale)
        except WidthError as error:
            raise UserError(str(error)) from None
        return self._structural(operation.name, "add", [x, constant])

    def add(self, operation: Add, a: _Operand, b: _Operand) -> _Operand:
        """Saturating sum of one scale."""
        return self._structural(operation.name, "add", [a, b])

    def concat(self, operation: Concat, x: _Operand, first: _Operand) -> _Operand:
        """Tokens of one scale."""
        return self._structural(operation.name, "concat", [x, first])

    def move(self, operation: Move, x: _Operand) -> _Operand:
        """Move of codes; a part of the channels may have a scale of its own."""
        scale, attributes = x.scale, operation.attributes
        if operation.operation == "heads" and len(scale) > 1:
            share = len(scale) // attributes["parts"]
            start = attributes["part"] * share
            scale = _one_if_equal(scale[start:start + share])
        moved = self._structural(operation.name, operation.operation, [x], attributes, scale)
        if x.deferred is None:
            return moved
        # Channels stay together in every move of normalised tokens.
        copies = self.values[moved.name].shape[-1] // len(x.deferred)
        return dataclasses.replace(moved, deferred=np.tile(x.deferred, copies))

    def pad(self, operation: Pad, x: _Operand) -> _Operand:
        """Codes of zero; where channels lack something, of what it takes to make zero of it."""
        value = self.values[x.name]
        zero = np.zeros(value.shape[-1]) if x.deferred is None else -x.deferred
        codes = saturate(np.rint(zero / float(x.scale[0])).astype(np.int64), value.format)
        fill = self._operand(f"{operation.name}.fill", codes, value.format, x.scale)
        padded = self._structural(operation.name, "pad", [x, fill],
                                  {"rows": operation.rows, "columns": operation.columns})
        return dataclasses.replace(padded, deferred=x.deferred)

    def average(self, operation: Average, x: _Operand) -> _Operand:
        """Sum of the codes, whose scale is that of the mean divided by their number."""
        *tokens, _ = self.values[x.name].shape
        scale = tuple(s / math.prod(tokens) for s in x.scale)
        total = self._structural(operation.name, "total", [x], scale=scale)
        mean = self._requantize(total, *self._target(operation.name))
        return dataclasses.replace(mean, deferred=x.deferred)

    def _patch_parameters(self, operation: PatchEmbed) -> tuple[np.ndarray, np.ndarray]:
        """Return weight (in, out) and bias for pixels from -128 to 127, in units of 1/255."""
        conv = operation.module
        mean, std = (np.array(v).reshape(-1, 1, 1) for v in (self.model.mean, self.model.std))
        weight = _array(conv.weight) / std
        bias = (weight * (128 / 255 - mean)).sum(axis=(1, 2, 3))
        if conv.bias is not None:
            bias += _array(conv.bias)
        return weight.reshape(len(weight), -1).T, bias

    def _stream_scale(self, names: Sequence[str]) -> Fraction:
        """Return the one scale of some values, constants excepted, which are no larger."""
        seen = [name for name in names if not isinstance(self.graph.operation(name), Constant)]
        return max(self.calibration.scale_of_largest(seen, S16.width, STREAM_HEADROOM),
                   *map(self._finest, seen))

    def _finest(self, name: str) -> Fraction:
        """Return the finest scale that a value can be requantized to; zero if it never is.

        The multiplier bounds the ratio. Where a step of the accumulator is larger than that, as
        few bits or a wide input make it, a finer scale would show nothing more.
        """
        if name not in self.finest:
            self.finest[name] = self._sought_finest(name)
        return self.finest[name]

    def _sought_finest(self, name: str) -> Fraction:
        operation = self.graph.operation(name)
        match operation:
            case PatchEmbed():
                step = Fraction(1, 255) * self._coarsest_weight(
                    name, lambda: self._patch_parameters(operation)[0])
            case Linear(inputs=(source,)):
                codes = self._codes(source)
                step = self._read_scale(source) * self._coarsest_weight(
                    name, lambda: _linear_parameters(operation, codes)[0], codes)
            case Product(inputs=(a, b)):
                step = self._read_scale(a) * self._read_scale(b) * Fraction(operation.factor)
            case Norm():
                step = self._norm_step(self.layers[name])
            case _:
                return Fraction(0)
        return round_scale(float(step / self._largest_ratio)) if step else step

    @property
    def _largest_ratio(self) -> Fraction:
        """Largest ratio of scales that a requantizer reaches."""
        spec = self.specs[f"requantize {S16}"]
        return Fraction(spec.multiplier_format.hi, 1 << spec.shift_min)

    def _norm_step(self, layer: FloatLayer) -> Fraction:
        """Return the largest scale of a LayerNorm unit's channels; zero if it merges its own."""
        method = self.methods[layer.name]
        entry, spec = candidate(method).unit, self.specs[method]

        def find() -> Fraction:
            gamma = [value or SMALLEST_GAIN for value in layer.gamma]
            _, scale = entry.golden.derive(spec, Fraction(1), gamma=gamma,
                                           beta=[0.0] * len(gamma))
            return max(map(abs, scale)) if isinstance(scale, Sequence) else scale

        if spec.merges_requantizer:
            return Fraction(0)
        return self.calibration.once(("step", layer.name, method), find)

    def _coarsest_weight(self, name: str, weight: Callable[[], np.ndarray],
                         codes: ChannelCodes | None = None) -> Fraction:
        """Return the largest scale of a layer's weights.

        Parameters
        ----------
        weight : gives them, (in, out), with the factors of the input's channels.
        codes : of those channels, if they have such.
        """
        def find() -> Fraction:
            scales, _ = self.calibration.weights(name, weight(), codes)
            return round_scale(max(scales.max(), TINY))

        return self.calibration.once(("coarsest", name, _bytes(codes and codes.scales)), find)

    def _read_scale(self, name: str) -> Fraction:
        """Return the scale of what an operation reads: moves and padding keep what they find."""
        while isinstance(operation := self.graph.operation(name), (Move, Pad)):
            (source,) = operation.inputs
            producer = self.graph.operation(source)
            if isinstance(producer, Linear) and name in producer.parts:
                return self._calibrated_scale(name, source)
            name = source
        return max(self._target(name)[0])

    def _calibrated_scale(self, name: str, producer: str) -> Fraction:
        """Return a value's calibrated scale, but none finer than its producer can be given."""
        return max(self.calibration.scale(name), self._finest(producer))

    def _target(self, name: str) -> tuple[list[Fraction], Format]:
        """Return the scales and the format that a value is requantized to.

        One scale, or one per output channel of a linear layer.
        """
        if name not in self.targets:
            self.targets[name] = self._sought_target(name)
        return self.targets[name]

    def _sought_target(self, name: str) -> tuple[list[Fraction], Format]:
        if name in self.streams:
            return [self.streams[name]], S16
        if name == self.graph.output:
            return [max(self.calibration.scale_of_largest([name], S16.width, LOGIT_HEADROOM),
                        self._finest(name))], S16
        for reader in self.graph.readers(name):
            if isinstance(reader, (Softmax, Gelu)):
                return [self._input_scale(self.layers[reader.name])], self.calibration.format(name)
        if codes := self._codes(name):
            return self.calibration.once(("coded", name), lambda: list(
                map(round_scale, codes.scales.tolist()))), self.calibration.format(name)
        operation = self.graph.operation(name)
        if isinstance(operation, Linear) and operation.parts:
            share = operation.width // len(operation.parts)
            return [scale for part in operation.parts
                    for scale in [self._calibrated_scale(part, name)] * share], (
                        self.calibration.format(name))
        return [self._calibrated_scale(name, name)], self.calibration.format(name)

    def _nonlinear(self, layer: FloatLayer, x: _Operand) -> _Operand:
        """Add the unit that was chosen for a layer, and the requantizer that it may need."""
        scales, fmt = self._target(layer.name)
        return self._once((layer.name, self.methods[layer.name], tuple(scales), fmt), x,
                          lambda: self._new_nonlinear(layer, x, scales, fmt))

    def _new_nonlinear(self, layer: FloatLayer, x: _Operand, scales: list[Fraction],
                       fmt: Format) -> _Operand:
        name = self.methods[layer.name]
        entry, spec = candidate(name).unit, self.specs[name]
        parameters = {"gamma": layer.gamma, "beta": layer.beta} if layer.gamma else {}
        # A merged requantizer gives s8 codes; what must be wider than that is scaled up again.
        merged = self.calibration.scale(layer.name) if fmt == S16 else scales[0]
        try:
            constants, scale = entry.golden.export(spec, x.scale[0], self._sampled(layer, x),
                                                   merged, **parameters)
        except ValueError as error:
            raise UserError(f"{layer.name}: {error}") from None
        scale = tuple(scale) if isinstance(scale, Sequence) else (scale,)
        x = self._unit(layer.name, entry.name, spec, [x], constants, scale)
        fits = fmt.lo <= spec.out_format.lo and spec.out_format.hi <= fmt.hi
        if spec.operand != "linear" or (fits and fmt != S16):
            return x
        if codes := self._codes(layer.name):
            return self._requantize_channels(x, scales, fmt, codes, spec.lanes)
        if fmt == S16:
            x = self._widen(x, scales[0])
        # Much finer than the unit's own steps there is nothing to see, and no factor for it.
        finest = max(map(abs, x.scale)) / self._largest_ratio
        scales = [scale if scale >= finest else round_scale(float(finest)) for scale in scales]
        return self._requantize(x, scales, fmt, lanes=spec.lanes)

    def _requantize_channels(self, x: _Operand, scales: list[Fraction], fmt: Format,
                             codes: ChannelCodes, lanes: int) -> _Operand:
        """Requantize the channels of a value of one scale to codes of their own."""
        (step,) = x.scale
        # Finer than the unit's own steps there is nothing to see.
        scales = [max(scale, abs(step)) for scale in scales]
        bias = [round(Fraction(-center) / step) for center in codes.center.tolist()]
        coded = self._requantize(x, scales, fmt, bias, lanes)
        return _Operand(coded.name, (max(scales),),
                        np.array([-float(b * step) for b in bias]),
                        dataclasses.replace(codes, scales=np.array([float(s) for s in scales])))

    def _codes(self, name: str) -> ChannelCodes | None:
        """Return the codes of a value's channels, None if it has one scale.

        A unit that gives the next operand itself has one scale to give it at.
        """
        codes = self.calibration.codes.get(name)
        if codes is None or self.specs[self.methods[name]].merges_requantizer:
            return None
        return codes

    def _widen(self, x: _Operand, scale: Fraction) -> _Operand:
        """Put bits below codes until their scale is not above another.

        A requantizer scales down, or up by less than two.
        """
        ratio = max(abs(s) for s in x.scale) / scale
        if ratio <= 1:
            return x
        bits = math.ceil(math.log2(ratio))
        return self._structural(f"{x.name}.widen", "widen", [x], {"bits": bits},
                                tuple(s / (1 << bits) for s in x.scale))

    def _sampled(self, layer: FloatLayer, x: _Operand) -> np.ndarray:
        """Return what calibration saw of a layer's input, as the integer network codes it."""
        codes = np.rint(self.calibration.samples[layer.source] / float(x.scale[0]))
        return saturate(codes, self.values[x.name].format).astype(np.int64)

    def _input_scale(self, layer: FloatLayer) -> Fraction:
        """Return the calibrated scale of a layer's input, or the nearest that its unit accepts.

        A unit's registers bound the scale from below; a layer whose inputs are that small loses
        nothing by coarser codes than the calibration asked for. They bound it from above too:
        larger inputs saturate. Some methods take powers of two alone.
        """
        scale = self._calibrated_input_scale(layer)
        return self.calibration.once(("input", layer.name, self.methods[layer.name], scale),
                                     lambda: self._accepted_scale(layer, scale))

    def _accepted_scale(self, layer: FloatLayer, scale: Fraction) -> Fraction:
        """Return the nearest scale to a layer's own that its unit accepts."""
        name = self.methods[layer.name]
        golden, spec = candidate(name).unit.golden, self.specs[name]
        refusal = None
        for i in range(64):
            for factor in {Fraction(9, 8)**i: None, Fraction(8, 9)**i: None}:
                try:
                    fitted = golden.fit_scale(spec, round_scale(float(scale * factor)))
                    golden.derive(spec, fitted)
                except ValueError as error:
                    refusal = refusal or error
                else:
                    return fitted
        raise UserError(f"{layer.name}: {refusal}")

    def _calibrated_input_scale(self, layer: FloatLayer) -> Fraction:
        """Return the scale that calibration asks for.

        Of masked scores, those that count decide it; it is coarser only if the lowest code would
        lie less than `MASK_GAP` below the largest score of some row.
        """
        operation = self.graph.operation(layer.source)
        if not isinstance(operation, Mask):
            return self._calibrated_scale(layer.source, layer.source)
        scale = self.calibration.scale(operation.inputs[0])
        largest = float(self.calibration.samples[layer.source].max(axis=-1).min())
        needed = (MASK_GAP - largest) / -self.calibration.format(layer.source).lo
        return scale if scale >= needed else round_scale(needed)

    def _affine(self, name: str, x: _Operand,
                parameters: Callable[[], tuple[np.ndarray, np.ndarray]]) -> _Operand:
        """Matrix multiplication by s8 weights, bias and requantizer.

        Parameters
        ----------
        parameters : gives weight (in, out) and bias (out,).
        """
        scales, fmt = self._target(name)
        return self._once((name, tuple(scales), fmt), x,
                          lambda: self._new_affine(name, x, *parameters(), scales, fmt))

    def _new_affine(self, name: str, x: _Operand, weight: np.ndarray, bias: np.ndarray,
                    scales: list[Fraction], fmt: Format) -> _Operand:
        scales = scales * (weight.shape[1] // len(scales))
        codes, weight_scales = self._weight(name, x, weight, bias, scales)
        operand = self._operand(f"{name}.weight", codes,
                                self.calibration.precision(name).weight_format, weight_scales)
        x = self._product(name, x, operand)
        biases = [round(Fraction(b) / s) for b, s in zip(bias.tolist(), x.scale, strict=True)]
        return self._requantize(x, scales, fmt, biases)

    def _weight(self, name: str, x: _Operand, weight: np.ndarray, bias: np.ndarray,
                scales: Sequence[Fraction]) -> tuple[np.ndarray, tuple[Fraction, ...]]:
        """Return a layer's weight codes and the scale of each output channel.

        The scale is what the scheme wants, and coarser where the bias would not fit the
        accumulator or the requantizer could not hold the ratio. It is finer, and weights clipped,
        only where a unit behind bounds the scale of its input so that the ratio is too large.
        """
        wanted, round_at = self.calibration.weights(name, weight, x.codes)
        weight_scales = tuple(
            min(max(round_scale(max(scale, abs(b) / float(x.scale[0]) / LARGEST_BIAS, TINY)),
                    SMALLEST_RATIO * out_scale / x.scale[0]),
                self._largest_ratio * out_scale / x.scale[0])
            for scale, b, out_scale in zip(wanted.tolist(), bias.tolist(), scales, strict=True))
        return round_at(np.array([float(s) for s in weight_scales])), weight_scales

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
                    bias: Sequence[int] | None = None, lanes: int = 1) -> _Operand:
        """Requantizer from the scales of `x` to `scales`, one or one per channel."""
        spec = dataclasses.replace(self.specs[f"requantize {out}"], lanes=lanes)
        count = max(len(scales), len(x.scale))
        ratios = [s / t for s, t in zip(x.scale * (count // len(x.scale)),
                                        scales * (count // len(scales)), strict=True)]
        try:
            constants, _ = unit("requantize").golden.derive(
                spec, ratios if count > 1 else ratios[0], bias)
        except ValueError as error:
            raise UserError(f"{x.name}: {error}") from None
        return self._unit(f"{x.name}.requantize", "requantize", spec, [x], constants,
                          _one_if_equal(scales))

    def _once(self, key: tuple[Hashable, ...], x: _Operand,
              add: Callable[[], _Operand]) -> _Operand:
        """Add the nodes of a layer; those that another network of the calibration has, as there.

        Parameters
        ----------
        key : layer, method and target: all that decides, beside what the layer reads.
        x : what it reads.
        add : adds the nodes.
        """
        graph = self.nodes, self.values, self.operands

        def find() -> tuple[_Operand, list[dict]]:
            known = [len(part) for part in graph]
            return add(), [dict(islice(part.items(), count, None))
                           for part, count in zip(graph, known, strict=True)]

        read = self.values[x.name]
        operand, added = self.calibration.once(
            (*key, x.name, x.scale, read.format, read.operand, _bytes(x.deferred),
             _bytes(x.codes and x.codes.scales)), find)
        for part, new in zip(graph, added, strict=True):
            part |= new
        return operand

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
        self.nodes[name] = Node(name, op, tuple(x.name for x in inputs), spec, arrays)
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
        self.nodes[name] = Node(name, op, tuple(x.name for x in inputs), attributes=attributes)
        self.values[name] = Value(fmt, shape, scale)
        return _Operand(name, scale)

    def _operand(self, name: str, codes: np.ndarray, fmt: Format,
                 scale: tuple[Fraction, ...]) -> _Operand:
        codes = require(codes.astype(np.int64), fmt, name).astype(storage(fmt))
        self.operands[name] = codes
        self.values[name] = Value(fmt, codes.shape, scale)
        return _Operand(name, scale)


def _specs(graph: Graph, image: Shape, methods: Mapping[str, str],
           activation: Format) -> dict[str, Spec]:
    """Return the build-time numbers of each candidate, and of what every network has."""
    shapes = graph.shapes(image)
    rows = {operator: max((shapes[operation.name][-1] for operation in graph.of(kind)), default=1)
            for operator, kind in (("softmax", Softmax), ("gelu", Gelu), ("layernorm", Norm))}
    width = max([rows["layernorm"], *(operation.width for operation in graph.of(Linear))])
    widths = {"softmax": activation.width, "gelu": activation.width, "layernorm": S16.width}
    specs: dict[str, Spec] = {}
    for name in set(methods.values()):
        chosen = candidate(name)
        specs[name] = chosen.fitted(widths[chosen.operator], rows[chosen.operator])
    spec = UNITS["requantize"].golden.spec()
    channels = max(spec.channels, _power_of_two(width))
    for fmt in (S8, S16, activation):
        specs[f"requantize {fmt}"] = dataclasses.replace(spec, out_width=fmt.width,
                                                         channels=channels)
    spec = UNITS["matmul"].golden.spec()
    for operand in ("linear", "log2"):
        specs[f"matmul {operand}"] = dataclasses.replace(spec, operand=operand)
    return specs


def _power_of_two(value: int) -> int:
    return 1 << math.ceil(math.log2(value))


def _one_if_equal(scales: Sequence[Fraction]) -> tuple[Fraction, ...]:
    return tuple(scales) if len(set(scales)) > 1 else (scales[0],)


def _linear_parameters(operation: Linear, codes: ChannelCodes | None = None,
                       deferred: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return weight (in, out) and bias of a linear layer, for its input as `_Operand` has it."""
    weight, bias = (_array(p) for p in operation.parameters(torch.float64))
    if deferred is not None:
        bias = bias + weight @ deferred
    if codes is not None:
        weight = weight * codes.factors
    return weight.T, bias


def _bytes(array: np.ndarray | None) -> bytes:
    """Return an array as part of a key."""
    return b"" if array is None else array.tobytes()


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().double().numpy()
