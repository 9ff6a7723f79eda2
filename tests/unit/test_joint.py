"""The joint search: exact against all choices, budgets, fronts, and the simpler answers."""

import dataclasses
import itertools
import re

import numpy as np
import pytest

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.joint import (
    CYCLES,
    InfeasibleError,
    Option,
    Problem,
    best_within,
    greedy,
    layer_by_layer,
    pareto,
    parse_budgets,
    shortlist,
    solve,
)


def random_problem(seed, layers=4, units=5) -> Problem:
    """Return a problem of two operators, whose candidates need one unit or two."""
    rng = np.random.default_rng(seed)
    costs = {f"u{i}": {"lut": int(rng.integers(50, 900)), "dsp": int(rng.integers(0, 9))}
             for i in range(units)}
    options = []
    for layer in range(layers):
        known = [f"u{i}" for i in range(units) if i % 2 == layer % 2 or i == units - 1]
        for unit in known:
            more = {"u0"} if rng.random() < 0.3 else set()
            options.append(Option(f"l{layer}", unit, float(10 ** rng.uniform(-4, 1)),
                                  int(rng.integers(100, 1000)), frozenset({unit} | more)))
    return Problem(tuple(options), costs, "lut")


def every_solution(problem):
    return [problem.solution(chosen) for chosen in itertools.product(*problem.layers.values())]


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_all_choices(seed):
    problem = random_problem(seed)
    everything = every_solution(problem)
    rng = np.random.default_rng(seed + 100)
    for _ in range(4):
        like = everything[rng.integers(len(everything))]
        budgets = {name: like.used[name] for name in ("lut", "dsp", CYCLES)
                   if rng.random() < 0.7}
        expected = min((s for s in everything if s.within(budgets)),
                       key=lambda s: (s.loss, s.used["lut"]))
        found = solve(problem, budgets)
        assert found.within(budgets)
        assert found.loss == pytest.approx(expected.loss, rel=1e-9)
        assert found == problem.of_choice(found.choice)


def timed_problem(seed, deviation, units=5) -> Problem:
    """Return a problem whose cycles are off what they add up to by a number up to a deviation.

    A choice of more than some units cannot be timed.
    """
    plain = random_problem(seed)
    rng = np.random.default_rng(seed)
    costs = {name: {**unit, CYCLES: int(rng.integers(0, 200))}
             for name, unit in plain.units.items()}
    added_up = dataclasses.replace(plain, units=costs, cycles=int(rng.integers(0, 5000)))
    off = {tuple(s.choice.values()): int(rng.integers(-deviation, deviation + 1))
           for s in every_solution(added_up)}

    def exact(choice):
        solution = added_up.of_choice(choice)
        if len(solution.units) > units:
            return None
        return solution.used[CYCLES] + off[tuple(choice.values())]

    return dataclasses.replace(added_up, exact=exact)


@pytest.mark.parametrize("seed", range(8))
def test_the_optimum_is_that_of_all_choices_where_units_take_cycles_too(seed):
    problem = timed_problem(seed, 0)
    everything = every_solution(problem)
    for like in everything[::len(everything) // 4]:
        budgets = {"lut": like.used["lut"], CYCLES: like.used[CYCLES]}
        expected = min((s for s in everything if s.within(budgets)),
                       key=lambda s: (s.loss, s.used["lut"]))
        found = solve(problem, budgets)
        assert found.within(budgets) and found.loss == pytest.approx(expected.loss, rel=1e-9)
        assert found == problem.of_choice(found.choice)


@pytest.mark.parametrize("seed", range(12))
def test_a_budget_is_kept_by_the_exact_cycles(seed):
    deviation = 60
    problem = timed_problem(seed, deviation)
    everything = every_solution(problem)
    exact = [problem.timed(s) for s in everything]
    for like in everything[::len(everything) // 5]:
        budget = like.used[CYCLES] + deviation
        found = solve(problem, {CYCLES: budget})
        assert found == problem.of_choice(found.choice) and found.used[CYCLES] <= budget
        # Never better than the best, nor worse than what the estimate cannot keep out.
        best = min(s.loss for s in exact if s.within({CYCLES: budget}))
        sure = min((s.loss for s in everything if s.used[CYCLES] <= budget - deviation),
                   default=np.inf)
        assert best * (1 - 1e-9) <= found.loss <= sure * (1 + 1e-9)
        for other in (greedy(problem, {CYCLES: budget}),
                      best_within(problem, layer_by_layer(problem), {CYCLES: budget})):
            assert other is None or other.used[CYCLES] <= budget
        assert all(point.used[CYCLES] <= budget for point in pareto(problem, 4, {CYCLES: budget}))


@pytest.mark.parametrize("seed", range(6))
def test_too_few_cycles_are_refused_with_a_number_that_is_enough(seed):
    problem = timed_problem(seed, 60)
    with pytest.raises(InfeasibleError) as caught:
        solve(problem, {CYCLES: 0})
    least = re.fullmatch("budget of cycles must be at least ([0-9,]+), not 0", str(caught.value))
    least = int(least[1].replace(",", ""))
    assert solve(problem, {CYCLES: least}).used[CYCLES] <= least
    assert least <= 60 + min(problem.timed(s).used[CYCLES] for s in every_solution(problem)) + 60


@pytest.mark.parametrize("seed", range(6))
def test_a_choice_of_more_units_than_can_be_timed_is_none_under_a_budget(seed):
    problem = timed_problem(seed, 0, units=3)
    unlimited = solve(problem)
    found = solve(problem, {CYCLES: 1_000_000})
    assert len(found.units) <= 3 and found.used[CYCLES] is not None
    if len(unlimited.units) > 3:
        assert unlimited.used[CYCLES] is None and not unlimited.within({CYCLES: 1_000_000})
    expected = min(s.loss for s in every_solution(problem) if len(s.units) <= 3)
    assert found.loss == pytest.approx(expected, rel=1e-9)


def test_a_candidate_without_cycles_is_none_under_a_budget_of_them():
    options = [Option("a", "timed", 2.0, 10, frozenset({"u"})),
               Option("a", "untimed", 1.0, None, frozenset({"u"}))]
    problem = Problem(tuple(options), {"u": {"lut": 1}}, "lut")
    assert problem.untimed == ["untimed"]
    free = solve(problem)
    assert free.choice == {"a": "untimed"} and free.used == {"lut": 1, CYCLES: None}
    assert solve(problem, {CYCLES: 10}).choice == {"a": "timed"}
    with pytest.raises(InfeasibleError, match="^budget of cycles must be at least 10, not 9$"):
        solve(problem, {CYCLES: 9})
    with pytest.raises(InfeasibleError, match="^budget of cycles must be left out: no candidate of "
                                              "a can be timed$"):
        solve(Problem(tuple(options[1:]), {"u": {"lut": 1}}, "lut"), {CYCLES: 9})


def test_of_equal_losses_the_least_area_is_taken():
    units = {"large": {"lut": 9}, "small": {"lut": 4}, "other": {"lut": 5}}
    options = [Option(layer, unit, 1.0, 1, frozenset({unit})) for layer in "ab" for unit in units]
    found = solve(Problem(tuple(options), units, "lut"))
    assert set(found.choice.values()) == {"small"} and found.used["lut"] == 4


@pytest.mark.parametrize("seed", range(4))
def test_within_the_slack_the_least_area_is_taken(seed):
    problem = random_problem(seed)
    everything, least = every_solution(problem), solve(problem)
    for slack in (0.0, 0.05, 0.5):
        found = solve(problem, slack=slack)
        near = [s for s in everything if s.loss <= least.loss * (1 + slack) * (1 + 1e-9)]
        assert found.loss <= least.loss * (1 + slack) * (1 + 1e-8)
        assert found.used["lut"] == min(s.used["lut"] for s in near)


@pytest.mark.parametrize("seed", range(8))
def test_a_shortlist_is_the_best_of_each_set_of_units(seed):
    problem = random_problem(seed)
    everything = every_solution(problem)
    budgets = {"lut": sorted(s.used["lut"] for s in everything)[len(everything) * 3 // 4]}
    best = {}
    for solution in everything:
        if solution.within(budgets):
            known = best.setdefault(solution.units, solution)
            best[solution.units] = min(known, solution, key=lambda s: s.loss)
    expected = sorted(s.loss for s in best.values())
    found = shortlist(problem, 6, budgets)
    assert [s.loss for s in found] == pytest.approx(expected[:6], rel=1e-8)
    assert len({s.units for s in found}) == len(found)
    assert all(s.within(budgets) for s in found)
    assert len(shortlist(problem, len(best) + 5, budgets)) == len(best)


@pytest.mark.parametrize("seed", range(4))
def test_a_shortlist_keeps_a_budget_of_cycles(seed):
    problem = timed_problem(seed, 60)
    cycles = sorted(problem.of_choice(s.choice).used[CYCLES] for s in every_solution(problem)
                    if problem.of_choice(s.choice).used[CYCLES] is not None)
    budgets = {CYCLES: cycles[len(cycles) // 2]}
    found = shortlist(problem, 5, budgets)
    assert found
    assert found[0].loss == pytest.approx(solve(problem, budgets).loss, rel=1e-9)
    assert len({s.units for s in found}) == len(found)
    for solution in found:
        assert solution == problem.of_choice(solution.choice)
        assert solution.within(budgets)


def test_a_unit_is_paid_once_however_many_layers_use_it():
    units = {"good": {"lut": 100}, "cheap": {"lut": 60}, "tiny": {"lut": 50}}
    options = [Option(layer, unit, loss, 10, frozenset({unit})) for layer in "abc"
               for unit, loss in (("good", 1.0), ("cheap", 2.0), ("tiny", 3.0))]
    problem = Problem(tuple(options), units, "lut")
    found = solve(problem, {"lut": 100})
    assert set(found.choice.values()) == {"good"} and found.used == {"lut": 100, CYCLES: 30}


def test_a_looser_budget_is_never_worse():
    problem = random_problem(3, layers=6, units=7)
    budgets = range(200, 3000, 100)
    losses = []
    for budget in budgets:
        try:
            losses.append(solve(problem, {"lut": budget}).loss)
        except InfeasibleError:
            losses.append(np.inf)
    assert all(a >= b for a, b in itertools.pairwise(losses)) and np.isfinite(losses[-1])


@pytest.mark.parametrize("seed", range(4))
def test_the_front_is_that_of_all_choices(seed):
    problem = random_problem(seed)
    everything = every_solution(problem)
    front = pareto(problem, 200)
    few = pareto(problem, 4)
    assert len(few) <= 4 and all(point in front for point in few)
    assert [few[0], few[-1]] == [front[0], front[-1]]
    for point in front:
        beaten = [s for s in everything if s.used["lut"] <= point.used["lut"]
                  and s.loss < point.loss * (1 - 1e-9)]
        assert not beaten
    exact = {min((s for s in everything if s.used["lut"] <= area), key=lambda s: s.loss).loss
             for area in {s.used["lut"] for s in everything}
             if area >= min(s.used["lut"] for s in everything)}
    assert len(front) == len(exact)
    areas, losses = ([f(s) for s in front] for f in (lambda s: s.used["lut"], lambda s: s.loss))
    assert areas == sorted(set(areas)) and losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(min(s.loss for s in everything))
    assert areas[0] == min(s.used["lut"] for s in everything)


@pytest.mark.parametrize("seed", range(6))
def test_simpler_answers_are_possible_and_never_better(seed):
    problem = random_problem(seed, layers=6, units=7)
    alone = layer_by_layer(problem)
    assert alone[-1].loss == pytest.approx(solve(problem).loss)
    least = min(s.used["lut"] for s in alone)
    for budget in (least, least + 300, least + 900):
        exact = solve(problem, {"lut": budget})
        one, other = best_within(problem, alone, {"lut": budget}), greedy(problem, {"lut": budget})
        assert one.within({"lut": budget}) and exact.loss <= one.loss * (1 + 1e-9)
        if other is not None:
            assert other.within({"lut": budget}) and exact.loss <= other.loss * (1 + 1e-9)


def test_a_budget_that_is_too_small_is_named_with_the_least_possible():
    units = {"a": {"lut": 1000, "dsp": 1}, "b": {"lut": 500, "dsp": 8}}
    options = [Option("l", unit, 1.0, 10, frozenset({unit})) for unit in units]
    problem = Problem(tuple(options), units, "lut")
    with pytest.raises(InfeasibleError, match="^budget of lut must be at least 500, not 400$"):
        solve(problem, {"lut": 400, "dsp": 9})
    with pytest.raises(InfeasibleError, match="^budget of cycles must be at least 10, not 9$"):
        solve(problem, {CYCLES: 9})
    both = ("^no choice is within lut=600 and dsp=2 together: it takes lut at least 1,000, or dsp "
            "at least 8, with the other budgets as they are$")
    with pytest.raises(InfeasibleError, match=both):
        solve(problem, {"lut": 600, "dsp": 2})
    assert greedy(problem, {"lut": 600, "dsp": 2}) is None


def test_large_budgets_are_held_to_the_last_cycle():
    options = [Option(f"l{i}", name, loss, 10_000_000 + more, frozenset({"u"}))
               for i in range(5) for name, loss, more in (("fast", 2.0, 0), ("slow", 1.0, 1))]
    problem = Problem(tuple(options), {"u": {"lut": 1}}, "lut")
    for more in range(6):
        assert solve(problem, {CYCLES: 50_000_000 + more}).used[CYCLES] == 50_000_000 + more


@pytest.mark.parametrize(("text", "message"), [
    ("lut", "^budget must be RESOURCE=NUMBER, not 'lut'$"),
    ("gates=3", "^budget must be of one of lut, dsp, cycles, not 'gates'$"),
    ("lut=1,lut=2", "^budget of lut must be given once$"),
    ("lut=-1", "^budget of lut must be a whole number, not '-1'$"),
    ("lut=1.5", "^budget of lut must be a whole number, not '1.5'$"),
    ("", "^budget must be RESOURCE=NUMBER, not ''$"),
])
def test_a_budget_that_is_none_is_refused(text, message):
    with pytest.raises(UserError, match=message):
        parse_budgets(text, ["lut", "dsp", CYCLES])


def test_budgets_are_read():
    assert parse_budgets("lut=1500, cycles=20000", ["lut", CYCLES]) == {"lut": 1500,
                                                                        "cycles": 20000}


def test_a_problem_or_front_without_sense_is_refused():
    with pytest.raises(ValueError, match="^a problem must have at least one option$"):
        Problem((), {}, "lut")
    with pytest.raises(ValueError, match="^loss of c in l must be finite, not nan$"):
        Problem((Option("l", "c", float("nan"), 1, frozenset()),), {}, "lut")
    with pytest.raises(UserError, match="^a Pareto front must have at least 2 points, not 1$"):
        pareto(random_problem(0), 1)
