"""The float network written out node by node, under the names of the integer network.

It computes what timm's forward pass computes, from the same parameters; `FloatGraph.check` and
the tests compare the two. What an integer value stands for is the float value of the same name.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from vitrtl.sw import structure
from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.architectures.families import describe
from vitrtl.sw.ptq.architectures.graph import Interpreter
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
from vitrtl.sw.ptq.models import FloatModel

__all__ = ["MASKED", "FloatGraph", "FloatInterpreter", "FloatLayer", "FloatObserver",
           "layers_of"]

FloatObserver = Callable[[str, torch.Tensor], None]
"""`observe(name, value)`: called for each value, with a batch axis."""

BATCH = 32
MASKED = -100.0
"""What timm adds to a score that must not count."""
TOLERANCE = 1e-3
"""Largest difference from timm's own logits, relative to their largest; rounding gives 1e-6."""


@dataclasses.dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that offers a choice of method.

    Parameters
    ----------
    name : of the node, and of the value that it computes.
    operator : `softmax`, `gelu` or `layernorm`.
    source : name of the value that it reads.
    gamma, beta : of a LayerNorm, one per channel; empty for the others.
    masked : whether some of a softmax's scores are masked.
    """

    name: str
    operator: str
    source: str
    gamma: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()
    masked: bool = False


def layers_of(model: FloatModel) -> list[FloatLayer]:
    """Return the layers that offer a choice of method, in the order in which they run."""
    layers, graph = [], describe(model.module)
    for operation in graph.operations:
        match operation:
            case Norm(name, (source,), module):
                layers.append(FloatLayer(name, "layernorm", source, tuple(module.weight.tolist()),
                                         tuple(module.bias.tolist())))
            case Softmax(name, (source,)):
                masked = isinstance(graph.operation(source), Mask)
                layers.append(FloatLayer(name, "softmax", source, masked=masked))
            case Gelu(name, (source,)):
                layers.append(FloatLayer(name, "gelu", source))
    return layers


class FloatInterpreter(Interpreter[torch.Tensor]):
    """Computes a description in torch, on whole batches; gradients pass.

    A subclass that computes with something else than the float values and weights overrides
    `seen` and `weights`.
    """

    def seen(self, operation: Operation, value: torch.Tensor) -> torch.Tensor:
        """Return what the operations that follow read in place of a value: here, itself."""
        return value

    def weights(self, operation: Linear) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight (out, in) and bias of a linear layer, its gain multiplied in."""
        return operation.parameters()

    def patch_embed(self, operation: PatchEmbed, image: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, operation.module(image).flatten(2).transpose(1, 2))

    def constant(self, operation: Constant) -> torch.Tensor:
        return self.seen(operation, operation.parameter)

    def linear(self, operation: Linear, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, functional.linear(x, *self.weights(operation)))

    def norm(self, operation: Norm, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, operation.module(x))

    def softmax(self, operation: Softmax, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, x.softmax(dim=-1))

    def gelu(self, operation: Gelu, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, functional.gelu(x))

    def product(self, operation: Product, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        b = b.transpose(-1, -2) if operation.transposed else b
        return self.seen(operation, a @ b * operation.factor)

    def position_bias(self, operation: PositionBias, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, x + operation.bias())

    def mask(self, operation: Mask, x: torch.Tensor) -> torch.Tensor:
        forbidden = ~operation.allowed[:, None]
        return self.seen(operation, x + MASKED * forbidden.to(x.dtype))

    def add(self, operation: Add, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, a + b)

    def concat(self, operation: Concat, x: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, torch.cat([first.expand(len(x), -1, -1), x], dim=1))

    def move(self, operation: Move, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, structure.MOVES[operation.operation](x, operation.attributes))

    def pad(self, operation: Pad, x: torch.Tensor) -> torch.Tensor:
        _, rows, columns, _ = x.shape
        after = (0, 0, 0, operation.columns - columns, 0, operation.rows - rows)
        return self.seen(operation, functional.pad(x, after))

    def average(self, operation: Average, x: torch.Tensor) -> torch.Tensor:
        return self.seen(operation, x.flatten(1, -2).mean(dim=1, keepdim=True))


class FloatGraph:
    """The float network, observable at every value."""

    def __init__(self, model: FloatModel) -> None:
        self.model = model
        self.graph = describe(model.module)

    def run(self, pixels: np.ndarray, observe: FloatObserver | None = None) -> torch.Tensor:
        """Return the logits of u8 images, batch by batch."""
        interpreter = FloatInterpreter() if observe is None else _Observed(observe)
        with torch.inference_mode():
            return torch.cat([self.logits(interpreter, pixels[i:i + BATCH])
                              for i in range(0, len(pixels), BATCH)])

    def logits(self, interpreter: Interpreter[torch.Tensor], pixels: np.ndarray) -> torch.Tensor:
        """Return the logits that an interpreter computes of a batch of u8 images."""
        images = self.model.normalize(torch.from_numpy(pixels))
        return interpreter.interpret(self.graph, images)[:, 0]

    def check(self, pixels: np.ndarray) -> None:
        """Refuse a network whose own forward pass gives other logits: it does more than we know."""
        with torch.inference_mode():
            wanted = self.model.module(self.model.normalize(torch.from_numpy(pixels)))
        difference = (self.run(pixels) - wanted).abs().max() / wanted.abs().max()
        if not difference <= TOLERANCE:
            raise UserError(f"{self.model.name} computes more than its architecture says: its "
                            f"logits differ by {float(difference):.3g} of the largest")

    def layer_values(self, pixels: np.ndarray) -> Iterator[
            tuple[FloatLayer, torch.Tensor, torch.Tensor]]:
        """Yield each layer that offers a choice, with its float input and output on `pixels`."""
        layers = layers_of(self.model)
        wanted = {name for layer in layers for name in (layer.source, layer.name)}
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}

        def observe(name: str, value: torch.Tensor) -> None:
            if name in wanted:
                seen[name].append(value)

        self.run(pixels, observe)
        for layer in layers:
            yield layer, torch.cat(seen[layer.source]), torch.cat(seen[layer.name])


class _Observed(FloatInterpreter):
    """Shows each value that depends on the image, and changes none."""

    def __init__(self, observe: FloatObserver) -> None:
        self.observe = observe

    def seen(self, operation: Operation, value: torch.Tensor) -> torch.Tensor:
        if not isinstance(operation, Constant):
            self.observe(operation.name, value)
        return value
