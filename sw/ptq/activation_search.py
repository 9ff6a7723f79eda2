"""Range of an activation by what its rounding does to the operation that reads it."""

from collections.abc import Callable, Mapping

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
from vitrtl.sw.ptq.float_graph import FloatInterpreter

__all__ = ["SHARES", "ActivationSearch", "rounded"]

SHARES = tuple(2.0 ** (-i / 6) for i in range(25))
"""Candidate ranges, as shares of the largest magnitude: a sixth of an octave apart, down to
1/16."""


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
        self._judge(operation, 0, x, lambda rounded: rounded @ weight.T)
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
        self._judge(operation, 0, a, lambda rounded: rounded @ right)
        self._judge(operation, 1, right, lambda rounded: a @ rounded)
        return super().product(operation, a, b)

    def _judge(self, operation: Operation, place: int, x: torch.Tensor,
               output: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """Add up what each candidate range of an input does to the output."""
        name = self._ranged(operation.inputs[place])
        wanted = output(x)
        power = float(wanted.square().sum())
        if not power or not self.largest[name]:
            return
        steps = (1 << (self.bits(name) - 1)) - 1
        errors = [float((output(rounded(x, self.largest[name] * share, steps)) - wanted)
                        .square().sum()) / power for share in SHARES]
        self._errors[name] = self._errors.get(name, 0.0) + np.array(errors)

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


def rounded(x: torch.Tensor, limit: float, steps: int) -> torch.Tensor:
    """Return the values that symmetric codes of a range stand for."""
    scale = limit / steps
    return (x / scale).round_().clamp_(-steps, steps).mul_(scale)
