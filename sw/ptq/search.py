"""Choice of a method for each layer, from what was measured and what the units cost.

Every rule gives each candidate of each layer a number and takes the highest: layers are chosen
independently, as in both papers, and the sum over the layers is what the whole choice is worth. A
search under a common budget can take the same records.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.metrics import normalized, omega
from vitrtl.sw.ptq.unit_costs import UnitCosts

if TYPE_CHECKING:
    # What was measured is data: to choose takes no torch.
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["METRICS", "RULES", "Candidate", "Rule", "choose", "counts", "differing", "layers_in",
           "rule_of", "score"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A method of a layer with all that a rule may look at.

    Parameters
    ----------
    sensitivity : what the method does to the layer.
    cost : of its unit, in the resource that stands for cost.
    perturbation_norm, cost_norm : P and C over the largest of the layer's candidates.
    omega : IPTQ-ViT's metric of SQNR, `perturbation_norm` and `cost_norm`.
    """

    sensitivity: "Sensitivity"
    cost: int
    perturbation_norm: float
    cost_norm: float
    omega: float

    @property
    def layer(self) -> str:
        """Name of the layer."""
        return self.sensitivity.layer

    @property
    def unit(self) -> str:
        """Name of the unit."""
        return self.sensitivity.unit


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A way to choose.

    Parameters
    ----------
    doc : what it takes, for people.
    merit : number of a candidate; the highest is chosen, the first of equals.
    """

    doc: str
    merit: Callable[[Candidate], float]


RULES = {
    "omega": Rule("highest Omega (IPTQ-ViT)", lambda c: c.omega),
    "sqnr": Rule("highest SQNR output (Mixed, output rule)", lambda c: c.sensitivity.asqnr_out),
    "sqnr_diff": Rule("lowest SQNR diff (Mixed)", lambda c: -c.sensitivity.sqnr_diff),
    "argmax_q": Rule("highest SQNR of the method alone", lambda c: c.sensitivity.sqnr),
    "argmin_c": Rule("lowest cost", lambda c: -c.cost),
}
"""Rules by name; the last two are what Omega is compared with."""

METRICS = ("omega", "sqnr", "sqnr_diff")
"""Rules that can be asked for."""


def rule_of(metric: str) -> Rule:
    """Return the rule of that name.

    Raises
    ------
    UserError
        For an unknown name, listing the known ones.
    """
    if metric not in METRICS:
        raise UserError(f"metric must be one of {', '.join(METRICS)}, not {metric!r}")
    return RULES[metric]


def score(records: "Iterable[Sensitivity]", costs: UnitCosts, resource: str) -> list[Candidate]:
    """Join what was measured with what it costs.

    Parameters
    ----------
    records : all candidates of each layer.
    costs : of their units.
    resource : the one that stands for cost.
    """
    by_layer: dict[str, list[Sensitivity]] = {}
    for record in records:
        by_layer.setdefault(record.layer, []).append(record)
    candidates = []
    for layer in by_layer.values():
        cost = [costs.cost(r.unit, r.spec_digest, resource) for r in layer]
        parts = zip(layer, cost, normalized([r.perturbation_mean for r in layer]),
                    normalized(cost), strict=True)
        candidates += [Candidate(sensitivity=r, cost=c, perturbation_norm=p_norm, cost_norm=c_norm,
                                 omega=omega(r.sqnr, p_norm, c_norm))
                       for r, c, p_norm, c_norm in parts]
    return candidates


def layers_in(candidates: Sequence[Candidate]) -> dict[str, list[Candidate]]:
    """Return the candidates of each layer, in their order."""
    layers: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        layers.setdefault(candidate.layer, []).append(candidate)
    return layers


def choose(candidates: Sequence[Candidate], rule: Rule) -> dict[str, str]:
    """Return the chosen unit of each layer; a layer with one candidate takes that."""
    return {layer: max(of_layer, key=rule.merit).unit
            for layer, of_layer in layers_in(candidates).items()}


def counts(choice: Mapping[str, str]) -> dict[str, int]:
    """Return how many layers take each unit."""
    total: dict[str, int] = {}
    for name in choice.values():
        total[name] = total.get(name, 0) + 1
    return total


def differing(choice: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the layers for which two choices differ."""
    return [layer for layer, name in choice.items() if other[layer] != name]
