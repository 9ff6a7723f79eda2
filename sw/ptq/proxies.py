"""Losses of a layer's candidates that add up: how well do they foretell the error of the logits?

A joint search minimises a sum over the layers. Which sum is worth minimising is a question that
data answers: networks of random choices are run, and each proxy's sum is held against the error
that their logits turn out to have.
"""

import dataclasses
import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import pearsonr, spearmanr

from vitrtl.sw.errors import UserError

if TYPE_CHECKING:
    # What was measured is data: to weigh it takes no torch.
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["PROXIES", "Correlation", "Proxy", "correlate", "proxy_of", "random_choices"]


CONSTANT = 1e-9
"""Relative difference below which numbers do not vary."""


@dataclasses.dataclass(frozen=True, slots=True)
class Proxy:
    """A loss for each candidate of each layer.

    Parameters
    ----------
    doc : what is added up, for people.
    losses : of all records, in their order.
    """

    doc: str
    losses: "Callable[[Sequence[Sensitivity]], list[float]]"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """How a proxy orders networks beside how their logits do.

    Parameters
    ----------
    proxy : its name.
    networks : how many were run.
    spearman : correlation of ranks, of the proxy with the logits' error.
    spearman_better_half : the same among the half of the networks that err least.
    pearson : of the proxy with the square of the logits' error, both as logarithms.
    """

    proxy: str
    networks: int
    spearman: float
    spearman_better_half: float
    pearson: float


def _of_network(records: "Sequence[Sensitivity]") -> list[float]:
    """Share the square of each candidate's network error among the layers, by their noise."""
    noise = [_noise(r) for r in records]
    of_candidate: dict[str, float] = {}
    for r, n in zip(records, noise, strict=True):
        of_candidate[r.candidate] = of_candidate.get(r.candidate, 0.0) + n
    return [r.network_error ** 2 * n / of_candidate[r.candidate]
            for r, n in zip(records, noise, strict=True)]


def _noise(record: "Sensitivity") -> float:
    """Return noise over signal of the layer's operand, the candidate alone."""
    return 10 ** (-record.sqnr / 10)


PROXIES = {
    "logit_noise": Proxy("squared error of the logits, to first order",
                         lambda records: [r.logit_noise for r in records]),
    "network": Proxy("squared logit error of the candidate's network, shared by noise",
                     _of_network),
    "noise": Proxy("noise over signal of the operand", lambda records: list(map(_noise, records))),
    "perturbation": Proxy("squared error of the operand",
                          lambda records: [r.perturbation_sum for r in records]),
    "sqnr_diff": Proxy("SQNR diff", lambda records: [r.sqnr_diff for r in records]),
}
"""Proxies by name."""


def proxy_of(name: str) -> Proxy:
    """Return the proxy of that name.

    Raises
    ------
    UserError
        For an unknown name, listing the known ones.
    """
    if name not in PROXIES:
        raise UserError(f"proxy must be one of {', '.join(PROXIES)}, not {name!r}")
    return PROXIES[name]


def random_choices(candidates: Mapping[str, Sequence[str]], operators: Mapping[str, str],
                   count: int, seed: int = 0) -> list[dict[str, str]]:
    """Return choices for all layers that reach from nearly uniform to thoroughly mixed.

    Each has one to three candidates for an operator, drawn anew, and gives each layer one of them.

    Parameters
    ----------
    candidates : names by operator.
    operators : operator of each layer.
    count, seed : how many, and which.
    """
    # Of the standard library, whose sequence is the same everywhere.
    generator = random.Random(seed)
    choices = []
    for _ in range(count):
        few = {operator: generator.sample(list(names), min(len(names), generator.randint(1, 3)))
               for operator, names in candidates.items()}
        choices.append({layer: generator.choice(few[operator])
                        for layer, operator in operators.items()})
    return choices


def correlate(records: "Sequence[Sensitivity]", choices: Sequence[Mapping[str, str]],
              errors: Sequence[float]) -> dict[str, Correlation]:
    """Hold each proxy against the logits' error of some networks.

    Parameters
    ----------
    records : all candidates of each layer.
    choices : of the networks, a candidate for each layer.
    errors : of their logits.
    """
    found = {}
    true = np.array(errors, float)
    better = true <= np.median(true)
    for name, proxy in PROXIES.items():
        loss = {(r.layer, r.candidate): value
                for r, value in zip(records, proxy.losses(records), strict=True)}
        sums = np.array([sum(loss[pair] for pair in choice.items()) for choice in choices])
        # SQNR diff may be negative and is a logarithm already.
        scaled = np.log(sums) if (sums > 0).all() and name != "sqnr_diff" else sums
        found[name] = Correlation(
            proxy=name, networks=len(choices), spearman=_correlation(spearmanr, sums, true),
            spearman_better_half=_correlation(spearmanr, sums[better], true[better]),
            pearson=_correlation(pearsonr, scaled, np.log(true)))
    return found


def _correlation(measure: Callable[..., object], a: np.ndarray, b: np.ndarray) -> float:
    """Return a correlation to four places; zero where one of the two does not vary."""
    if any(np.ptp(values) <= CONSTANT * np.abs(values).max() for values in (a, b)):
        return 0.0
    return round(float(measure(a, b).statistic), 4)
