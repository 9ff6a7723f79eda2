"""Integer networks beside each other and beside the float one: what they get right, and cost."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vitrtl.sw.catalog import OPERATORS, UNITS, methods_of, unit
from vitrtl.sw.executor import Executor
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.float_graph import BATCH, FloatGraph, FloatLayer
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.unit_costs import Total, UnitCosts

__all__ = ["FAMILIES", "Evaluation", "Reference", "nonlinear_units", "shared_units",
           "single_method_choices"]


FAMILIES = {
    "all float": {"softmax": "float", "gelu": "float", "layernorm": "float"},
    "I-ViT": {"softmax": "shiftmax", "gelu": "shiftgelu", "layernorm": "newton"},
    "I-BERT": {"softmax": "iexp", "gelu": "ierf", "layernorm": "isqrt"},
    "tables": {"softmax": "lut", "gelu": "lut", "layernorm": "lut"},
    "vitrtl": {"softmax": "exp2", "gelu": "pwl", "layernorm": "rsqrt"},
}
"""Methods that belong together, by operator: what one paper, or one engineer, would build."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One integer network on the test images.

    Parameters
    ----------
    name : for people.
    network_digest : which network.
    accuracy : share of images that it gets right.
    agreement : share that it puts into the float network's class.
    logit_error : root mean square of its logits' error, over the float logits' deviation.
    nonlinear, total : cost of the units that offered a choice, and of all units; None for a
        network that computes some of its layers in float.
    """

    name: str
    network_digest: str
    accuracy: float
    agreement: float
    logit_error: float
    nonlinear: Total | None
    total: Total | None


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The float network's answers on the test images, which integer networks are held against.

    Parameters
    ----------
    pixels, labels : test images.
    logits : the float network's.
    """

    pixels: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @classmethod
    def of(cls, model: FloatModel, pixels: np.ndarray, labels: np.ndarray,
           progress: Callable[[int], None] = lambda images: None) -> "Reference":
        """Run the float network; `progress` is called with the number of images done."""
        graph, logits = FloatGraph(model), []
        for i in range(0, len(pixels), BATCH):
            logits.append(graph.run(pixels[i:i + BATCH]).numpy())
            progress(len(logits[-1]))
        return cls(pixels, labels, np.concatenate(logits))

    @property
    def accuracy(self) -> float:
        """Share of the images that the float network gets right."""
        return float((self.logits.argmax(axis=-1) == self.labels).mean())

    def evaluate(self, name: str, network: IntegerNetwork, costs: UnitCosts,
                 progress: Callable[[int], None] = lambda images: None) -> Evaluation:
        """Run an integer network; `progress` is called with the number of images done."""
        parts = []
        for part in Executor(network).iterate(self.pixels):
            parts.append(part)
            progress(len(part))
        logits = network.values[network.output].real(np.concatenate(parts))
        predicted = logits.argmax(axis=-1)
        in_gates = all(name in UNITS for name in network.units)
        return Evaluation(
            name=name, network_digest=network.digest,
            accuracy=float((predicted == self.labels).mean()),
            agreement=float((predicted == self.logits.argmax(axis=-1)).mean()),
            logit_error=float(np.sqrt(np.mean((logits - self.logits) ** 2)) / self.logits.std()),
            nonlinear=costs.total(nonlinear_units(network)) if in_gates else None,
            total=costs.total(network.units) if in_gates else None)


def single_method_choices(layers: Sequence[FloatLayer],
                          base: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the choices that a search is compared with, unit by layer, by a name for people.

    First one unit for each operator, as `FAMILIES` names them; then, for each method, the base
    with that method for all layers of its operator.

    Parameters
    ----------
    layers : that offer a choice.
    base : unit of each layer where nothing else is chosen.
    """
    choices = {name: {layer.name: f"{layer.operator}_{methods[layer.operator]}"
                      for layer in layers} for name, methods in FAMILIES.items()}
    for operator in OPERATORS:
        for entry in methods_of(operator, software=True):
            choices[f"{operator} {entry.method}"] = {
                layer.name: entry.name if layer.operator == operator else base[layer.name]
                for layer in layers}
    return choices


def nonlinear_units(network: IntegerNetwork) -> Mapping[str, list[Spec]]:
    """Return the units of a network whose operator offers a choice of method."""
    return {name: specs for name, specs in network.units.items()
            if unit(name).operator in OPERATORS}


def shared_units(network: IntegerNetwork) -> Mapping[str, list[Spec]]:
    """Return the other units of a network, which no choice changes."""
    return {name: specs for name, specs in network.units.items()
            if unit(name).operator not in OPERATORS}
