"""Range of an activation by what its rounding does to what reads it, or to the logits."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import torch

from vitrtl.sw.ptq.architectures.graph import Graph
from vitrtl.sw.ptq.architectures.operations import (
    Gelu,
    Linear,
    Mask,
    Move,
    Operation,
    Pad,
    Product,
    Softmax,
)
from vitrtl.sw.ptq.float_graph import FloatGraph, FloatInterpreter
from vitrtl.sw.ptq.logit_gradients import LogitGradients

__all__ = ["SHARES", "ActivationSearch", "LogitSearch", "rounded"]

SHARES = tuple(2.0 ** (-i / 6) for i in range(25))
"""Candidate ranges, as shares of the largest magnitude: a sixth of an octave apart, down to
1/16."""


_Change = Callable[[torch.Tensor], torch.Tensor]


class ActivationSearch(FloatInterpreter):
    """Computes a float network, and beside it what each operand's candidate ranges disturb.

    Operands are what linear layers, products, softmax and GELU read. For each candidate the
    operand alone is rounded, and the squared error of the operation's output added up; over
    several readers, each in proportion to its own output.

    Parameters
    ----------
    graph : the float network.
    largest : largest magnitude of each value.
    bits : of each value's codes.
    """

    def __init__(self, graph: Graph, largest: Mapping[str, float],
                 bits: Callable[[str], int]) -> None:
        self.graph = graph
        self.largest = largest
        self.bits = bits
        self._errors: dict[str, np.ndarray] = {}

    @property
    def limits(self) -> dict[str, float]:
        """Range of least error of each operand that was seen, by the value's name."""
        return {name: self.largest[name] * SHARES[int(errors.argmin())]
                for name, errors in self._errors.items()}

    def linear(self, operation: Linear, x: torch.Tensor) -> torch.Tensor:
        weight, _ = self.weights(operation)
        self._judge(operation, 0, x, lambda rounded: rounded @ weight.T, lambda g: g @ weight)
        return super().linear(operation, x)

    def softmax(self, operation: Softmax, x: torch.Tensor) -> torch.Tensor:
        # Of masked scores the observer sees those that count; what is masked has no range.
        if not isinstance(self.graph.operation(operation.inputs[0]), Mask):
            self._judge(operation, 0, x, lambda rounded: rounded.softmax(dim=-1))
        return super().softmax(operation, x)

    def gelu(self, operation: Gelu, x: torch.Tensor) -> torch.Tensor:
        self._judge(operation, 0, x, torch.nn.functional.gelu)
        return super().gelu(operation, x)

    def product(self, operation: Product, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        right = b.transpose(-1, -2) if operation.transposed else b
        factor = operation.factor
        self._judge(operation, 0, a, lambda rounded: rounded @ right,
                    lambda g: g @ right.transpose(-1, -2) * factor)
        self._judge(operation, 1, right, lambda rounded: a @ rounded,
                    lambda g: a.transpose(-1, -2) @ g * factor)
        return super().product(operation, a, b)

    def _judge(self, operation: Operation, place: int, x: torch.Tensor, output: _Change,
               pull: _Change | None = None) -> None:
        """Add up what each candidate range of an input does.

        Parameters
        ----------
        operation, place : which input, `x`.
        output : of the operation, from the input.
        pull : from a gradient by the output to that by the input, where the output is linear.
        """
        name = self._ranged(operation.inputs[place])
        if not x.any() or not self.largest[name]:
            return
        steps = (1 << (self.bits(name) - 1)) - 1
        codes = (rounded(x, self.largest[name] * share, steps) for share in SHARES)
        errors = self._weighed(operation, x, codes, output, pull)
        self._errors[name] = self._errors.get(name, 0.0) + np.array(errors)

    def _weighed(self, operation: Operation, x: torch.Tensor, candidates: Iterable[torch.Tensor],
                 output: _Change, pull: _Change | None) -> list[float]:
        """Return what it counts that candidates take an input's place."""
        wanted = output(x)
        power = float(wanted.square().sum())
        return [float((output(each) - wanted).square().sum()) / power if power else 0.0
                for each in candidates]

    def _ranged(self, name: str) -> str:
        """Return the value whose range decides that of a value: moves keep what they find.

        A part of a joint layer's output has a range of its own.
        """
        while isinstance(operation := self.graph.operation(name), (Move, Pad)):
            (source,) = operation.inputs
            producer = self.graph.operation(source)
            if isinstance(producer, Linear) and name in producer.parts:
                break
            name = source
        return name


class LogitSearch(ActivationSearch):
    """The same, where an error counts by what it makes of the logits, to first order.

    Parameters
    ----------
    graph : the float network.
    largest : largest magnitude of each value.
    bits : of each value's codes.
    """

    def __init__(self, graph: FloatGraph, largest: Mapping[str, float],
                 bits: Callable[[str], int]) -> None:
        super().__init__(graph.graph, largest, bits)
        self._float = graph
        self._readers = [operation.name for operation in graph.graph.operations
                         if isinstance(operation, (Linear, Softmax, Gelu, Product))]
        self._logits = LogitGradients(graph, self._readers)
        self._gradients: dict[str, np.ndarray] = {}

    @property
    def gradient_elements(self) -> int:
        """Elements of an image's gradients, all of which are held at a time."""
        shapes = self.graph.shapes(self._float.model.input_shape)
        classes = shapes[self.graph.output][-1]
        return self._logits.probes(classes) * sum(
            int(np.prod(shapes[name])) for name in self._readers)

    def prepare(self, pixels: np.ndarray) -> None:
        """Find the gradients of the batch of u8 images that is computed next."""
        self._gradients = self._logits.of(pixels)

    def _weighed(self, operation: Operation, x: torch.Tensor, candidates: Iterable[torch.Tensor],
                 output: _Change, pull: _Change | None) -> list[float]:
        gradient = torch.from_numpy(self._gradients[operation.name])
        if pull is None:
            wanted = output(x)
            errors = (output(each) - wanted for each in candidates)
        else:
            # The gradient goes through the operation once, instead of each error.
            gradient = pull(gradient)
            errors = (each - x for each in candidates)
        gradient = gradient.flatten(2)
        # All errors in one product: images, errors by elements.
        together = torch.stack([error.flatten(1) for error in errors], dim=1)
        shifts = together @ gradient.permute(1, 2, 0)
        return shifts.double().square().sum(dim=(0, 2)).tolist()


def rounded(x: torch.Tensor, limit: float, steps: int) -> torch.Tensor:
    """Return the values that symmetric codes of a range stand for."""
    scale = limit / steps
    return (x / scale).round_().clamp_(-steps, steps).mul_(scale)
