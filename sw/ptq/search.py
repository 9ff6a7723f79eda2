"""Choice of a method for each layer by itself, from what was measured and what the units cost.

Every rule gives each candidate of each layer a number and takes the highest: layers are chosen
independently, as in both papers. `vitrtl.sw.ptq.joint` chooses for all layers together, from the
same records.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.metrics import NORMALIZATIONS, omega
from vitrtl.sw.ptq.unit_costs import UnitCosts

if TYPE_CHECKING:
    # What was measured is data: to choose takes no torch.
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["DEFAULT_NORMALIZATION", "METRICS", "RULES", "Rule", "Scored", "choose", "counts",
           "differing", "layers_in", "rule_of", "score"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A candidate of a layer with all that a rule may look at.

    Parameters
    ----------
    sensitivity : what the candidate does to the layer.
    cost : of the units that it needs and not every network has, in the resource that stands
        for cost, as if no other layer used them.
    perturbation_norm, cost_norm : P and C, normalized among the candidates.
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
    def candidate(self) -> str:
        """Name of the candidate."""
        return self.sensitivity.candidate


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A way to choose.

    Parameters
    ----------
    doc : what it takes, for people.
    merit : number of a candidate; the highest is chosen, the first of equals.
    """

    doc: str
    merit: Callable[[Scored], float]


RULES = {
    "omega": Rule("highest Omega (IPTQ-ViT)", lambda c: c.omega),
    "sqnr": Rule("highest SQNR output (Mixed, output rule)", lambda c: c.sensitivity.asqnr_out),
    "sqnr_diff": Rule("lowest SQNR diff (Mixed)", lambda c: -c.sensitivity.sqnr_diff),
    "argmax_q": Rule("highest SQNR of the method alone", lambda c: c.sensitivity.sqnr),
    "argmin_c": Rule("lowest cost", lambda c: -c.cost),
}
"""Rules by name; the last two are what Omega is compared with."""

DEFAULT_NORMALIZATION = "largest"
"""Of P and C in Omega: it keeps the ratios, so candidates that cost nearly the same stay so."""

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


def score(records: "Iterable[Sensitivity]", costs: UnitCosts, resource: str,
          normalization: str = DEFAULT_NORMALIZATION) -> list[Scored]:
    """Join what was measured with what it costs.

    Parameters
    ----------
    records : all candidates of each layer.
    costs : of their units.
    resource : the one that stands for cost.
    normalization : name in `NORMALIZATIONS`, of P and C.
    """
    records = list(records)
    cost = [sum(costs.cost(*unit.split(), resource) for unit in r.needs) for r in records]
    normalize = NORMALIZATIONS[normalization].apply
    layers = [r.layer for r in records]
    parts = zip(records, cost, normalize([r.perturbation_mean for r in records], layers),
                normalize(cost, layers), strict=True)
    return [Scored(sensitivity=r, cost=c, perturbation_norm=p_norm, cost_norm=c_norm,
                   omega=omega(r.sqnr, p_norm, c_norm)) for r, c, p_norm, c_norm in parts]


def layers_in(candidates: Sequence[Scored]) -> dict[str, list[Scored]]:
    """Return the candidates of each layer, in their order."""
    layers: dict[str, list[Scored]] = {}
    for candidate in candidates:
        layers.setdefault(candidate.layer, []).append(candidate)
    return layers


def choose(candidates: Sequence[Scored], rule: Rule) -> dict[str, str]:
    """Return the chosen candidate of each layer; a layer with one takes that."""
    return {layer: max(of_layer, key=rule.merit).candidate
            for layer, of_layer in layers_in(candidates).items()}


def counts(choice: Mapping[str, str]) -> dict[str, int]:
    """Return how many layers take each candidate."""
    total: dict[str, int] = {}
    for name in choice.values():
        total[name] = total.get(name, 0) + 1
    return total


def differing(choice: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the layers for which two choices differ."""
    return [layer for layer, name in choice.items() if other[layer] != name]
