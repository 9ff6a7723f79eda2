"""How much each candidate of each layer disturbs the network: measured once, for every search.

Each candidate is measured on the same images, against the float network.

*In the network*, as in Mixed Non-linear Quantization: it runs in an integer network that uses it
for every layer of its operator, the rest unchanged. Input and output codes carry the error of
all that came before, and SQNR diff, ASQNR in minus ASQNR out, is what the layer loses of it. The
error of that network's logits is kept as well.

*Alone*, for IPTQ-ViT's metric: it runs on the float network's input of the layer, rounded to the
codes of the integer network. The error is the candidate's own and depends on no other layer's, so
a search may add those of several layers. The gradient of the float logits by the layer's result
says, to first order, what that error does to the logits.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vitrtl.sw.candidate import candidates_of
from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor, node_function
from vitrtl.sw.golden.fixed_point import saturate
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.ptq.float_graph import MASKED, FloatGraph, FloatLayer, layers_of
from vitrtl.sw.ptq.logit_gradients import LogitGradients
from vitrtl.sw.ptq.metrics import ErrorMeter, NoiseMeter
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.quantize import deferred_beta

__all__ = ["CandidateNetworks", "Sensitivity", "deferred", "measure", "operand_nodes",
           "output_noise"]

BATCH = 8
"""Images at a time; the gradients of all their layers by several logits are kept."""

DIGITS = 6
"""Significant digits that are kept, so that what a file holds is what the choice was made from."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """What one candidate does to one layer.

    Parameters
    ----------
    layer, operator, candidate : which layer, and the candidate by its name.
    unit, spec_digest : of the candidate, the key to its cost.
    chain : units that compute the layer's operand, as `UNIT SPEC`: the candidate's, and the
        requantizer behind it if there is one.
    needs : units that the layer has built, and that not every network has anyway: of the chain,
        and of what reads it.
    in_scale : scale of the input codes; a unit that refuses the calibrated one has a larger.
    rows, row_length : rows of an image, and elements of a row: what the unit has to do.
    asqnr_in, asqnr_out : of the layer's input and output in the network, as the Mixed paper
        defines them (twice the usual decibels).
    sqnr_diff : `asqnr_in - asqnr_out`, what the layer loses. The paper prints the difference the
        other way round and yet chooses the lowest; its quoted values fit this sign.
    sqnr : of the output, the candidate alone, decibels.
    perturbation_mean, perturbation_sum : squared error of the output, the candidate alone, of an
        element and of an image.
    logit_noise : squared error that this makes of a float logit to first order, over the
        variance of the logits.
    network_error : of the logits of the network that uses the candidate for its whole operator,
        root mean square over the deviation of the float logits.
    """

    layer: str
    operator: str
    candidate: str
    unit: str
    spec_digest: str
    chain: tuple[str, ...]
    needs: tuple[str, ...]
    in_scale: float
    rows: int
    row_length: int
    asqnr_in: float
    asqnr_out: float
    sqnr_diff: float
    sqnr: float
    perturbation_mean: float
    perturbation_sum: float
    logit_noise: float
    network_error: float


class CandidateNetworks:
    """For each candidate the integer network that uses it for every layer of its operator.

    Parameters
    ----------
    model : the float network.
    make : makes the integer network with a candidate for each layer.
    base : candidate of every layer, for the layers of the other operators.

    Attributes
    ----------
    refused : candidates that one of the layers cannot take, with the reason.
    """

    def __init__(self, model: FloatModel, make: Callable[[Mapping[str, str]], IntegerNetwork],
                 base: Mapping[str, str]) -> None:
        self.model = model
        self.layers = layers_of(model)
        self.by_candidate: dict[str, IntegerNetwork] = {}
        self.refused: dict[str, str] = {}
        made: dict[tuple[str, ...], IntegerNetwork] = {}
        for operator in OPERATORS:
            for candidate in candidates_of(operator):
                methods = {layer.name: candidate.name if layer.operator == operator
                           else base[layer.name] for layer in self.layers}
                key = tuple(methods.values())
                try:
                    if key not in made:
                        made[key] = make(methods)
                except UserError as error:
                    self.refused[candidate.name] = str(error)
                else:
                    self.by_candidate[candidate.name] = made[key]

    @property
    def distinct(self) -> list[IntegerNetwork]:
        """The networks, each once."""
        return list({id(network): network for network in self.by_candidate.values()}.values())

    @property
    def units(self) -> dict[str, list[Spec]]:
        """Every unit that one of the networks needs, with its specs."""
        specs: dict[str, dict[str, Spec]] = {}
        for network in self.distinct:
            for name, of_unit in network.units.items():
                specs.setdefault(name, {}).update({spec.digest: spec for spec in of_unit})
        return {name: list(by_digest.values()) for name, by_digest in sorted(specs.items())}

    @property
    def shared(self) -> dict[str, list[Spec]]:
        """Units that every choice needs, with their specs."""
        units = {name: [spec for spec in specs if f"{name} {spec.digest}" in self.always]
                 for name, specs in self.units.items()}
        return {name: specs for name, specs in units.items() if specs}

    @functools.cached_property
    def always(self) -> frozenset[str]:
        """Units, as `UNIT SPEC`, that every choice needs: those of what no choice changes."""
        def untouched(network: IntegerNetwork) -> frozenset[str]:
            decided = {node.name for layer in network.methods
                       for node in _touched(network, layer)}
            return frozenset(_key(node) for node in network.nodes
                             if node.spec is not None and node.name not in decided)

        return frozenset.intersection(*map(untouched, self.distinct))


def measure(networks: CandidateNetworks, pixels: np.ndarray,
            progress: Callable[[int], None] = lambda images: None) -> list[Sensitivity]:
    """Measure every candidate of every layer, in the order of the layers and of the catalogue.

    Parameters
    ----------
    networks : the candidates' integer networks.
    pixels : images, u8.
    progress : called with the number of images that one more network has done.
    """
    measured = [[_Measured(layer, candidate.name, networks)
                 for candidate in candidates_of(layer.operator)
                 if candidate.name in networks.by_candidate] for layer in networks.layers]
    graph = FloatGraph(networks.model)
    gradients = LogitGradients(graph, [layer.name for layer in networks.layers])
    runs = [(network, Executor(network), ErrorMeter()) for network in networks.distinct]
    for i in range(0, len(pixels), BATCH):
        batch = pixels[i:i + BATCH]
        logits = graph.run(batch).double().numpy()
        real = {layer.name: (x.double().numpy(), y.double().numpy())
                for layer, x, y in graph.layer_values(batch)}
        by_layer = gradients.of(batch)
        for network, executor, meter in runs:
            seen, answer = _layer_codes(executor, batch)
            meter.update(logits, network.values[network.output].real(answer))
            for one in (one for layer in measured for one in layer if one.network is network):
                one.update(*real[one.layer.name], *seen[one.layer.name],
                           by_layer[one.layer.name])
            progress(len(batch))
    errors = {network.digest: meter for network, _, meter in runs}
    return [one.result(errors[one.network.digest]) for layer in measured for one in layer]


def output_noise(networks: Mapping[str, IntegerNetwork], model: FloatModel, pixels: np.ndarray,
                 progress: Callable[[int], None] = lambda images: None,
                 ) -> dict[str, dict[str, float]]:
    """Return the ASQNR of each layer's output in some networks, by their names.

    Parameters
    ----------
    networks : integer networks of one float network.
    model : the float network.
    pixels : images, u8.
    progress : called with the number of images that one more network has done.
    """
    layers = {layer.name: layer for layer in layers_of(model)}
    graph = FloatGraph(model)
    meters = {name: {layer: NoiseMeter() for layer in layers} for name in networks}
    runs = {name: Executor(network) for name, network in networks.items()}
    for i in range(0, len(pixels), BATCH):
        batch = pixels[i:i + BATCH]
        real = {layer.name: y.double().numpy() for layer, _, y in graph.layer_values(batch)}
        for name, executor in runs.items():
            seen, _ = _layer_codes(executor, batch)
            for layer, meter in meters[name].items():
                value = networks[name].values[operand_nodes(networks[name], layer)[-1].output]
                meter.update(real[layer], value.real(seen[layer][1])
                             + deferred(layers[layer], networks[name]))
            progress(len(batch))
    return {name: {layer: _rounded(meter.asqnr) for layer, meter in of_network.items()}
            for name, of_network in meters.items()}


class _Measured:
    """A candidate of a layer while it is measured."""

    def __init__(self, layer: FloatLayer, candidate: str, networks: CandidateNetworks) -> None:
        self.layer = layer
        self.candidate = candidate
        self.network = network = networks.by_candidate[candidate]
        self.nodes = operand_nodes(network, layer.name)
        self.node = self.nodes[0]
        self.needs = sorted({_key(node) for node in _touched(network, layer.name)}
                            - networks.always)
        self.input = network.values[self.node.inputs[0]]
        self.output = network.values[self.nodes[-1].output]
        self._functions = [node_function(network, node) for node in self.nodes]
        self._deferred = deferred(layer, network)
        self._masked = layer.masked
        self._before, self._after, self._alone = NoiseMeter(), NoiseMeter(), NoiseMeter()
        self._logit_noise = 0.0

    def update(self, x: np.ndarray, y: np.ndarray, x_codes: np.ndarray, y_codes: np.ndarray,
               gradients: np.ndarray) -> None:
        """Compare a batch of the float layer's input and output with the integer layer's.

        Parameters
        ----------
        gradients : of some logits by the output, the first axis for the logits, scaled so that
            the squares of what an error makes of them add up to that of a mean logit.
        """
        real = self.input.real(x_codes)
        if self._masked:
            # What is masked has no value that an error could be held against.
            counts = x > MASKED / 2
            self._before.update(np.where(counts, x, 0.0), np.where(counts, real, 0.0))
        else:
            self._before.update(x, real)
        self._after.update(y, self._real(y_codes))
        codes = np.rint(x / float(self.input.scale[0])).astype(np.int64)
        codes = saturate(codes, self.input.format)
        for function in self._functions:
            codes = function([codes])
        alone = self._real(codes)
        self._alone.update(y, alone)
        error = (alone - y).reshape(len(y), -1).astype(gradients.dtype)
        shifts = np.einsum("pie,ie->pi", gradients.reshape(*gradients.shape[:2], -1), error)
        self._logit_noise += float(np.square(shifts, dtype=np.float64).sum())

    def result(self, logits: ErrorMeter) -> Sensitivity:
        """Return what was measured.

        Parameters
        ----------
        logits : errors of the network's logits.
        """
        *rows, row_length = self.output.shape
        asqnr_in, asqnr_out = _rounded(self._before.asqnr), _rounded(self._after.asqnr)
        return Sensitivity(
            layer=self.layer.name, operator=self.layer.operator, candidate=self.candidate,
            unit=self.node.op, spec_digest=self.node.spec.digest,
            chain=tuple(_key(node) for node in self.nodes), needs=tuple(self.needs),
            in_scale=_rounded(float(self.input.scale[0])),
            rows=int(np.prod(rows)), row_length=row_length,
            asqnr_in=asqnr_in, asqnr_out=asqnr_out, sqnr_diff=_rounded(asqnr_in - asqnr_out),
            sqnr=_rounded(self._alone.sqnr),
            perturbation_mean=_rounded(self._alone.perturbation_mean),
            perturbation_sum=_rounded(self._alone.perturbation_sum),
            logit_noise=_rounded(self._logit_noise / self._alone.images / logits.variance),
            network_error=_rounded(logits.relative_error))

    def _real(self, codes: np.ndarray) -> np.ndarray:
        """Return what output codes stand for; what the next layer adds belongs to it."""
        return self.output.real(codes) + self._deferred


def operand_nodes(network: IntegerNetwork, layer: str) -> list[Node]:
    """Return a layer's node and the requantizer behind it, if it has one.

    What follows reads their result: methods that merge the requantizer, and those that do not,
    are compared there.
    """
    node = network.node(layer)
    return [node, *(n for n in network.nodes
                    if n.op == "requantize" and n.inputs == (node.output,))]


def deferred(layer: FloatLayer, network: IntegerNetwork) -> np.ndarray | float:
    """Return what each channel of a layer's operand lacks, for the next linear layer to add.

    The part of a LayerNorm's beta that its unit cannot, and what a requantizer's bias takes off.
    """
    lacks = deferred_beta(layer) if layer.gamma else 0.0
    node = operand_nodes(network, layer.name)[-1]
    if node.op == "requantize" and node.constants["bias"].any():
        step = np.array([float(s) for s in network.values[node.inputs[0]].scale])
        lacks = lacks - node.constants["bias"] * step
    return lacks


def _touched(network: IntegerNetwork, layer: str) -> list[Node]:
    """Return the nodes whose units the choice of a layer decides: its own, and its readers."""
    chain = operand_nodes(network, layer)
    result = chain[-1].output
    return [*chain, *(node for node in network.nodes
                      if node.spec is not None and result in node.inputs)]


def _key(node: Node) -> str:
    """Return unit and spec of a node."""
    return f"{node.op} {node.spec.digest}"


def _layer_codes(executor: Executor, pixels: np.ndarray) -> tuple[
        dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray]:
    """Return the input codes of each layer that offers a choice with those of what it hands on.

    Beside them the logits.
    """
    network = executor.network
    nodes = {name: operand_nodes(network, name) for name in network.methods}
    wanted = {name for of_layer in nodes.values()
              for name in (of_layer[0].inputs[0], of_layer[-1].output)}
    seen: dict[str, list[np.ndarray]] = {name: [] for name in wanted}

    def observe(node: Node, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        if node.output in seen:
            seen[node.output].append(output)

    logits = executor.run(pixels, observe)
    whole = {name: np.concatenate(parts) for name, parts in seen.items()}
    return ({name: (whole[of_layer[0].inputs[0]], whole[of_layer[-1].output])
             for name, of_layer in nodes.items()}, logits)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
