"""How often Omega decides otherwise than cost or error alone, by how its terms are normalized.

IPTQ-ViT does not say how perturbation and cost are brought to one size. Where they are not, the
metric says little more than one of its three terms; this counts it.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitrtl.sw.ptq.metrics import NORMALIZATIONS
from vitrtl.sw.ptq.search import RULES, choose, layers_in, score
from vitrtl.sw.ptq.unit_costs import UnitCosts

if TYPE_CHECKING:
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["Agreement", "agreements"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What Omega chooses under one normalization of perturbation and cost.

    Parameters
    ----------
    normalization : name in `NORMALIZATIONS`.
    layers : that have more than one candidate.
    cheapest : of them, those where it takes a candidate that none undercuts.
    most_accurate : those where it takes the candidate of highest SQNR.
    both, neither : those where it takes one that is both, or neither.
    candidates : different ones that it takes, over all layers.
    choice : candidate of each layer.
    """

    normalization: str
    layers: int
    cheapest: int
    most_accurate: int
    both: int
    neither: int
    candidates: int
    choice: dict[str, str]


def agreements(records: "Sequence[Sensitivity]", costs: UnitCosts,
               resource: str) -> list[Agreement]:
    """Return what Omega chooses under each normalization.

    Parameters
    ----------
    records : all candidates of each layer.
    costs : of their units.
    resource : the one that stands for cost.
    """
    found = []
    for name in NORMALIZATIONS:
        scored = score(records, costs, resource, name)
        choice, best = (choose(scored, RULES[rule]) for rule in ("omega", "argmax_q"))
        free = {layer: of_layer for layer, of_layer in layers_in(scored).items()
                if len(of_layer) > 1}
        cheap = {layer for layer, of_layer in free.items()
                 if choice[layer] in _cheapest(of_layer)}
        good = {layer for layer in free if choice[layer] == best[layer]}
        found.append(Agreement(
            normalization=name, layers=len(free), cheapest=len(cheap), most_accurate=len(good),
            both=len(cheap & good), neither=len(free.keys() - cheap - good),
            candidates=len(set(choice.values())), choice=choice))
    return found


def _cheapest(of_layer: Sequence) -> set[str]:
    """Return the candidates of a layer that cost least."""
    least = min(c.cost for c in of_layer)
    return {c.candidate for c in of_layer if c.cost == least}
