"""A float vision transformer as a graph of operations, and what walks it."""

import abc
import dataclasses
from typing import Generic, TypeVar

from vitrtl.sw import structure
from vitrtl.sw.golden.fixed_point import Format
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

__all__ = ["IMAGE", "Graph", "Interpreter", "Shape"]

IMAGE = "image"
"""Name of the value that holds the pixels."""

Shape = tuple[int, ...]
V = TypeVar("V")


class Graph:
    """Operations in an order in which they can run; the last one computes the logits.

    An architecture adds them one by one:

    >>> graph = Graph()
    >>> x = graph.add(PatchEmbed("patch_embed", (IMAGE,), conv))
    >>> x = graph.add(Norm("norm", (x,), norm))
    """

    def __init__(self) -> None:
        self._operations: dict[str, Operation] = {}
        self._readers: dict[str, list[Operation]] = {IMAGE: []}

    def add(self, operation: Operation) -> str:
        """Add an operation whose inputs are there already; return the name of its value."""
        if operation.name in self._readers:
            raise ValueError(f"value {operation.name} must be computed once")
        for name in operation.inputs:
            self._readers[name].append(operation)
        self._operations[operation.name] = operation
        self._readers[operation.name] = []
        return operation.name

    @property
    def operations(self) -> list[Operation]:
        """All operations."""
        return list(self._operations.values())

    @property
    def output(self) -> str:
        """Name of the value that holds the logits."""
        return next(reversed(self._operations))

    def of(self, kind: type[Operation]) -> list:
        """Return the operations of a kind."""
        return [operation for operation in self._operations.values()
                if isinstance(operation, kind)]

    def operation(self, name: str) -> Operation:
        """Return the operation that computes a value."""
        return self._operations[name]

    def readers(self, name: str) -> list[Operation]:
        """Return the operations that read a value."""
        return self._readers[name]

    def streams(self) -> list[tuple[str, ...]]:
        """Return the groups of values that must have one scale.

        These are the values that are added or put beside each other, and whatever a LayerNorm
        reads; moves and padding excepted, which keep the scale that they find.
        """
        group: dict[str, list[str]] = {}

        def join(names: list[str]) -> None:
            together: list[str] = []
            for name in names:
                while isinstance(operation := self._operations[name], (Move, Pad)):
                    (name,) = operation.inputs
                if name not in together:
                    together += [n for n in group.get(name, [name]) if n not in together]
            group.update(dict.fromkeys(together, together))

        for operation in self._operations.values():
            if isinstance(operation, (Add, Concat)):
                join([*operation.inputs, operation.name])
            elif isinstance(operation, Norm):
                join(list(operation.inputs))
        return [tuple(names) for names in {id(names): names for names in group.values()}.values()]

    def shapes(self, image: Shape) -> dict[str, Shape]:
        """Return the shape of each value, no batch axis, for an image of a shape."""
        shapes = _Shapes()
        shapes.interpret(self, image)
        return shapes.seen


class Interpreter(abc.ABC, Generic[V]):
    """What computes something from each operation in turn, by one method for each kind.

    A method takes the operation and what the methods returned for its inputs.
    """

    def interpret(self, graph: Graph, image: V) -> V:
        """Walk the graph from the image to the logits; return what the last method returned."""
        values = {IMAGE: image}
        unread = {name: len(graph.readers(name))
                  for name in (IMAGE, *(operation.name for operation in graph.operations))}
        for operation in graph.operations:
            inputs = [values[name] for name in operation.inputs]
            values[operation.name] = getattr(self, operation.method)(operation, *inputs)
            for name in operation.inputs:
                unread[name] -= 1
                if not unread[name]:
                    del values[name]
        return values[graph.output]

    @abc.abstractmethod
    def patch_embed(self, operation: PatchEmbed, image: V) -> V:
        """Interpret the image's way to tokens."""

    @abc.abstractmethod
    def constant(self, operation: Constant) -> V:
        """Interpret a parameter."""

    @abc.abstractmethod
    def linear(self, operation: Linear, x: V) -> V:
        """Interpret a linear layer."""

    @abc.abstractmethod
    def norm(self, operation: Norm, x: V) -> V:
        """Interpret a LayerNorm."""

    @abc.abstractmethod
    def softmax(self, operation: Softmax, x: V) -> V:
        """Interpret a softmax."""

    @abc.abstractmethod
    def gelu(self, operation: Gelu, x: V) -> V:
        """Interpret a GELU."""

    @abc.abstractmethod
    def product(self, operation: Product, a: V, b: V) -> V:
        """Interpret a product of two values."""

    @abc.abstractmethod
    def position_bias(self, operation: PositionBias, x: V) -> V:
        """Interpret what scores gain by their places."""

    @abc.abstractmethod
    def mask(self, operation: Mask, x: V) -> V:
        """Interpret which scores count."""

    @abc.abstractmethod
    def add(self, operation: Add, a: V, b: V) -> V:
        """Interpret a sum."""

    @abc.abstractmethod
    def concat(self, operation: Concat, x: V, first: V) -> V:
        """Interpret tokens that come first."""

    @abc.abstractmethod
    def move(self, operation: Move, x: V) -> V:
        """Interpret a move."""

    @abc.abstractmethod
    def pad(self, operation: Pad, x: V) -> V:
        """Interpret zeros around a grid."""

    @abc.abstractmethod
    def average(self, operation: Average, x: V) -> V:
        """Interpret the mean of all tokens."""


@dataclasses.dataclass
class _Shapes(Interpreter[Shape]):
    """The shape of each value."""

    seen: dict[str, Shape] = dataclasses.field(default_factory=dict)

    def _is(self, operation: Operation, shape: Shape) -> Shape:
        self.seen[operation.name] = shape
        return shape

    def patch_embed(self, operation: PatchEmbed, image: Shape) -> Shape:
        _, height, width = image
        rows, columns = operation.module.kernel_size
        return self._is(operation, ((height // rows) * (width // columns),
                                    operation.module.out_channels))

    def constant(self, operation: Constant) -> Shape:
        return self._is(operation, tuple(operation.parameter.shape[1:]))

    def linear(self, operation: Linear, x: Shape) -> Shape:
        return self._is(operation, (*x[:-1], operation.width))

    def norm(self, operation: Norm, x: Shape) -> Shape:
        return self._is(operation, x)

    def softmax(self, operation: Softmax, x: Shape) -> Shape:
        return self._is(operation, x)

    def gelu(self, operation: Gelu, x: Shape) -> Shape:
        return self._is(operation, x)

    def product(self, operation: Product, a: Shape, b: Shape) -> Shape:
        return self._is(operation, (*a[:-1], b[-2 if operation.transposed else -1]))

    def position_bias(self, operation: PositionBias, x: Shape) -> Shape:
        return self._is(operation, x)

    def mask(self, operation: Mask, x: Shape) -> Shape:
        return self._is(operation, x)

    def add(self, operation: Add, a: Shape, b: Shape) -> Shape:
        return self._is(operation, a)

    def concat(self, operation: Concat, x: Shape, first: Shape) -> Shape:
        return self._is(operation, (first[0] + x[0], x[1]))

    def move(self, operation: Move, x: Shape) -> Shape:
        rule = structure.OPERATIONS[operation.operation].result
        return self._is(operation, rule([(Format(8, True), x)], operation.attributes)[1])

    def pad(self, operation: Pad, x: Shape) -> Shape:
        return self._is(operation, (operation.rows, operation.columns, x[-1]))

    def average(self, operation: Average, x: Shape) -> Shape:
        return self._is(operation, (1, x[-1]))
