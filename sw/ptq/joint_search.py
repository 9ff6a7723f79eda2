"""The joint search on a network: which proxy to minimise, the front, what it gains over others.

The arithmetic of choosing is `vitrtl.sw.ptq.joint`; here every choice becomes an integer network
that is run, so that what was minimised and what came of it stand side by side. The proxy proposes,
the network decides: of the best choices by proxy that one is taken whose logits err least on
training images, and among them are the answers that it is to be compared with.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from vitrtl.sw.ptq import joint
from vitrtl.sw.ptq.accelerator_cycles import AcceleratorCycles
from vitrtl.sw.ptq.comparison import Accuracy, Reference
from vitrtl.sw.ptq.evaluations import Evaluations
from vitrtl.sw.ptq.joint import Problem, Solution
from vitrtl.sw.ptq.origin import Origin
from vitrtl.sw.ptq.proxies import PROXIES, Correlation, correlate, random_choices
from vitrtl.sw.ptq.sensitivity import Sensitivity
from vitrtl.sw.ptq.unit_costs import UNITS_ALONE, UnitCosts

__all__ = ["GREEDY", "JOINT", "LAYER_BY_LAYER", "Considered", "Findings", "Gain",
           "JointSearch", "Point", "Trial"]

JOINT, LAYER_BY_LAYER, GREEDY, OTHER = "joint", "layer by layer", "greedy", "without budgets"
"""Ways to an answer."""

TRIAL_NETWORKS = 32
"""Networks of random choices that the proxies are held against."""

TRIAL_IMAGES = 64
"""Calibration images that they are run on."""

SHORTLIST_IMAGES = 512
"""Training images that a shortlist is run on."""

Progress = Callable[[str, int], Callable[[int], None]]
"""`progress(what, total)` gives a function that is called with how many more are done."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A choice for all layers, what was minimised and what came of it.

    Parameters
    ----------
    way : to the choice: `joint`, `layer by layer`, `greedy` or `without budgets`.
    name : for people.
    choice : candidate of each layer.
    budgets : that it had to keep.
    used : of each resource, by the units that the choice decides, and cycles of one image; None of
        these where no accelerator runs the network.
    clock_mhz : of the slowest of its units; None where no clock is measured.
    loss : sum of the proxy, from calibration images.
    network_digest : the integer network.
    found : what it gets right on the test images.
    """

    way: str
    name: str
    choice: dict[str, str]
    budgets: dict[str, int]
    used: dict[str, int | None]
    clock_mhz: float | None
    loss: float
    network_digest: str
    found: Accuracy


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What joint choice gains over another answer.

    Parameters
    ----------
    other : the answer.
    same_area : the joint optimum with no more area.
    no_more : the joint optimum with no more of any resource, and of cycles.
    """

    other: Point
    same_area: Point
    no_more: Point


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A network of random choices, and what each proxy says of it.

    Parameters
    ----------
    choice : candidate of each layer.
    network_digest : the integer network.
    logit_error : on calibration images.
    sums : of each proxy over the layers.
    """

    choice: dict[str, str]
    network_digest: str
    logit_error: float
    sums: dict[str, float]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Considered:
    """A choice within the budgets that could be taken, and how its network does.

    Parameters
    ----------
    name : for people: its rank by proxy, or the answer that it is.
    solution : what it costs.
    network_digest : the integer network.
    logit_error : on training images.
    """

    name: str
    solution: Solution
    network_digest: str
    logit_error: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What a joint search found.

    Parameters
    ----------
    proxy : name of what was minimised.
    correlations : of each proxy with the true error, the best first.
    trials : networks that they come from.
    cycles_of : what takes the cycles of one image that are counted.
    untimed : candidates that have none, left out under a budget of cycles.
    solution : what is taken within the budgets.
    considered : what it was taken from, the least error first; nothing if the optimum by proxy is
        taken as it is.
    considered_images : training images that these were run on.
    gains : over other answers.
    front : the Pareto front with the simpler ways' answers; empty if it was not asked for.
    """

    proxy: str
    correlations: dict[str, Correlation]
    trials: list[Trial]
    cycles_of: str
    untimed: list[str]
    solution: Solution
    considered: list[Considered]
    considered_images: int
    gains: list[Gain]
    front: list[Point]


class JointSearch:
    """Choices for all layers together.

    Parameters
    ----------
    origin : what the integer networks are made from.
    records : all candidates of each layer.
    costs : of the units.
    reference : test images, and the float network's answers.
    evaluations : where what networks get right is kept.
    progress : of what takes seconds.
    lanes : that a unit may have.
    cycles : of one image on the accelerator; None for a network that it does not run, whose cycles
        are then those of its units, one layer after the other.
    """

    def __init__(self, origin: Origin, records: Sequence[Sensitivity], costs: UnitCosts,
                 reference: Reference, evaluations: Evaluations, progress: Progress,
                 lanes: Sequence[int] = (1,), cycles: AcceleratorCycles | None = None) -> None:
        self.origin = origin
        self.records = records
        self.costs = costs
        self.reference = reference
        self.evaluations = evaluations
        self.progress = progress
        self.lanes = lanes
        self.cycles = cycles

    def find(self, calibration: Reference, others: Mapping[str, Mapping[str, str]],
             budgets: Mapping[str, int], *, points: int | None = None, proxy: str | None = None,
             slack: float = 0.0, shortlist: int = 0,
             candidates: Mapping[str, Mapping[str, str]] | None = None) -> Findings:
        """Choose a proxy, solve, run what is best, and compare.

        Parameters
        ----------
        calibration : images, and the float network's answers, on which the proxies are tried.
        others : choices to compare with, by name.
        budgets : of resources and cycles.
        points : of the front; None for no front.
        proxy : what to minimise; None takes the one that foretells the error best.
        slack : by how much of itself the solution's loss may be above the least, for less area;
            with a shortlist, its error on the images.
        shortlist : choices by proxy that are run on training images, of which the best is taken;
            0 takes the optimum by proxy.
        candidates : further choices that may be taken, by name; with a shortlist.

        Raises
        ------
        InfeasibleError
            If no choice is within the budgets.
        """
        # Before any network is run: budgets that nothing keeps are so whatever is minimised.
        joint.solve(self.problem(proxy or next(iter(PROXIES))), budgets)
        trials = self.trials(calibration)
        correlations = self.correlations(trials)
        proxy = proxy or next(iter(correlations))
        problem = self.problem(proxy)
        if shortlist:
            judge = self.judge()
            considered = self.considered(problem, shortlist, candidates or {}, budgets, judge)
            most = considered[0].logit_error * (1 + slack)
            solution = min((one.solution for one in considered if one.logit_error <= most),
                           key=lambda s: s.used[problem.area])
        else:
            judge, considered = None, []
            solution = joint.solve(problem, budgets, slack)
        return Findings(
            proxy=proxy, correlations=correlations, trials=trials,
            cycles_of=UNITS_ALONE if self.cycles is None else self.cycles.name,
            untimed=problem.untimed, solution=solution, considered=considered,
            considered_images=0 if judge is None else len(judge.labels),
            gains=self.gains(problem, others),
            front=[] if points is None else self.front(problem, points, budgets))

    def judge(self) -> Reference:
        """Return the training images that a shortlist is run on, and the float network's answers.

        Not those of calibration, as long as there are others: rounding and the proxy suit these.
        """
        images = self.origin.images
        count = min(len(self.origin.ids) + SHORTLIST_IMAGES, len(images.train))
        ids = np.setdiff1d(images.calibration(count, self.origin.seed), self.origin.ids)
        ids = (ids if len(ids) else self.origin.ids)[:SHORTLIST_IMAGES]
        return Reference.of(self.origin.model, images.some(ids), images.labels[ids])

    def considered(self, problem: Problem, count: int, candidates: Mapping[str, Mapping[str, str]],
                   budgets: Mapping[str, int], judge: Reference) -> list[Considered]:
        """Run the best choices by proxy, and further ones, on training images.

        Parameters
        ----------
        problem : with the proxy's losses.
        count : of choices by proxy.
        candidates : further choices, by name; those that are not within the budgets, or known by
            then, are left out.
        budgets : of resources and cycles.
        judge : the images, and the float network's answers.
        """
        ranked = joint.shortlist(problem, count, budgets)
        named = {f"rank {rank} by proxy": solution for rank, solution in enumerate(ranked, 1)}
        for name, choice in candidates.items():
            if problem.offers(choice):
                solution = problem.of_choice(choice)
                if solution.within(budgets) and solution not in named.values():
                    named[name] = solution
        advance = self.progress("shortlist", len(named) * len(judge.labels))
        found = []
        for name, solution in named.items():
            network = self.origin.network(solution.choice)
            error = self.evaluations.of(network, judge, advance).logit_error
            found.append(Considered(name=name, solution=solution, network_digest=network.digest,
                                    logit_error=error))
        return sorted(found, key=lambda one: (one.logit_error, one.solution.used[problem.area]))

    def trials(self, calibration: Reference, seed: int = 0) -> list[Trial]:
        """Run networks of random choices on calibration images."""
        names: dict[str, dict[str, None]] = {}
        for r in self.records:
            names.setdefault(r.operator, {})[r.candidate] = None
        operators = {r.layer: r.operator for r in self.records}
        choices = random_choices({operator: list(of) for operator, of in names.items()},
                                 operators, TRIAL_NETWORKS, seed)
        losses = {name: {(r.layer, r.candidate): value for r, value in
                         zip(self.records, proxy.losses(self.records), strict=True)}
                  for name, proxy in PROXIES.items()}
        advance = self.progress("random networks", len(choices) * len(calibration.labels))
        trials = []
        for choice in choices:
            network = self.origin.network(choice)
            error = self.evaluations.of(network, calibration, advance).logit_error
            trials.append(Trial(choice=choice, network_digest=network.digest, logit_error=error,
                                sums={name: sum(loss[pair] for pair in choice.items())
                                      for name, loss in losses.items()}))
        return trials

    def correlations(self, trials: Sequence[Trial]) -> dict[str, Correlation]:
        """Return how well each proxy foretells the trials' errors, the best first."""
        found = correlate(self.records, [t.choice for t in trials],
                          [t.logit_error for t in trials])
        return dict(sorted(found.items(), key=lambda item: -item[1].spearman))

    def problem(self, proxy: str) -> Problem:
        """Return the problem of minimising a proxy."""
        return joint.problem_of(self.records, PROXIES[proxy].losses(self.records), self.costs,
                                self.lanes, self.cycles)

    def points(self, named: Sequence[tuple[str, str, Solution, Mapping[str, int]]],
               what: str) -> list[Point]:
        """Run the networks of some solutions.

        Parameters
        ----------
        named : way, name, solution and budgets of each.
        what : they are, for the progress.
        """
        advance = self.progress(what, len(named) * len(self.reference.labels))
        points = []
        for way, name, solution, budgets in named:
            network = self.origin.network(solution.choice)
            clocks = [self.costs.rows[tuple(unit.split())].clock_mhz for unit in solution.units]
            points.append(Point(
                way=way, name=name, choice=solution.choice, budgets=dict(budgets),
                used=solution.used, loss=solution.loss, network_digest=network.digest,
                clock_mhz=min((clock for clock in clocks if clock is not None), default=None),
                found=self.evaluations.of(network, self.reference, advance)))
        return points

    def front(self, problem: Problem, points: int, budgets: Mapping[str, int]) -> list[Point]:
        """Return the Pareto front, and what the simpler ways give at each of its areas."""
        solved = joint.pareto(problem, points, budgets, self.progress("optima", points))
        alone = joint.layer_by_layer(problem.under(budgets))
        named = []
        for solution in solved:
            at = {**budgets, problem.area: solution.used[problem.area]}
            named.append((JOINT, JOINT, solution, at))
            for way, other in ((LAYER_BY_LAYER, joint.best_within(problem, alone, at)),
                               (GREEDY, joint.greedy(problem, at))):
                if other is not None:
                    named.append((way, way, other, at))
        return self.points(named, "networks of the front")

    def gains(self, problem: Problem, choices: Mapping[str, Mapping[str, str]]) -> list[Gain]:
        """Return what joint choice gains over some choices, by name; others than of the problem's
        candidates, such as those in float, are left out.
        """
        named = []
        for name, choice in choices.items():
            if not problem.offers(choice):
                continue
            solution = problem.of_choice(choice)
            area = {problem.area: solution.used[problem.area]}
            all_of_it = {what: used for what, used in solution.used.items() if used is not None}
            named.append((OTHER, name, solution, {}))
            named += [(JOINT, f"{JOINT}, {how} {name}",
                       joint.solve(problem, budgets, known=solution), budgets)
                      for how, budgets in (("area of", area), ("no more than", all_of_it))]
        points = iter(self.points(named, "what joint choice gains"))
        return [Gain(other=other, same_area=next(points), no_more=next(points))
                for other in points]
