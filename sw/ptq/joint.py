"""Choice of methods for all layers together, under budgets: exact, and what simpler ways give.

Two kinds of yes or no: "unit u is built" and "layer l takes candidate c". A unit costs its area
once however many layers use it, and time for each layer that does; a layer may take a candidate
only where all units that it needs are built. The loss of a choice is the sum of its layers' losses.
That is a small mixed-integer linear program, which HiGHS solves to the optimum. `shortlist` goes on
from there: the best choices that differ in what is built.

Time that is not the sum of its parts is estimated as one, and what the program takes is then timed
as a whole: where the estimate was too low, the program is solved again with as much less to spend.

Beside it stand two answers that need no solver: `layer_by_layer`, in which each layer pays the
whole price of its unit because it cannot know who shares it, and `greedy`, which gives up one unit
after the other.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

from vitrtl.sw.candidate import candidate
from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.unit_costs import UnitCosts

if TYPE_CHECKING:
    # What was measured is data: to choose takes no torch.
    from vitrtl.sw.ptq.sensitivity import Sensitivity

__all__ = ["CYCLES", "ImageCycles", "InfeasibleError", "Option", "Problem", "Solution",
           "best_within", "greedy", "layer_by_layer", "pareto", "parse_budgets", "problem_of",
           "shortlist", "solve"]

CYCLES = "cycles"
"""The budget of time, beside those of the target's resources."""

UNITS = "units"
"""How many units are built, which is limited where a choice has too many to be timed."""

ATTEMPTS = 16
"""Times that a program is solved before a budget of cycles counts as too small for its estimate."""

TIE = 1e-9
"""Relative difference of two losses that count as equal."""

OPTIMAL, INFEASIBLE = 0, 2
"""Status of `scipy.optimize.milp`."""


class InfeasibleError(UserError):
    """No choice stays within the budgets."""


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """A candidate of a layer.

    Parameters
    ----------
    layer, candidate : which.
    loss : what it adds to the loss of the network.
    cycles : that it adds to those of one image, as estimated; None if what has it cannot be timed.
    units : that it needs, by their keys in the problem.
    """

    layer: str
    candidate: str
    loss: float
    cycles: int | None
    units: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Problem:
    """What there is to choose from.

    Parameters
    ----------
    options : of all layers.
    units : resources of each unit that can be built, by its key; cycles that it adds, among them.
    area : the resource that decides between choices of equal loss.
    cycles : of one image, beside those that options and units add.
    exact : cycles of one image for a choice of a candidate for each layer, None if it cannot be
        timed; what options and units add up to, if not given.
    """

    options: tuple[Option, ...]
    units: Mapping[str, Mapping[str, int]]
    area: str
    cycles: int = 0
    exact: Callable[[Mapping[str, str]], int | None] | None = None

    def __post_init__(self) -> None:
        if not self.options:
            raise ValueError("a problem must have at least one option")
        for option in self.options:
            if not np.isfinite(option.loss):
                raise ValueError(f"loss of {option.candidate} in {option.layer} must be finite, "
                                 f"not {option.loss}")

    @functools.cached_property
    def layers(self) -> dict[str, list[Option]]:
        """Options of each layer."""
        layers: dict[str, list[Option]] = {}
        for option in self.options:
            layers.setdefault(option.layer, []).append(option)
        return layers

    @functools.cached_property
    def resources(self) -> tuple[str, ...]:
        """What can have a budget: the resources of the units, and cycles."""
        names = dict.fromkeys(name for unit in self.units.values() for name in unit)
        return (*(name for name in names if name != CYCLES), CYCLES)

    @functools.cached_property
    def untimed(self) -> list[str]:
        """Candidates that cannot be timed and keep no budget of cycles."""
        return list(dict.fromkeys(o.candidate for o in self.options if o.cycles is None))

    def under(self, budgets: Mapping[str, int]) -> "Problem":
        """Return the problem without what cannot keep some budgets.

        Raises
        ------
        InfeasibleError
            If a layer has nothing else.
        """
        if CYCLES not in budgets or not self.untimed:
            return self
        for layer, of_layer in self.layers.items():
            if all(option.cycles is None for option in of_layer):
                raise InfeasibleError(f"budget of cycles must be left out: no candidate of {layer} "
                                      "can be timed")
        return dataclasses.replace(self, options=tuple(
            option for option in self.options if option.cycles is not None))

    def solution(self, chosen: Sequence[Option]) -> "Solution":
        """Return what a choice of one option a layer costs, its cycles as estimated."""
        built = frozenset().union(*(option.units for option in chosen))
        used: dict[str, int | None] = {
            name: sum(self.units[unit].get(name, 0) for unit in built) for name in self.resources}
        cycles = [option.cycles for option in chosen]
        used[CYCLES] = None if None in cycles else self.cycles + used[CYCLES] + sum(cycles)
        return Solution(choice={option.layer: option.candidate for option in chosen},
                        loss=sum(option.loss for option in chosen), units=tuple(sorted(built)),
                        used=used)

    def offers(self, choice: Mapping[str, str]) -> bool:
        """Return whether each layer has that candidate."""
        return all(any(option.candidate == choice[layer] for option in of_layer)
                   for layer, of_layer in self.layers.items())

    def of_choice(self, choice: Mapping[str, str]) -> "Solution":
        """Return what a choice of a candidate for each layer costs."""
        return self.timed(self.solution([next(option for option in of_layer
                                              if option.candidate == choice[layer])
                                         for layer, of_layer in self.layers.items()]))

    def timed(self, solution: "Solution") -> "Solution":
        """Return a solution with the exact cycles of its choice."""
        if self.exact is None:
            return solution
        return dataclasses.replace(
            solution, used={**solution.used, CYCLES: self.exact(solution.choice)})


@dataclasses.dataclass(frozen=True, slots=True)
class Solution:
    """A choice for all layers.

    Parameters
    ----------
    choice : candidate of each layer.
    loss : sum over the layers.
    units : that are built, by their keys.
    used : of each resource, and cycles; None of these if the choice cannot be timed.
    """

    choice: dict[str, str]
    loss: float
    units: tuple[str, ...]
    used: dict[str, int | None]

    def takes(self, name: str) -> float:
        """Return how much it takes of what a budget limits."""
        used = len(self.units) if name == UNITS else self.used[name]
        return np.inf if used is None else used

    def within(self, budgets: Mapping[str, int]) -> bool:
        """Return whether it stays within all budgets."""
        return all(self.takes(name) <= budget for name, budget in budgets.items())


class ImageCycles(Protocol):
    """Cycles of one image, of a whole network and of its parts, which add up nearly to them.

    Attributes
    ----------
    always : what every choice takes.
    """

    always: int

    def adds(self, layer: str, name: str) -> int | None:
        """Return what a candidate of a layer adds; None if it cannot be timed."""

    def each(self, name: str) -> int:
        """Return what the unit of a candidate adds if it is built, however many layers use it."""

    def exact(self, choice: Mapping[str, str]) -> int | None:
        """Return what a candidate for each layer takes; None if that cannot be timed."""


def problem_of(records: "Sequence[Sensitivity]", losses: Sequence[float],
               costs: UnitCosts, lanes: Sequence[int] = (1,),
               cycles: ImageCycles | None = None) -> Problem:
    """Return the problem of choosing among what was measured.

    Units that every network has are no part of it.

    Parameters
    ----------
    records : all candidates of each layer.
    losses : of the records, in their order.
    costs : of the units.
    lanes : that a layer's unit, with the requantizer behind it, may have; the loss is that of one
        lane. What has no cost row is left out.
    cycles : of one image; if not given, those of each layer's own unit and requantizer, one layer
        after the other, all units at one clock.
    """
    options, engines = [], {}
    for record, loss in zip(records, losses, strict=True):
        chain, needs = (_keys(units) for units in (record.chain, record.needs))
        for count in lanes:
            wide = costs.with_lanes(chain, count)
            if wide is None:
                continue
            # What reads the result is needed as it is; of the chain, what no layer has anyway.
            built = needs if count == 1 else wide + [unit for unit in needs if unit not in chain]
            name = dataclasses.replace(candidate(record.candidate), lanes=count).name
            options.append(Option(
                layer=record.layer, loss=loss, candidate=name,
                cycles=costs.cycles(wide, record.rows, record.row_length) if cycles is None
                else cycles.adds(record.layer, name),
                units=frozenset(_key(costs, unit) for unit in built)))
            engines[_key(costs, wide[0])] = name
    built = sorted(frozenset().union(*(option.units for option in options)))
    units = {unit: costs.rows[tuple(unit.split())].resources for unit in built}
    if cycles is None:
        return Problem(tuple(options), units, costs.target.area)
    units |= {unit: {**units[unit], CYCLES: cycles.each(name)}
              for unit, name in engines.items() if unit in units}
    return Problem(tuple(options), units, costs.target.area, cycles.always, cycles.exact)


def _key(costs: UnitCosts, unit: tuple[str, str]) -> str:
    """Return the key in a problem of what is built for a unit and spec digest."""
    return " ".join(costs.built(*unit))


def _keys(units: Sequence[str]) -> list[tuple[str, str]]:
    """Return unit and spec digest of each `UNIT SPEC`."""
    return [(name, digest) for name, digest in map(str.split, units)]


def parse_budgets(text: str, known: Sequence[str]) -> dict[str, int]:
    """Return the budgets that a text such as `lut4eq=1500,dsp=12` asks for.

    Raises
    ------
    UserError
        For a resource that is not known, one that comes twice, or no whole number.
    """
    budgets: dict[str, int] = {}
    for part in text.split(","):
        name, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise UserError(f"budget must be RESOURCE=NUMBER, not {part!r}")
        if name not in known:
            raise UserError(f"budget must be of one of {', '.join(known)}, not {name!r}")
        if name in budgets:
            raise UserError(f"budget of {name} must be given once")
        if not (value.isascii() and value.isdigit()):
            raise UserError(f"budget of {name} must be a whole number, not {value!r}")
        budgets[name] = int(value)
    return budgets


def solve(problem: Problem, budgets: Mapping[str, int] | None = None, slack: float = 0.0,
          known: Solution | None = None) -> Solution:
    """Return the choice of least loss within the budgets; of equal ones, that of least area.

    It is exact but for the estimate of cycles, which a choice may be kept out by; those of the
    answer are within their budget.

    Parameters
    ----------
    problem : what there is to choose from.
    budgets : of resources and cycles.
    slack : by how much of itself the least loss may be exceeded for less area.
    known : a choice within the budgets; the answer is no worse.

    Raises
    ------
    InfeasibleError
        If no choice is within the budgets: which one is too small, and the least possible.
    """
    budgets = dict(budgets or {})
    problem = problem.under(budgets)
    found = _optimum(problem, budgets, lambda limits: _best(problem, limits, slack))
    if known is not None and (found is None or known.loss < found.loss):
        return known
    if found is not None:
        return found
    for name, budget in budgets.items():
        least = _least(problem, name, {}).used[name]
        if least > budget:
            raise InfeasibleError(f"budget of {name} must be at least {least:,}, not {budget:,}")
    needs = []
    for name in budgets:
        others = {other: budget for other, budget in budgets.items() if other != name}
        try:
            needs.append(f"{name} at least {_least(problem, name, others).used[name]:,}")
        except InfeasibleError:
            continue
    given = " and ".join(f"{name}={budget:,}" for name, budget in budgets.items())
    raise InfeasibleError(f"no choice is within {given} together" + (
        f": it takes {', or '.join(needs)}, with the other budgets as they are" if needs
        else ", nor with any one of these budgets lifted"))


def shortlist(problem: Problem, count: int,
              budgets: Mapping[str, int] | None = None) -> list[Solution]:
    """Return the choices of least loss within the budgets, each of other units, the best first.

    Each is the optimum among those that build none of the sets of units before it. Choices of the
    same units are hardly worth a list: they differ by the layer that has least to lose.

    Parameters
    ----------
    count : of choices, at most; there may be fewer.
    """
    budgets = dict(budgets or {})
    problem = problem.under(budgets)
    found: list[Solution] = []
    while len(found) < count:
        others = [frozenset(solution.units) for solution in found]
        one = _optimum(problem, budgets,
                       lambda limits, others=others: _best(problem, limits, 0.0, others))
        # The choice of fewest cycles, where nothing else is, may be one that is known.
        if one is None or frozenset(one.units) in others:
            break
        found.append(one)
    return found


def pareto(problem: Problem, points: int, budgets: Mapping[str, int] | None = None,
           progress: Callable[[int], None] = lambda points: None) -> list[Solution]:
    """Return choices that no other beats in both area and loss, by rising area.

    The ends are the least area and the least loss. Between them a budget of the area is tried
    where the points known so far leave most in doubt: in the middle of the gap that is the largest
    rectangle of loss and area, both as logarithms. Each point is the exact optimum at its area.

    Parameters
    ----------
    problem : what there is to choose from.
    points : of the front, at most; there may be fewer.
    budgets : of other resources, which hold at every point; one of the area is its upper end.
    progress : called with 1 for each point.
    """
    if points < 2:
        raise UserError(f"a Pareto front must have at least 2 points, not {points}")
    budgets, area = dict(budgets or {}), problem.area
    problem = problem.under(budgets)
    last = solve(problem, budgets)
    least = _least(problem, area, budgets)
    first = solve(problem, {**budgets, area: least.used[area]}, known=least)
    front = {s.used[area]: s for s in (first, last)}
    progress(len(front))
    # Area from which on nothing is known, for each point and the gap above it.
    tried = dict.fromkeys(front, 0)
    while len(front) < points:
        gaps = []
        for low, high in itertools.pairwise(sorted(front)):
            known = max(low, tried[low])
            if known + 1 < high:
                gaps.append((_gap(front[low], front[high], known, high), known, high, low))
        if not gaps:
            break
        _, known, high, low = max(gaps)
        budget = (known + high) // 2
        found = solve(problem, {**budgets, area: budget}, known=front[low])
        if found.used[area] == low:
            tried[low] = budget
        else:
            front[found.used[area]] = found
            tried[found.used[area]] = budget
            progress(1)
    return _undominated(list(front.values()), area)


def _gap(low: Solution, high: Solution, known: int, area: int) -> float:
    """Return how much a point between two may differ from both, in area and loss."""
    losses = low.loss, high.loss
    fall = (np.log(low.loss / high.loss) if min(losses) > 0 else low.loss - high.loss)
    return float(fall * np.log(area / max(known, 1)))


def layer_by_layer(problem: Problem) -> list[Solution]:
    """Return the choices of layers that each weigh loss against the whole area of their units.

    A layer takes the candidate of least `loss + price * area`; one price for all layers, every
    price at which some layer changes its mind. Choices that another one beats in both area, units
    counted once, and loss are left out.
    """
    def area(option: Option) -> int:
        return sum(problem.units[unit].get(problem.area, 0) for unit in option.units)

    prices = {0.0}
    for of_layer in problem.layers.values():
        for a, b in itertools.permutations(of_layer, 2):
            if a.loss > b.loss and area(a) < area(b):
                prices.add((a.loss - b.loss) / (area(b) - area(a)))
    steps = sorted(prices)
    # Between two prices nothing changes; at one, both sides count.
    between = [(low + high) / 2 for low, high in itertools.pairwise(steps)]
    found: dict[tuple[str, ...], Solution] = {}
    for price in (*steps, *between, 2 * steps[-1] + 1):
        chosen = [min(of_layer, key=lambda o: (o.loss + price * area(o), area(o)))
                  for of_layer in problem.layers.values()]
        found.setdefault(tuple(option.candidate for option in chosen), problem.solution(chosen))
    return _undominated(list(found.values()), problem.area)


def best_within(problem: Problem, solutions: Sequence[Solution],
                budgets: Mapping[str, int]) -> Solution | None:
    """Return the solution of least loss that is within the budgets, None if none is."""
    return _held(problem, budgets, lambda limits: min(
        (s for s in solutions if s.within(limits)), key=lambda s: s.loss, default=None))


def greedy(problem: Problem, budgets: Mapping[str, int]) -> Solution | None:
    """Return what giving up one unit after the other leads to, None if that leads nowhere.

    It begins with each layer's least loss. While a budget is exceeded, that unit goes whose users
    lose least, by what the budgets' excess shrinks, when they take their next best candidate.
    """
    problem = problem.under(budgets)
    return _held(problem, budgets, lambda limits: _fewer_units(problem, limits))


def _fewer_units(problem: Problem, budgets: Mapping[str, int]) -> Solution | None:
    gone: frozenset[str] = frozenset()
    now = _without(problem, gone)
    while now is not None and not now.within(budgets):
        before, moves = _excess(now, budgets), []
        for unit in now.units:
            after = _without(problem, gone | {unit})
            if after is not None:
                saved = before - _excess(after, budgets)
                rank = (after.loss - now.loss) / saved if saved > 0 else np.inf
                moves.append((rank, -saved, unit, after))
        if not moves:
            return None
        *_, unit, now = min(moves, key=lambda move: move[:3])
        gone |= {unit}
    return now


def _without(problem: Problem, gone: frozenset[str]) -> Solution | None:
    """Return each layer's least loss without some units, None where a layer has nothing left."""
    chosen = []
    for of_layer in problem.layers.values():
        left = [option for option in of_layer if not option.units & gone]
        if not left:
            return None
        chosen.append(min(left, key=lambda option: option.loss))
    return problem.solution(chosen)


def _excess(solution: Solution, budgets: Mapping[str, int]) -> float:
    """Return by how much budgets are exceeded, each relative to itself."""
    return sum(max(0, solution.takes(name) - budget) / max(budget, 1)
               for name, budget in budgets.items())


def _undominated(solutions: Sequence[Solution], area: str) -> list[Solution]:
    """Return those that none beats in area and loss, by rising area, each once."""
    best, kept = np.inf, []
    for solution in sorted(solutions, key=lambda s: (s.used[area], s.loss)):
        if solution.loss < best - TIE * abs(best if np.isfinite(best) else 0):
            kept.append(solution)
            best = solution.loss
    return kept


def _optimum(problem: Problem, budgets: Mapping[str, int],
             find: Callable[[Mapping[str, int]], Solution | None]) -> Solution | None:
    """Return what `_held` does; where that is nothing, the choice of fewest cycles, if it holds."""
    found = _held(problem, budgets, find)
    if found is None and CYCLES in budgets:
        others = {name: budget for name, budget in budgets.items() if name != CYCLES}
        fewest = _held(problem, others, lambda limits: _cheapest(problem, CYCLES, limits))
        if fewest is not None and fewest.within(budgets):
            return fewest
    return found


def _held(problem: Problem, budgets: Mapping[str, int],
          find: Callable[[Mapping[str, int]], Solution | None]) -> Solution | None:
    """Return what is found, with its exact cycles, within the budgets; None if nothing is.

    Parameters
    ----------
    find : finds an answer whose estimated cycles are within limits: the budgets at first, and less
        each time that the exact cycles are not.
    """
    limits = dict(budgets)
    for _ in range(ATTEMPTS):
        estimated = find(limits)
        if estimated is None:
            return None
        found = problem.timed(estimated)
        if found.within(budgets):
            return found
        if found.used[CYCLES] is None:
            limits[UNITS] = len(found.units) - 1
        else:
            limits[CYCLES] = estimated.used[CYCLES] - (found.used[CYCLES] - budgets[CYCLES])
    return None


def _best(problem: Problem, budgets: Mapping[str, int], slack: float,
          without: Sequence[frozenset[str]] = ()) -> Solution | None:
    """Return the choice of least area among those of least loss, or of nearly least.

    Parameters
    ----------
    without : sets of units, none of which may be what is built.
    """
    losses = np.array([option.loss for option in problem.options])
    least = np.array([min(o.loss for o in of_layer) for of_layer in problem.layers.values()])
    # What no choice gets below does not matter; the rest is brought near one for the solver.
    offset = {layer: low for layer, low in zip(problem.layers, least, strict=True)}
    extra = losses - np.array([offset[option.layer] for option in problem.options])
    positive = extra[extra > 0]
    unit = max(abs(least.sum()), positive.min() if positive.size else 1.0)
    program = _Program(problem)
    others = program.other_units(without)
    first = program.minimize(extra / unit, budgets, others)
    if first is None:
        return None
    spare = slack * abs(first.loss)
    within = LinearConstraint(program.row(extra / unit), -np.inf,
                              (first.loss + spare - least.sum()) / unit + TIE)
    second = program.minimize(program.costs(problem.area), budgets, [*others, within])
    # The solver holds the loss within its tolerance, which may be more than a tie.
    most = first.loss + spare + TIE * max(abs(first.loss), unit)
    return second if second is not None and second.loss <= most else first


def _least(problem: Problem, name: str, budgets: Mapping[str, int]) -> Solution:
    """Return the choice within the budgets that takes least of a resource."""
    problem = problem.under({**budgets, name: 0})
    found = _optimum(problem, budgets, lambda limits: _cheapest(problem, name, limits))
    if found is None or found.used[name] is None:
        raise InfeasibleError("no choice is within the budgets")
    return found


def _cheapest(problem: Problem, name: str, budgets: Mapping[str, int]) -> Solution | None:
    """Return the choice that takes least of a resource, None if there is none."""
    program = _Program(problem)
    costs = program.costs(name)
    return program.minimize(costs / max(costs.max(), 1), budgets)


class _Program:
    """The problem as rows and columns: first a column for each option, then one for each unit."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.units = sorted(frozenset().union(*(o.units for o in problem.options)))
        self.size = len(problem.options) + len(self.units)
        place = {unit: len(problem.options) + i for i, unit in enumerate(self.units)}
        layers = {layer: i for i, layer in enumerate(problem.layers)}
        takes = [(layers[o.layer], i) for i, o in enumerate(problem.options)]
        needs = [(i, place[unit]) for i, o in enumerate(problem.options)
                 for unit in sorted(o.units)]
        self.fixed = [LinearConstraint(_sparse([(*at, 1.0) for at in takes], self.size), 1, 1)]
        if needs:
            entries = [entry for row, (option, unit) in enumerate(needs)
                       for entry in ((row, option, 1.0), (row, unit, -1.0))]
            self.fixed.append(LinearConstraint(_sparse(entries, self.size), -np.inf, 0))

    def row(self, of_options: np.ndarray) -> np.ndarray:
        """Return a row with numbers of the options alone."""
        return np.concatenate([of_options, np.zeros(len(self.units))])[None]

    def other_units(self, without: Sequence[frozenset[str]]) -> list[LinearConstraint]:
        """Return that no set of units is built, and no unit that no layer uses."""
        if not without:
            return []
        idle = np.zeros((len(self.units), self.size))
        for row, unit in enumerate(self.units):
            idle[row, len(self.problem.options) + row] = 1.0
            idle[row, [i for i, o in enumerate(self.problem.options) if unit in o.units]] = -1.0
        sets = np.array([[1.0 if unit in built else -1.0 for unit in self.units]
                         for built in without])
        rows = np.hstack([np.zeros((len(sets), len(self.problem.options))), sets])
        return [LinearConstraint(idle, -np.inf, 0),
                LinearConstraint(rows, -np.inf, [len(built) - 1 for built in without])]

    @functools.cached_property
    def _fewest(self) -> dict[str, int]:
        """Least cycles that each layer adds."""
        return {layer: min(option.cycles for option in of_layer)
                for layer, of_layer in self.problem.layers.items()}

    def costs(self, name: str) -> np.ndarray:
        """Return what each column takes of a resource, or of cycles beyond `always`."""
        options = [o.cycles - self._fewest[o.layer] if name == CYCLES else 0
                   for o in self.problem.options]
        units = [1 if name == UNITS else self.problem.units[unit].get(name, 0)
                 for unit in self.units]
        return np.array(options + units, float)

    def always(self, name: str) -> int:
        """Return what every choice takes; without it small differences of cycles stay visible."""
        return self.problem.cycles + sum(self._fewest.values()) if name == CYCLES else 0

    def minimize(self, costs: np.ndarray, budgets: Mapping[str, int],
                 more: Sequence[LinearConstraint] = ()) -> Solution | None:
        """Return the optimum, None if there is no solution.

        Parameters
        ----------
        costs : of the options, or of all columns.
        """
        costs = costs if len(costs) == self.size else self.row(costs)[0]
        limits = {name: budget - self.always(name) for name, budget in budgets.items()}
        while True:
            if min(limits.values(), default=0) < 0:
                return None
            rows = [LinearConstraint(self.costs(name)[None] / max(limit, 1), -np.inf,
                                     limit / max(limit, 1)) for name, limit in limits.items()]
            found = milp(costs, integrality=np.ones(self.size), bounds=Bounds(0, 1),
                         constraints=[*self.fixed, *rows, *more], options={"mip_rel_gap": 0.0})
            if found.status == INFEASIBLE:
                return None
            if found.status != OPTIMAL:
                raise RuntimeError(f"HiGHS: {found.message}")
            chosen = [option for option, taken in zip(self.problem.options, found.x, strict=False)
                      if taken > 0.5]
            solution = self.problem.solution(chosen)
            over = {name: solution.takes(name) - budget for name, budget in budgets.items()
                    if solution.takes(name) > budget}
            if not over:
                return solution
            # The solver holds budgets of millions within its tolerance alone: ask for less.
            for name, excess in over.items():
                limits[name] -= excess


def _sparse(entries: Sequence[tuple[int, int, float]], width: int) -> coo_array:
    """Return a matrix from rows, columns and values."""
    rows, columns, values = zip(*entries, strict=True)
    return coo_array((values, (rows, columns)), shape=(max(rows) + 1, width)).tocsr()
