"""How much each method of each layer disturbs the network: measured once, read by every search.

Each candidate is measured twice on the same images, against the float network.

*In the network*, as in Mixed Non-linear Quantization: it runs in an integer network that uses it
for every layer of its operator, the rest unchanged. Input and output codes carry the error of
all that came before, and SQNR diff, ASQNR in minus ASQNR out, is what the layer loses of it.

*Alone*, for IPTQ-ViT's metric: it runs on the float network's input of the layer, rounded to the
codes of the integer network. The error is the method's own and depends on no other layer's
method, so a later search may add the perturbations of several layers.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vitrtl.sw.catalog import OPERATORS, methods_of, unit
from vitrtl.sw.executor import Executor
from vitrtl.sw.fast import fast_path
from vitrtl.sw.golden.fixed_point import saturate
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.ptq.calibration import Calibration
from vitrtl.sw.ptq.float_graph import BATCH, FloatGraph, FloatLayer, layers_of
from vitrtl.sw.ptq.metrics import NoiseMeter
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.quantize import deferred_beta, export

__all__ = ["CandidateNetworks", "Sensitivity", "measure", "operand_nodes"]

DIGITS = 6
"""Significant digits that are kept, so that what a file holds is what the choice was made from."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What one method does to one layer.

    Parameters
    ----------
    layer, operator, unit : which layer, and the candidate.
    spec_digest : of the candidate's build-time numbers, the key to its cost.
    in_scale : scale of the input codes; a unit that refuses the calibrated one has a larger.
    rows, row_length : rows of an image, and elements of a row: what the unit has to do.
    asqnr_in, asqnr_out : of the layer's input and output in the network, as the Mixed paper
        defines them (twice the usual decibels).
    sqnr_diff : `asqnr_in - asqnr_out`, what the layer loses. The paper prints the difference the
        other way round and yet chooses the lowest; its quoted values fit this sign.
    sqnr : of the output, the method alone, decibels.
    perturbation_mean, perturbation_sum : squared error of the output, the method alone, of an
        element and of an image.
    """

    layer: str
    operator: str
    unit: str
    spec_digest: str
    in_scale: float
    rows: int
    row_length: int
    asqnr_in: float
    asqnr_out: float
    sqnr_diff: float
    sqnr: float
    perturbation_mean: float
    perturbation_sum: float


class CandidateNetworks:
    """For each candidate unit the integer network that uses it for every layer of its operator.

    Parameters
    ----------
    model, calibration : what the networks are made from.
    base : unit of every layer, for the layers of the other operators.
    """

    def __init__(self, model: FloatModel, calibration: Calibration,
                 base: Mapping[str, str]) -> None:
        self.model = model
        self.layers = layers_of(model)
        self.by_unit: dict[str, IntegerNetwork] = {}
        made: dict[tuple[str, ...], IntegerNetwork] = {}
        for operator in OPERATORS:
            for candidate in methods_of(operator):
                methods = {layer.name: candidate.name if layer.operator == operator
                           else base[layer.name] for layer in self.layers}
                key = tuple(methods.values())
                if key not in made:
                    made[key] = export(calibration, methods)
                self.by_unit[candidate.name] = made[key]

    @property
    def distinct(self) -> list[IntegerNetwork]:
        """The networks, each once."""
        return list({id(network): network for network in self.by_unit.values()}.values())

    @property
    def units(self) -> dict[str, list[Spec]]:
        """Every unit that one of the networks needs, with its specs."""
        specs: dict[str, dict[str, Spec]] = {}
        for network in self.distinct:
            for name, of_unit in network.units.items():
                specs.setdefault(name, {}).update({spec.digest: spec for spec in of_unit})
        return {name: list(by_digest.values()) for name, by_digest in sorted(specs.items())}


def measure(networks: CandidateNetworks, pixels: np.ndarray,
            progress: Callable[[int], None] = lambda images: None) -> list[Sensitivity]:
    """Measure every candidate of every layer, in the order of the layers and of the catalogue.

    Parameters
    ----------
    networks : the candidates' integer networks.
    pixels : images, u8.
    progress : called with the number of images that one more network has done.
    """
    candidates = [[_Candidate(layer, networks.by_unit[entry.name])
                   for entry in methods_of(layer.operator)] for layer in networks.layers]
    graph = FloatGraph(networks.model)
    runs = [(network, Executor(network)) for network in networks.distinct]
    for i in range(0, len(pixels), BATCH):
        batch = pixels[i:i + BATCH]
        real = {layer.name: (x.double().numpy(), y.double().numpy())
                for layer, x, y in graph.layer_values(batch)}
        for network, executor in runs:
            seen = _layer_codes(executor, batch)
            for candidate in (c for layer in candidates for c in layer if c.network is network):
                candidate.update(*real[candidate.layer.name], *seen[candidate.layer.name])
            progress(len(batch))
    return [candidate.result() for layer in candidates for candidate in layer]


class _Candidate:
    """A method of a layer while it is measured."""

    def __init__(self, layer: FloatLayer, network: IntegerNetwork) -> None:
        self.layer = layer
        self.network = network
        self.nodes = operand_nodes(network, layer.name)
        self.node = self.nodes[0]
        self.input = network.values[self.node.inputs[0]]
        self.output = network.values[self.nodes[-1].output]
        self._functions = [_function(node) for node in self.nodes]
        self._deferred = deferred_beta(layer) if layer.gamma else 0.0
        self._before, self._after, self._alone = NoiseMeter(), NoiseMeter(), NoiseMeter()

    def update(self, x: np.ndarray, y: np.ndarray, x_codes: np.ndarray,
               y_codes: np.ndarray) -> None:
        """Compare a batch of the float layer's input and output with the integer layer's."""
        self._before.update(x, self.input.real(x_codes))
        self._after.update(y, self._real(y_codes))
        codes = np.rint(x / float(self.input.scale[0])).astype(np.int64)
        codes = saturate(codes, self.input.format)
        for function in self._functions:
            codes = function(codes)
        self._alone.update(y, self._real(codes))

    def result(self) -> Sensitivity:
        """Return what was measured."""
        *rows, row_length = self.output.shape
        asqnr_in, asqnr_out = _rounded(self._before.asqnr), _rounded(self._after.asqnr)
        return Sensitivity(
            layer=self.layer.name, operator=self.layer.operator, unit=self.node.op,
            spec_digest=self.node.spec.digest, in_scale=_rounded(float(self.input.scale[0])),
            rows=int(np.prod(rows)), row_length=row_length,
            asqnr_in=asqnr_in, asqnr_out=asqnr_out, sqnr_diff=_rounded(asqnr_in - asqnr_out),
            sqnr=_rounded(self._alone.sqnr),
            perturbation_mean=_rounded(self._alone.perturbation_mean),
            perturbation_sum=_rounded(self._alone.perturbation_sum))

    def _real(self, codes: np.ndarray) -> np.ndarray:
        """Return what output codes stand for; a beta that the next layer adds belongs to it."""
        return self.output.real(codes) + self._deferred


def _function(node: Node) -> Callable[[np.ndarray], np.ndarray]:
    """Return a node's golden function with its constants bound."""
    spec, constants = node.spec, node.unit_constants
    path = fast_path(node.op, spec, constants)
    return path or (lambda x: unit(node.op).golden.function(x, spec, constants))


def operand_nodes(network: IntegerNetwork, layer: str) -> list[Node]:
    """Return a layer's node and the requantizer behind it, if it has one.

    What follows reads their result: methods that merge the requantizer, and those that do not,
    are compared there.
    """
    node = network.node(layer)
    return [node, *(n for n in network.nodes
                    if n.op == "requantize" and n.inputs == (node.output,))]


def _layer_codes(executor: Executor,
                 pixels: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the input codes of each layer that offers a choice, and those of what it hands on."""
    network = executor.network
    nodes = {name: operand_nodes(network, name) for name in network.methods}
    wanted = {name for of_layer in nodes.values()
              for name in (of_layer[0].inputs[0], of_layer[-1].output)}
    seen: dict[str, list[np.ndarray]] = {name: [] for name in wanted}

    def observe(node: Node, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        if node.output in seen:
            seen[node.output].append(output)

    executor.run(pixels, observe)
    whole = {name: np.concatenate(parts) for name, parts in seen.items()}
    return {name: (whole[of_layer[0].inputs[0]], whole[of_layer[-1].output])
            for name, of_layer in nodes.items()}


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
