"""Range of an activation by what its rounding does to what reads it, or to the logits."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch.nn import functional

from vitrtl.sw.fast.float_kernels import element_shifts, linear_shifts, softmax_shifts
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
        self._judge(operation, 0, x, lambda rounded: rounded @ weight.T)
        return super().linear(operation, x)

    def softmax(self, operation: Softmax, x: torch.Tensor) -> torch.Tensor:
        # Of masked scores the observer sees those that count; what is masked has no range.
        if not isinstance(self.graph.operation(operation.inputs[0]), Mask):
            self._judge(operation, 0, x, lambda rounded: rounded.softmax(dim=-1))
        return super().softmax(operation, x)

    def gelu(self, operation: Gelu, x: torch.Tensor) -> torch.Tensor:
        self._judge(operation, 0, x, functional.gelu)
        return super().gelu(operation, x)

    def product(self, operation: Product, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        def turned(value: torch.Tensor) -> torch.Tensor:
            return value.transpose(-1, -2) if operation.transposed else value

        self._judge(operation, 0, a, lambda rounded: rounded @ turned(b))
        self._judge(operation, 1, b, lambda rounded: a @ turned(rounded))
        return super().product(operation, a, b)

    def _judge(self, operation: Operation, place: int, x: torch.Tensor, output: _Change) -> None:
        """Add up what each candidate range of an input does.

        Parameters
        ----------
        operation, place : which input, `x`.
        output : of the operation, from the input.
        """
        name = self._ranged(operation.inputs[place])
        if not x.any() or not self.largest[name]:
            return
        steps = (1 << (self.bits(name) - 1)) - 1
        limits = [self.largest[name] * share for share in SHARES]
        errors = self._weighed(operation, place, x, limits, steps, output)
        self._errors[name] = self._errors.get(name, 0.0) + errors

    def _weighed(self, operation: Operation, place: int, x: torch.Tensor,
                 limits: Sequence[float], steps: int, output: _Change) -> np.ndarray:
        """Return what it counts that an input takes the codes `-steps` to `steps` of each range."""
        wanted = output(x)
        power = float(wanted.square().sum())
        return np.array([float((output(rounded(x, limit, steps)) - wanted).square().sum()) / power
                         if power else 0.0 for limit in limits])

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
        operations = graph.graph.operations
        self._wanted = dict.fromkeys(_differentiated(operation, place) for operation in operations
                                     if isinstance(operation, (Linear, Softmax, Gelu, Product))
                                     for place in range(len(operation.inputs)))
        self._logits = LogitGradients(graph, list(self._wanted))
        self._gradients: dict[str, np.ndarray] = {}

    @property
    def gradient_elements(self) -> int:
        """Elements of an image's gradients, all of which are held at a time."""
        shapes = self.graph.shapes(self._float.model.input_shape)
        classes = shapes[self.graph.output][-1]
        return self._logits.probes(classes) * sum(
            int(np.prod(shapes[name])) for name in self._wanted)

    def prepare(self, pixels: np.ndarray) -> None:
        """Find the gradients of the batch of u8 images that is computed next."""
        self._gradients = self._logits.of(pixels)

    def _weighed(self, operation: Operation, place: int, x: torch.Tensor,
                 limits: Sequence[float], steps: int, output: _Change) -> np.ndarray:
        gradient = self._gradients[_differentiated(operation, place)]
        gradient = np.ascontiguousarray(gradient.reshape(*gradient.shape[:2], -1))
        scales = (np.array(limits) / steps).astype(np.float32)
        shifts = np.zeros((len(x), len(scales), len(gradient)))
        match operation:
            case Softmax():
                # Codes below the largest of their row, whose exponential then cancels.
                below = np.arange(2 * steps + 1, dtype=np.float32)
                softmax_shifts(_rows(x), _rows(output(x)), scales, np.float32(steps),
                               np.exp(-scales[:, np.newaxis] * below), gradient, shifts)
            case Gelu():
                codes = np.arange(steps, -steps - 1, -1, dtype=np.float32)
                table = output(torch.from_numpy(scales[:, np.newaxis] * codes)).numpy()
                element_shifts(_flat(x), _flat(output(x)), scales, np.float32(steps), table,
                               gradient, shifts)
            case _:
                linear_shifts(_flat(x), scales, np.float32(steps), gradient, shifts)
        return np.square(shifts).sum(axis=(0, 2))


def rounded(x: torch.Tensor, limit: float, steps: int) -> torch.Tensor:
    """Return the values that symmetric codes of a range stand for."""
    scale = limit / steps
    return (x / scale).round_().clamp_(-steps, steps).mul_(scale)


def _differentiated(operation: Operation, place: int) -> str:
    """Return the value by which the logits' gradient tells what an error of an input does.

    Where the operation is linear in the input, that is the input itself.
    """
    return operation.inputs[place] if isinstance(operation, (Linear, Product)) else operation.name


def _flat(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1).contiguous().numpy()


def _rows(x: torch.Tensor) -> np.ndarray:
    return x.flatten(1, -2).contiguous().numpy()
