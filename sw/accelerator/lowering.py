"""From the graph of an integer network to the layers that the accelerator runs.

A vision transformer is one stream of tokens, which attention and multilayer perceptrons read
through a LayerNorm and add to, and which the classifier reads at last. What merely moves integers
(heads, their merging, patches) becomes addresses; a bias, a requantizer and the addition to the
stream are part of the multiplication before them.
"""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from vitrtl.sw.accelerator.spec import ACTIVATION, HALF_WEIGHT, AcceleratorSpec
from vitrtl.sw.catalog import UNITS
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.requantize import RequantizeConstants, RequantizeSpec
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.structure import add

__all__ = ["Attention", "Classifier", "Embedding", "Linear", "Mlp", "Product", "Transformer",
           "Vector", "lower"]

S16 = Format(16, True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Linear:
    """Multiplication by constant weights, with its requantizer and what is added to it.

    Parameters
    ----------
    label : name of the multiplication.
    node : whose value is written, the last of those fused.
    weight : (inner, channels).
    spec, constants : of the requantizer.
    adds : whether the result is added to the stream.
    parts : of the channels, equal ones side by side, which go to places of their own.
    """

    label: str
    node: str
    weight: np.ndarray
    spec: RequantizeSpec
    constants: RequantizeConstants
    adds: bool
    parts: int = 1

    @functools.cached_property
    def short(self) -> bool:
        """Whether all weights have four bits."""
        return bool(HALF_WEIGHT.lo <= self.weight.min() and self.weight.max() <= HALF_WEIGHT.hi)

    def can_pair(self, size: int) -> bool:
        """Whether two weights can be in a byte without a part that ends with half a tile."""
        words = -(-self.weight.shape[1] // (self.parts * size))
        return self.short and words % 2 == 0

    def tile_words(self, spec: AcceleratorSpec) -> int:
        """Return the words of a row's results that the array makes with one tile of weights."""
        return 2 if spec.paired and self.can_pair(spec.size) else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Product:
    """Multiplication of two activations, with its requantizer."""

    label: str
    node: str
    spec: RequantizeSpec
    constants: RequantizeConstants


@dataclasses.dataclass(frozen=True, kw_only=True)
class Vector:
    """A unit of the catalogue and the requantizer behind it.

    Parameters
    ----------
    label : name of the unit's node.
    node : whose value is written.
    unit : its node.
    requantize : the requantizer's node; None if the unit merges it.
    """

    label: str
    node: str
    unit: Node
    requantize: Node | None

    @property
    def channels(self) -> int:
        """How many channels of the requantizer have constants of their own."""
        if self.requantize is None or not self.requantize.unit_constants.per_channel:
            return 1
        return self.requantize.unit_constants.factor.size


@dataclasses.dataclass(frozen=True, kw_only=True)
class Embedding:
    """Patches to stream.

    Parameters
    ----------
    patch : pixels of a patch's side.
    linear : the patch embedding; `adds` if the stream starts from more than the class token.
    start : (tokens, width), s16: the stream before the patches are added.
    first : row of the first patch.
    """

    patch: int
    linear: Linear
    start: np.ndarray
    first: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attention:
    """Multi-head self-attention; queries, keys and values are parts of one multiplication.

    Parameters
    ----------
    heads : number of them.
    parts : parts of `qkv` that hold queries, keys and values.
    """

    norm: Vector
    qkv: Linear
    heads: int
    parts: tuple[int, int, int]
    scores: Product
    softmax: Vector
    context: Product
    proj: Linear


@dataclasses.dataclass(frozen=True, kw_only=True)
class Mlp:
    """Multilayer perceptron of two linear layers."""

    norm: Vector
    fc1: Linear
    gelu: Vector
    fc2: Linear


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classifier:
    """Tokens to logits.

    Parameters
    ----------
    token, count : which tokens are read.
    """

    token: int
    count: int
    norm: Vector
    head: Linear


@dataclasses.dataclass(frozen=True, kw_only=True)
class Transformer:
    """A vision transformer as the accelerator runs it.

    Parameters
    ----------
    tokens, width : of the stream.
    activation_width : bits of what the array writes for others to read.
    """

    tokens: int
    width: int
    activation_width: int
    embedding: Embedding
    layers: tuple[Attention | Mlp, ...]
    classifier: Classifier

    @property
    def vectors(self) -> list[Vector]:
        """Every vector operation, in order."""
        found = []
        for layer in self.layers:
            found.append(layer.norm)
            found.append(layer.softmax if isinstance(layer, Attention) else layer.gelu)
        return [*found, self.classifier.norm]


def lower(network: IntegerNetwork) -> Transformer:
    """Return the layers of a network.

    Raises
    ------
    UserError
        Naming the first node that the accelerator cannot run, and why.
    """
    return _Lowering(network).transformer()


class _Lowering:
    """Follows the values of a network from the image on."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.readers: dict[str, list[Node]] = {}
        for node in network.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.narrow: dict[str, RequantizeSpec] = {}
        self.lowered: set[str] = set()

    def transformer(self) -> Transformer:
        for node in self.network.nodes:
            self._check_supported(node)
        embedding, stream = self._embedding()
        layers = []
        while (layer := self._layer(stream)) is not None:
            layers.append(layer)
            last = layer.proj if isinstance(layer, Attention) else layer.fc2
            stream = last.node
        classifier = self._classifier(stream)
        for node in self.network.nodes:
            if node.name not in self.lowered:
                raise _cannot(node, "must be part of a vision transformer's stream of tokens")
        widths = {spec.out_width for spec in self.narrow.values()}
        if len(widths) > 1:
            name, spec = next((n, s) for n, s in self.narrow.items() if s.out_width != max(widths))
            raise _cannot(self.network.node(name), "must give as many bits as the array's other "
                          f"results, {max(widths)}, not {spec.out_width}")
        tokens, width = embedding.start.shape
        return Transformer(tokens=tokens, width=width,
                           activation_width=max(widths, default=8), embedding=embedding,
                           layers=tuple(layers), classifier=classifier)

    def _check_supported(self, node: Node) -> None:
        """Refuse what no layer can hold, so that the message names the cause."""
        if node.op in UNITS or node.op in ("center", "patchify", "concat", "add", "heads", "merge",
                                           "select", "flatten"):
            if self.network.values[node.name].operand != "linear":
                raise _cannot(node, "must give linear codes, not "
                              f"{self.network.values[node.name].operand}")
            return
        raise _cannot(node, "must be a unit with gates, a patch, a concatenation, an addition or "
                      f"a move of attention heads, not {node.op}")

    def _take(self, *nodes: Node) -> None:
        self.lowered.update(node.name for node in nodes)

    def _only_reader(self, name: str, *ops: str) -> Node:
        """Return the one node that reads a value, which must be one of some operations."""
        readers = self.readers.get(name, [])
        if len(readers) != 1:
            raise _cannot(self._producer(name), "must have a result that one node reads, not "
                          f"{len(readers)}")
        if readers[0].op not in ops:
            raise _cannot(readers[0], f"must be {' or '.join(ops)} behind {name}, not "
                          f"{readers[0].op}")
        self._take(readers[0])
        return readers[0]

    def _producer(self, name: str) -> Node:
        return (self.network.nodes[0] if name in (self.network.input, *self.network.operands)
                else self.network.node(name))

    def _constant(self, node: Node, place: int = 1) -> np.ndarray:
        """Return a constant operand of a node."""
        name = node.inputs[place]
        if name not in self.network.operands:
            raise _cannot(node, f"must have a constant as input {place + 1}, not {name}")
        return self.network.operands[name]

    def _embedding(self) -> tuple[Embedding, str]:
        """Return the embedding and the name of the stream's first value."""
        center = self._only_reader(self.network.input, "center")
        patchify = self._only_reader(center.output, "patchify")
        product = self._only_reader(patchify.output, "matmul")
        linear, last = self._linear(product, wide=True)
        patches, width = self.network.values[last.output].shape
        # The patches are the one unknown: everything that joins them is a constant.
        start, first, adds = np.zeros((patches, width), np.int16), 0, False
        while len(readers := self.readers.get(last.output, [])) == 1 and readers[0].op in (
                "concat", "add"):
            (node,) = readers
            constant = self._constant(node, 1 - node.inputs.index(last.output))
            if node.op == "concat":
                if node.inputs[0] != last.output:
                    raise _cannot(node, "must put constant tokens before the patches")
                start = np.concatenate([constant.astype(np.int16), start])
                first += len(constant)
            elif adds:
                raise _cannot(node, "must be the only addition to the patches, since each "
                              "saturates")
            else:
                start = add([start, np.broadcast_to(constant, start.shape)], {})
                adds = True
            self._take(node)
            last = node
        linear = dataclasses.replace(linear, node=last.output, adds=adds)
        return Embedding(patch=patchify.attributes["patch"], linear=linear, start=start,
                         first=first), last.output

    def _layer(self, stream: str) -> Attention | Mlp | None:
        """Return the layer that reads a value of the stream and adds to it; None if none does."""
        readers = self.readers.get(stream, [])
        adds = [node for node in readers if node.op == "add"]
        if not adds:
            return None
        norms = [node for node in readers if node not in adds]
        if len(adds) != 1 or len(norms) != 1:
            raise _cannot(self._producer(stream), "must have a result that a LayerNorm and an "
                          f"addition read, not {', '.join(node.op for node in readers)}")
        norm, last = self._vector(norms[0], "layernorm")
        linear, last = self._linear(self._only_reader(last.output, "matmul"))
        readers = self.readers.get(last.output, [])
        if readers and readers[0].op == "heads":
            return self._attention(norm, linear, last, readers, stream)
        gelu, last = self._vector(self._only_reader(last.output, *_units("gelu")), "gelu")
        fc2 = self._addition(last.output, stream)
        return Mlp(norm=norm, fc1=linear, gelu=gelu, fc2=fc2)

    def _attention(self, norm: Vector, qkv: Linear, last: Node, moves: Sequence[Node],
                   stream: str) -> Attention:
        if len(moves) != 3 or any(move.op != "heads" for move in moves):
            raise _cannot(last, "must be read as queries, keys and values, not by "
                          f"{', '.join(move.op for move in moves)}")
        self._take(*moves)
        scores = self._only_reader(moves[0].output, "matmul")
        if scores.inputs != (moves[0].output, moves[1].output) or not (
                scores.unit_constants.transposed):
            raise _cannot(scores, "must be queries by keys, transposed, not "
                          f"{' by '.join(scores.inputs)}")
        if self._only_reader(moves[1].output, "matmul") is not scores:
            raise _cannot(moves[1], f"must be read by {scores.name} alone")
        product, last = self._product(scores)
        softmax, last = self._vector(self._only_reader(last.output, *_units("softmax")), "softmax")
        context = self._only_reader(last.output, "matmul")
        if context.inputs != (last.output, moves[2].output) or context.unit_constants.transposed:
            raise _cannot(context, "must be weights by values, not "
                          f"{' by '.join(context.inputs)}")
        if self._only_reader(moves[2].output, "matmul") is not context:
            raise _cannot(moves[2], f"must be read by {context.name} alone")
        mixed, last = self._product(context)
        merged = self._only_reader(last.output, "merge")
        counts = {(move.attributes["heads"], move.attributes["parts"]) for move in moves}
        if len(counts) != 1:
            raise _cannot(moves[0], "must have as many heads and parts as keys and values have")
        ((heads, parts),) = counts
        qkv = dataclasses.replace(qkv, parts=heads * parts)
        return Attention(norm=norm, qkv=qkv, heads=heads,
                         parts=tuple(move.attributes["part"] for move in moves), scores=product,
                         softmax=softmax, context=mixed,
                         proj=self._addition(merged.output, stream))

    def _classifier(self, stream: str) -> Classifier:
        tokens = self.network.values[stream].shape[0]
        token, count, value = 0, tokens, stream
        if (readers := self.readers.get(value, [])) and readers[0].op == "select":
            node = self._only_reader(value, "select")
            token, count = node.attributes["token"], node.attributes.get("count", 1)
            value = node.output
        norm, last = self._vector(self._only_reader(value, *_units("layernorm")), "layernorm")
        value = last.output
        reader = self._only_reader(value, "flatten", "matmul")
        if reader.op == "flatten":
            value = reader.output
            reader = self._only_reader(value, "matmul")
        if self.network.values[value].shape[0] != 1:
            raise _cannot(reader, "must have one row, not "
                          f"{self.network.values[value].shape[0]}")
        head, last = self._linear(reader, wide=True)
        if last.output != self.network.output:
            raise _cannot(last, "must be the network's last node")
        return Classifier(token=token, count=count, norm=norm, head=head)

    def _addition(self, name: str, stream: str) -> Linear:
        """Return the linear layer that reads a value and adds to the stream."""
        linear, last = self._linear(self._only_reader(name, "matmul"), wide=True)
        node = self._only_reader(last.output, "add")
        if sorted(node.inputs) != sorted((stream, last.output)):
            raise _cannot(node, f"must add {last.output} to {stream}, not "
                          f"{' to '.join(node.inputs)}")
        return dataclasses.replace(linear, node=node.output, adds=True)

    def _linear(self, node: Node, wide: bool = False) -> tuple[Linear, Node]:
        """Return a multiplication by constant weights, and its requantizer."""
        self._take(node)
        weight = self._constant(node)
        if weight.ndim != 2:
            raise _cannot(node, f"must have a weight for all rows, not of shape {weight.shape}")
        if node.unit_constants.transposed:
            weight = weight.T
        product, last = self._product(node, wide)
        return Linear(label=node.name, node=last.output, weight=weight,
                      spec=product.spec, constants=product.constants, adds=False), last

    def _product(self, node: Node, wide: bool = False) -> tuple[Product, Node]:
        """Return a multiplication with its requantizer, whose results are s16 if `wide`."""
        spec = node.spec
        if spec.operand != "linear" or spec.in_width > 8 or spec.weight_width > 8:
            raise _cannot(node, "must multiply linear codes of 8 bits at most, not "
                          f"{spec.in_format} {spec.operand} by {spec.weight_format}")
        last = self._only_reader(node.output, "requantize")
        given, array = last.spec, RequantizeSpec()
        for name in ("in_width", "multiplier_width", "shift_min", "shift_step", "shift_count"):
            if getattr(given, name) != getattr(array, name):
                raise _cannot(last, f"must have {name} {getattr(array, name)} as the array's, not "
                              f"{getattr(given, name)}")
        if wide and given.out_format != S16:
            raise _cannot(last, f"must give {S16} to the stream or the logits, not "
                          f"{given.out_format}")
        if not wide:
            if given.out_width > 8:
                raise _cannot(last, f"must give 8 bits at most, not {given.out_width}")
            self.narrow[last.name] = given
        return Product(label=node.name, node=last.output, spec=given,
                       constants=last.unit_constants), last

    def _vector(self, node: Node, operator: str) -> tuple[Vector, Node]:
        """Return a unit with the requantizer that it needs, and the last node of the two."""
        self._take(node)
        if node.op not in _units(operator):
            raise _cannot(node, f"must be a {operator} with gates")
        readers = self.readers.get(node.output, [])
        requantize, last = None, node
        if [reader.op for reader in readers] == ["requantize"]:
            requantize = last = self._only_reader(node.output, "requantize")
        fmt = self.network.values[last.output].format
        if not (ACTIVATION.lo <= fmt.lo and fmt.hi <= ACTIVATION.hi):
            raise _cannot(last, f"must give codes that fit {ACTIVATION}, not {fmt}")
        return Vector(label=node.name, node=last.output, unit=node, requantize=requantize), last


def _units(operator: str) -> list[str]:
    """Return the names of an operator's units."""
    return [name for name, unit in UNITS.items() if unit.operator == operator]


def _cannot(node: Node, rule: str) -> UserError:
    return UserError(f"accelerator cannot run node {node.name} ({node.op}): it {rule}")
