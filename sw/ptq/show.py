"""The search on the terminal: candidates per layer, choices per rule, networks side by side."""

import dataclasses
from collections.abc import Mapping, Sequence

from rich.table import Table

from vitrtl.sw.candidate import Candidate, candidate, candidates_of
from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.ptq.comparison import Evaluation, Reference
from vitrtl.sw.ptq.joint import Solution
from vitrtl.sw.ptq.joint_search import JOINT, Considered, Gain, Point
from vitrtl.sw.ptq.metrics import NORMALIZATIONS
from vitrtl.sw.ptq.omega_study import Agreement
from vitrtl.sw.ptq.proxies import PROXIES, Correlation
from vitrtl.sw.ptq.search import RULES, Scored, choose, counts, differing, layers_in
from vitrtl.sw.ptq.unit_costs import Total
from vitrtl.sw.study_tables import SHORTLISTED

__all__ = ["candidate_table", "choice_table", "comparison_text", "front_table", "gain_table",
           "network_table", "omega_table", "proxy_table", "several_units_text", "shortlist_table"]

SHOWN = 3
"""Candidates of a layer that the terminal shows."""


def candidate_table(scored: Sequence[Scored], choice: Mapping[str, str],
                    resource: str) -> Table:
    """Return the best candidates of each layer by Omega, and the chosen one, marked."""
    table = Table(
        "layer", "method", "ASQNR in", "ASQNR out", "SQNR diff", "SQNR", "P", "P norm", resource,
        "C norm", "Omega", "chosen", title=f"Each layer's {SHOWN} highest Omega, and the chosen",
        caption=(
            "All candidates are in sensitivity.csv. ASQNR (20 log10) in the network that uses the "
            "method for the whole operator, SQNR diff is in minus out; SQNR (dB), P (squared error "
            "of an element) and Omega of the method alone, on the float input in codes. Norm: over "
            "the layer's largest."))
    _numbers(table, 2, 11)
    for layer, of_layer in layers_in(scored).items():
        ranked = sorted(of_layer, key=lambda c: -c.omega)
        taken = dataclasses.replace(candidate(choice[layer]), lanes=1).name
        shown = [c for i, c in enumerate(ranked) if i < SHOWN or c.candidate == taken]
        for i, one in enumerate(shown):
            s = one.sensitivity
            chosen = taken == one.candidate
            mark = ("yes" if len(of_layer) > 1 else "only one") if chosen else ""
            table.add_row(
                layer if i == 0 else "", candidate(s.candidate).method, f"{s.asqnr_in:.1f}",
                f"{s.asqnr_out:.1f}", f"{s.sqnr_diff:.1f}", f"{s.sqnr:.1f}",
                f"{s.perturbation_mean:.2e}", f"{one.perturbation_norm:.3f}",
                f"{one.cost:,}", f"{one.cost_norm:.3f}", f"{one.omega:.4f}",
                mark, style="bold" if chosen and len(of_layer) > 1 else None,
                end_section=0 < i == len(shown) - 1)
    return table


def choice_table(choices: Mapping[str, Mapping[str, str]], chosen: str) -> Table:
    """Return how many layers take each candidate by each way to choose.

    As Table 3 of the Mixed paper.

    Parameters
    ----------
    choices : candidate of each layer, by the way to choose.
    chosen : the way whose choice is written.
    """
    totals = {name: counts(choice) for name, choice in choices.items()}
    table = Table("operator", "method", *(
        f"{name}{', this choice' if name == chosen else ''}" for name in choices),
        title="Layers that take each method, by the way to choose")
    _numbers(table, 2)
    for operator in OPERATORS:
        used = _used(operator, {name for total in totals.values() for name in total})
        for i, one in enumerate(used):
            table.add_row("" if i else operator, one.method,
                          *(str(total.get(one.name, 0) or "") for total in totals.values()),
                          end_section=i == len(used) - 1)
    return table


def comparison_text(scored: Sequence[Scored], resource: str) -> str:
    """Return how often Omega decides otherwise than cost or error alone."""
    free = [layer for layer, of_layer in layers_in(scored).items() if len(of_layer) > 1]
    choices = {name: choose(scored, rule) for name, rule in RULES.items()}
    cheapest, best = (len(differing(choices["omega"], choices[name]))
                      for name in ("argmin_c", "argmax_q"))
    fixed = len(layers_in(scored)) - len(free)
    text = (f"Omega's choice differs from the least {resource} in {cheapest} and from the highest "
            f"SQNR in {best} of the {len(free)} layers that have a choice.")
    return f"{text} {fixed} layers have one method and thus no choice." if fixed else text


def omega_table(agreements: Sequence[Agreement], evaluations: Sequence[Evaluation],
                area_unit: str) -> Table:
    """Return how often Omega takes the cheapest and the most accurate, by normalization."""
    table = Table("P and C", "cheapest", "most accurate", "both", "neither", "methods",
                  f"non-linear\n{area_unit}", "logit error",
                  title="Layers for which Omega takes the cheapest and the most accurate candidate")
    _numbers(table, 1)
    for a, e in zip(agreements, evaluations, strict=True):
        table.add_row(NORMALIZATIONS[a.normalization].doc, *(
            f"{count} of {a.layers}" for count in (a.cheapest, a.most_accurate, a.both,
                                                   a.neither)),
            str(a.candidates), f"{e.nonlinear.area:,}", f"{e.logit_error:.2%}")
    return table


def several_units_text(choice: Mapping[str, str]) -> str | None:
    """Return which operators take more than one unit, which a choice layer by layer ignores."""
    used = {operator: [one.method for one in _used(operator, set(choice.values()))]
            for operator in OPERATORS}
    several = [f"{operator} ({', '.join(methods)})" for operator, methods in used.items()
               if len(methods) > 1]
    if not several:
        return None
    return (f"More than one unit is to be built for {' and '.join(several)}: each layer chose by "
            "itself, although a unit costs its area once, for one layer as for all.")


def _used(operator: str, names: set[str]) -> list[Candidate]:
    """Return the candidates of an operator that are among some names, those of few lanes first."""
    order = [one.name for one in candidates_of(operator)]
    used = [one for one in map(candidate, names) if one.operator == operator]
    return sorted(used, key=lambda one: (
        order.index(dataclasses.replace(one, lanes=1).name), one.lanes))


def proxy_table(correlations: Mapping[str, Correlation], chosen: str) -> Table:
    """Return how well each proxy foretells the logits' error."""
    networks = next(iter(correlations.values())).networks
    table = Table("proxy", "what is added up over the layers", "Spearman", "better half",
                  "Pearson, logarithms", title="Proxies beside the logits' true error, on "
                  f"{networks} networks of random choices")
    _numbers(table, 2)
    for name, c in correlations.items():
        table.add_row(name, PROXIES[name].doc, f"{c.spearman:.3f}",
                      f"{c.spearman_better_half:.3f}", f"{c.pearson:.3f}",
                      style="bold" if name == chosen else None)
    return table


def shortlist_table(considered: Sequence[Considered], taken: Solution, area: str) -> Table:
    """Return the best of what a joint choice was taken from, and how each network does."""
    table = Table("", area, "dsp", "bram", "proxy", "logit error", "methods",
                  title=f"Best {SHORTLISTED} of {len(considered)} choices within the budgets, by "
                        "the error of their logits on training images")
    _numbers(table, 1, 6)
    for one in considered:
        if one in considered[:SHORTLISTED] or one.solution == taken:
            used = one.solution.used
            table.add_row(one.name, *(f"{used[name]:,}" for name in (area, "dsp", "bram")),
                          f"{one.solution.loss:.3e}", f"{one.logit_error:.2%}",
                          " ".join(_methods(one.solution.choice)),
                          style="bold" if one.solution == taken else None)
    return table


def front_table(points: Sequence[Point], area: str, cycles_of: str) -> Table:
    """Return the points of the front, and what the simpler ways give with no more area."""
    table = Table("", *(name for name in (area, "ff", "dsp", "bram", "cycles")), "MHz", "proxy",
                  "logit error", "accuracy", "as float", "methods",
                  title=f"Pareto front over {area} of the units that the choice decides",
                  caption=f"{_cycles_text(cycles_of)} Proxy on calibration images; the rest on "
                          "test images. Below each joint optimum, the other ways' best with no "
                          "more area.")
    _numbers(table, 1, 11)
    for i, p in enumerate(points):
        last = i + 1 == len(points) or points[i + 1].way == JOINT
        table.add_row(*_cells(p, area), " ".join(_methods(p.choice)) if p.way == JOINT else "",
                      style="bold" if p.way == JOINT else None, end_section=last)
    return table


def gain_table(gains: Sequence[Gain], area: str, cycles_of: str) -> Table:
    """Return what joint choice gains over other answers."""
    table = Table("", *(name for name in (area, "ff", "dsp", "bram", "cycles")), "MHz", "proxy",
                  "logit error", "accuracy", "as float",
                  title="What joint choice gains over other answers",
                  caption=_cycles_text(cycles_of))
    _numbers(table, 1)
    for gain in gains:
        table.add_row(*_cells(gain.other, area), style="bold")
        for name, point in ((f"joint, no more {area}", gain.same_area),
                            ("joint, no more of anything", gain.no_more)):
            table.add_row(f"  {name}", *_cells(point, area)[1:],
                          end_section=point is gain.no_more)
    return table


def network_table(reference: Reference, evaluations: Sequence[Evaluation], shared: Total,
                  area_unit: str) -> Table:
    """Return accuracy and cost of each network, the first one being the choice."""
    table = Table(
        "integer network", "accuracy", "as float", "logit error", f"non-linear\n{area_unit}",
        f"all units\n{area_unit}", "FF", "DSP", "BRAM", "slowest\nMHz", "accelerator\ncycles",
        title="Networks",
        caption=f"On {len(reference.labels)} test images; float accuracy "
                f"{reference.accuracy:.2%}. Each unit counts once however many layers use it. "
                "Non-linear: units that the choice of methods decides, the array for log2 codes "
                f"among them. All units: with matmul and requantizers, {shared.area:,} "
                f"{area_unit} that every network has. BRAM is blocks of 18 kbit. Float layers "
                "have no gates. Accelerator cycles: predicted, of one image on an 8 x 8 array "
                "with these units, all layers.")
    _numbers(table, 1)
    for i, e in enumerate(evaluations):
        costs = ["-"] * 6
        if e.total is not None:
            clock = "" if e.total.clock_mhz is None else f"{e.total.clock_mhz:.1f}"
            costs = [f"{e.nonlinear.area:,}", f"{e.total.area:,}",
                     *(f"{e.total.resources[name]:,}" for name in ("ff", "dsp", "bram")), clock]
        cycles = "-" if e.accelerator_cycles is None else f"{e.accelerator_cycles:,}"
        table.add_row(e.name, f"{e.accuracy:.2%}", f"{e.agreement:.2%}", f"{e.logit_error:.2%}",
                      *costs, cycles, style="bold" if i == 0 else None, end_section=i == 0)
    return table


def _numbers(table: Table, first: int, last: int | None = None) -> None:
    """Put the columns of numbers to the right."""
    for column in table.columns[first:last]:
        column.justify = "right"


def _cells(point: Point, area: str) -> list[str]:
    """Return a point as cells."""
    clock = "" if point.clock_mhz is None else f"{point.clock_mhz:.1f}"
    used = [point.used[name] for name in (area, "ff", "dsp", "bram", "cycles")]
    return [point.name, *("-" if count is None else f"{count:,}" for count in used), clock,
            f"{point.loss:.3e}", f"{point.found.logit_error:.2%}", f"{point.found.accuracy:.2%}",
            f"{point.found.agreement:.2%}"]


def _cycles_text(cycles_of: str) -> str:
    return f"Cycles: of one image, {cycles_of}."


def _methods(choice: Mapping[str, str]) -> list[str]:
    """Return the candidates of a choice with how many layers take each."""
    return [f"{name} x{count}" for name, count in sorted(counts(choice).items())]
