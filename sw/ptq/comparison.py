"""Integer networks beside each other and beside the float one: what they get right, and cost."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from vitrtl.sw.accelerator.cycles import network_cycles
from vitrtl.sw.candidate import candidate, candidates_of
from vitrtl.sw.catalog import OPERATORS, UNITS
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.files import digest
from vitrtl.sw.golden.unit import Spec
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.float_graph import BATCH, FloatGraph, FloatLayer
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.unit_costs import Total, UnitCosts

__all__ = ["FAMILIES", "Accuracy", "Evaluation", "Reference", "decided_units",
           "single_method_choices", "trainable"]


FAMILIES = {
    "all float": {"softmax": "float", "gelu": "float", "layernorm": "float"},
    "I-ViT, softmax of 8 bits": {"softmax": "shiftmax:8", "gelu": "shiftgelu",
                                 "layernorm": "newton"},
    "I-ViT": {"softmax": "shiftmax", "gelu": "shiftgelu", "layernorm": "newton"},
    "I-BERT": {"softmax": "iexp", "gelu": "ierf", "layernorm": "isqrt"},
    "FQ-ViT": {"softmax": "log_int", "gelu": "float", "layernorm": "ptf"},
    "IPTQ-ViT": {"softmax": "bit_softmax", "gelu": "poly4", "layernorm": "newton"},
    "tables": {"softmax": "lut", "gelu": "lut", "layernorm": "lut"},
    "vitrtl": {"softmax": "exp2", "gelu": "pwl", "layernorm": "rsqrt"},
    "vitrtl, s8 operands": {"softmax": "exp2:s8", "gelu": "pwl:s8", "layernorm": "rsqrt:s8"},
}
"""Methods that belong together, by operator: what one paper, or one engineer, would build.

FQ-ViT leaves GELU in float.
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What an integer network gets right on some images.

    Parameters
    ----------
    accuracy : share of images that it gets right.
    agreement : share that it puts into the float network's class.
    logit_error : root mean square of its logits' error, over the float logits' deviation.
    """

    accuracy: float
    agreement: float
    logit_error: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One integer network on the test images, and what it costs.

    Parameters
    ----------
    name : for people.
    network_digest : which network.
    accuracy, agreement, logit_error : see `Accuracy`.
    nonlinear, total : cost of the units that the choice of methods decides, and of all units;
        None for a network that computes some of its layers in float.
    accelerator_cycles : of one image on the accelerator with these units, all layers; None for a
        network that it does not run.
    """

    name: str
    network_digest: str
    accuracy: float
    agreement: float
    logit_error: float
    nonlinear: Total | None
    total: Total | None
    accelerator_cycles: int | None

    @classmethod
    def of(cls, name: str, network: IntegerNetwork, found: Accuracy, costs: UnitCosts,
           always: frozenset[str]) -> "Evaluation":
        """Join accuracy and cost.

        Parameters
        ----------
        name, network, found : which network, and what it gets right.
        costs : of its units.
        always : units, as `UNIT SPEC`, that no choice changes.
        """
        in_gates = all(unit in UNITS for unit in network.units)
        return cls(name=name, network_digest=network.digest, **dataclasses.asdict(found),
                   nonlinear=costs.total(decided_units(network, always)) if in_gates else None,
                   total=costs.total(network.units) if in_gates else None,
                   accelerator_cycles=network_cycles(network) if in_gates else None)


PIECE = 512
"""Test images that are in memory at a time, where they come from files."""


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """The float network's answers on the test images, which integer networks are held against.

    Parameters
    ----------
    pixels : of the test images; what gives arrays when it is sliced will do.
    labels : of the test images.
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

    @functools.cached_property
    def digest(self) -> str:
        """Checksum of images, labels and the float network's answers."""
        pixels = digest(*(digest(piece.tobytes()) for piece in self._pieces()))
        return digest(pixels, *(np.ascontiguousarray(array).tobytes()
                                for array in (self.labels, self.logits)))

    @property
    def accuracy(self) -> float:
        """Share of the images that the float network gets right."""
        return float((self.logits.argmax(axis=-1) == self.labels).mean())

    def accuracy_of(self, network: IntegerNetwork,
                    progress: Callable[[int], None] = lambda images: None) -> Accuracy:
        """Run an integer network; `progress` is called with the number of images done."""
        executor, parts = Executor(network), []
        for piece in self._pieces():
            for part in executor.iterate(piece):
                parts.append(part)
                progress(len(part))
        logits = network.values[network.output].real(np.concatenate(parts))
        predicted = logits.argmax(axis=-1)
        return Accuracy(
            accuracy=float((predicted == self.labels).mean()),
            agreement=float((predicted == self.logits.argmax(axis=-1)).mean()),
            logit_error=float(np.sqrt(np.mean((logits - self.logits) ** 2)) / self.logits.std()))

    def _pieces(self) -> Iterator[np.ndarray]:
        """Yield the pixels, not all at a time."""
        return (np.ascontiguousarray(self.pixels[i:i + PIECE])
                for i in range(0, len(self.labels), PIECE))


def single_method_choices(layers: Sequence[FloatLayer], base: Mapping[str, str],
                          without: Iterable[str] = ()) -> dict[str, dict[str, str]]:
    """Return the choices that a search is compared with, candidate by layer, by a name for people.

    First one candidate for each operator, as `FAMILIES` names them; then, for each candidate, the
    base with that one for all layers of its operator.

    Parameters
    ----------
    layers : that offer a choice.
    base : candidate of each layer where nothing else is chosen.
    without : candidates that cannot be used; choices that need one are left out.
    """
    choices = {name: {layer.name: candidate(f"{layer.operator}_{methods[layer.operator]}").name
                      for layer in layers} for name, methods in FAMILIES.items()}
    for operator in OPERATORS:
        for one in candidates_of(operator, software=True):
            choices[f"{operator} {one.method}"] = {
                layer.name: one.name if layer.operator == operator else base[layer.name]
                for layer in layers}
    unusable = set(without)
    return {name: choice for name, choice in choices.items()
            if unusable.isdisjoint(choice.values())}


def trainable(names: Sequence[str]) -> list[str]:
    """Return families that can be trained with quantization in the loop: all in gates.

    Raises
    ------
    UserError
        For another name, listing the known ones.
    """
    known = [name for name, methods in FAMILIES.items() if "float" not in methods.values()]
    for name in names:
        if name not in known:
            raise UserError(f"family must be one of {'; '.join(known)}, not {name!r}")
    return list(names)


def decided_units(network: IntegerNetwork, always: frozenset[str]) -> dict[str, list[Spec]]:
    """Return the units of a network that it has because of the methods that were chosen.

    The non-linear units, and whatever takes their results and would not be there otherwise.
    """
    units = {name: [spec for spec in specs if f"{name} {spec.digest}" not in always]
             for name, specs in network.units.items()}
    return {name: specs for name, specs in units.items() if specs}
