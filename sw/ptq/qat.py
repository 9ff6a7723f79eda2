"""One epoch of quantization-aware training: the baseline that post-training quantization avoids.

The forward pass rounds as an integer network does: every weight and value to its format, and
softmax, GELU and LayerNorm are the golden functions of the units that the network uses. The
backward pass takes each rounding for the identity (straight-through) and each non-linear unit for
the float operator, as I-ViT trains. Scales of values are the network's and
stay; a weight's scale follows the largest of its channel while it is trained, and biases are not
rounded, so that the pass is near to the integer network's and not equal to it.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.nn import functional

from vitrtl.sw.data import ImageSet
from vitrtl.sw.executor import node_function
from vitrtl.sw.golden.fixed_point import Format, saturate
from vitrtl.sw.network import IntegerNetwork, Value
from vitrtl.sw.ptq.architectures.operations import (
    Gelu,
    Linear,
    Move,
    Norm,
    Operation,
    PatchEmbed,
    Softmax,
)
from vitrtl.sw.ptq.channel_codes import input_factors
from vitrtl.sw.ptq.float_graph import FloatGraph, FloatInterpreter, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.origin import Origin
from vitrtl.sw.ptq.sensitivity import deferred, operand_nodes

__all__ = ["Recipe", "train_quantized", "trained"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of one run.

    Parameters
    ----------
    seed : of the order of the images.
    epochs : passes over the training part.
    batch : images per step.
    rate : learning rate of AdamW, falling linearly to zero.
    """

    seed: int = 0
    epochs: int = 1
    batch: int = 32
    rate: float = 1e-5


def train_quantized(model: FloatModel, network: IntegerNetwork, images: ImageSet,
                    recipe: Recipe = Recipe(),
                    progress: Callable[[int], None] = lambda images: None) -> FloatModel:
    """Return a float network that was trained as the integer network computes.

    Gamma and beta of LayerNorm stay: the constants of its units are made from them.

    Parameters
    ----------
    model : the float network, which is left as it is.
    network : made from it; gives formats, scales and units.
    images : whose training part is learnt.
    recipe : the numbers; equal numbers give equal weights on one machine and thread count.
    progress : called with the number of images done, batch by batch.
    """
    trained = dataclasses.replace(model, module=copy.deepcopy(model.module),
                                  weights=f"{model.weights}, trained quantized")
    graph = FloatGraph(trained)
    interpreter = _Quantized(trained, network)
    for operation in graph.graph.of(Norm):
        operation.module.requires_grad_(False)
    parameters = [p for p in trained.module.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.rate, weight_decay=0.0)
    # RandomState, because NumPy guarantees its stream for every future version.
    random = np.random.RandomState(recipe.seed)
    batches = [batch for _ in range(recipe.epochs) for batch in np.split(
        random.permutation(images.train), range(recipe.batch, len(images.train), recipe.batch))]
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * (1 - step / len(batches))
        logits = graph.logits(interpreter, images.pixels[batch])
        loss = functional.cross_entropy(logits, torch.from_numpy(images.labels[batch]))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        progress(len(batch))
    return trained


def trained(origin: Origin, methods: Mapping[str, str],
            progress: Callable[[int], None] = lambda images: None) -> Origin:
    """Return an origin whose float network was trained with some methods, calibrated anew.

    Parameters
    ----------
    origin : float network, images and scheme.
    methods : candidate of each layer.
    progress : called with the number of images done.
    """
    model = train_quantized(origin.model, origin.network(methods), origin.images,
                            progress=progress)
    return Origin.calibrated(model, origin.images, origin.ids, origin.seed,
                             origin.calibration.scheme)


class _Quantized(FloatInterpreter):
    """Computes with what the integer network's codes stand for."""

    def __init__(self, model: FloatModel, network: IntegerNetwork) -> None:
        self.network = network
        self.deferred = {layer.name: deferred(layer, network) for layer in layers_of(model)}

    def seen(self, operation: Operation, value: torch.Tensor) -> torch.Tensor:
        if isinstance(operation, Move):
            return value
        stands = self._value(operation.name)
        return _rounded(value, stands.scale, stands.format)

    def weights(self, operation: Linear) -> tuple[torch.Tensor, torch.Tensor]:
        weight, bias = operation.parameters()
        # Channels that are coded finer than others meet weights that are as much smaller.
        (source,) = operation.inputs
        factors = input_factors(np.array([float(s) for s in self._value(source).scale]))
        factors = torch.from_numpy(factors).to(weight.dtype)
        return self._rounded_weight(operation.name, weight * factors) / factors, bias

    def patch_embed(self, operation: PatchEmbed, image: torch.Tensor) -> torch.Tensor:
        conv = operation.module
        weight = self._rounded_weight(operation.name, conv.weight.flatten(1))
        tokens = functional.conv2d(image, weight.view_as(conv.weight), conv.bias, conv.stride)
        return self.seen(operation, tokens.flatten(2).transpose(1, 2))

    def norm(self, operation: Norm, x: torch.Tensor) -> torch.Tensor:
        return self._unit(operation, x, operation.module(x))

    def softmax(self, operation: Softmax, x: torch.Tensor) -> torch.Tensor:
        return self._unit(operation, x, x.softmax(dim=-1))

    def gelu(self, operation: Gelu, x: torch.Tensor) -> torch.Tensor:
        return self._unit(operation, x, functional.gelu(x))

    def _value(self, name: str) -> Value:
        """Return the value that the operations behind `name` read."""
        return self.network.values.get(f"{name}.requantize", self.network.values[name])

    def _rounded_weight(self, name: str, weight: torch.Tensor) -> torch.Tensor:
        """Round the weights of each output channel to the codes that its largest allows."""
        fmt = self.network.values[f"{name}.weight"].format
        scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / fmt.hi
        return _straight_through(weight, (weight / scale).round().clamp(fmt.lo, fmt.hi) * scale)

    def _unit(self, operation: Operation, x: torch.Tensor, smooth: torch.Tensor) -> torch.Tensor:
        """Compute with the golden function of a layer's unit; gradients are the operator's."""
        nodes = operand_nodes(self.network, operation.name)
        stands = self.network.values[nodes[0].inputs[0]]
        codes = np.rint(x.detach().double().numpy() / float(stands.scale[0])).astype(np.int64)
        codes = saturate(codes, stands.format)
        for node in nodes:
            codes = node_function(self.network, node)([codes])
        real = self.network.values[nodes[-1].output].real(codes.astype(np.int64))
        real = real + self.deferred[operation.name]
        return _straight_through(smooth, torch.from_numpy(real).to(x.dtype))


def _rounded(value: torch.Tensor, scale: tuple, fmt: Format) -> torch.Tensor:
    """Round a value to what the codes of a format stand for."""
    step = torch.tensor([float(s) for s in scale], dtype=value.dtype)
    return _straight_through(value, (value / step).round().clamp(fmt.lo, fmt.hi) * step)


def _straight_through(smooth: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Return `wanted`, with the gradient of `smooth`."""
    return smooth + (wanted - smooth).detach()
