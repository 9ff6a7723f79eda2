"""The search on the terminal: candidates per layer, choices per rule, networks side by side."""

from collections.abc import Mapping, Sequence

from rich.table import Table

from vitrtl.sw.catalog import OPERATORS, methods_of, unit
from vitrtl.sw.ptq.comparison import Evaluation, Reference
from vitrtl.sw.ptq.search import RULES, Candidate, choose, counts, differing, layers_in
from vitrtl.sw.ptq.unit_costs import Total

__all__ = ["candidate_table", "choice_table", "comparison_text", "network_table",
           "several_units_text"]

SHOWN = 3
"""Candidates of a layer that the terminal shows."""


def candidate_table(candidates: Sequence[Candidate], choice: Mapping[str, str],
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
    for column in table.columns[2:11]:
        column.justify = "right"
    for layer, of_layer in layers_in(candidates).items():
        ranked = sorted(of_layer, key=lambda c: -c.omega)
        shown = [c for i, c in enumerate(ranked) if i < SHOWN or c.unit == choice[layer]]
        for i, candidate in enumerate(shown):
            s = candidate.sensitivity
            chosen = choice[layer] == candidate.unit
            mark = ("yes" if len(of_layer) > 1 else "only one") if chosen else ""
            table.add_row(
                layer if i == 0 else "", unit(s.unit).method, f"{s.asqnr_in:.1f}",
                f"{s.asqnr_out:.1f}", f"{s.sqnr_diff:.1f}", f"{s.sqnr:.1f}",
                f"{s.perturbation_mean:.2e}", f"{candidate.perturbation_norm:.3f}",
                f"{candidate.cost:,}", f"{candidate.cost_norm:.3f}", f"{candidate.omega:.4f}",
                mark, style="bold" if chosen and len(of_layer) > 1 else None,
                end_section=0 < i == len(shown) - 1)
    return table


def choice_table(candidates: Sequence[Candidate], metric: str) -> Table:
    """Return how many layers take each method under each rule, as in Table 3 of the Mixed paper."""
    totals = {name: counts(choose(candidates, rule)) for name, rule in RULES.items()}
    table = Table("operator", "method", *(
        f"{rule.doc}{', this choice' if name == metric else ''}" for name, rule in RULES.items()),
        title="Layers that take each method, by rule")
    for column in table.columns[2:]:
        column.justify = "right"
    for operator in OPERATORS:
        entries = methods_of(operator)
        for i, entry in enumerate(entries):
            table.add_row("" if i else operator, entry.method,
                          *(str(total.get(entry.name, 0) or "") for total in totals.values()),
                          end_section=i == len(entries) - 1)
    return table


def comparison_text(candidates: Sequence[Candidate], resource: str) -> str:
    """Return how often Omega decides otherwise than cost or error alone."""
    free = [layer for layer, of_layer in layers_in(candidates).items() if len(of_layer) > 1]
    choices = {name: choose(candidates, rule) for name, rule in RULES.items()}
    cheapest, best = (len(differing(choices["omega"], choices[name]))
                      for name in ("argmin_c", "argmax_q"))
    fixed = len(layers_in(candidates)) - len(free)
    text = (f"Omega's choice differs from the least {resource} in {cheapest} and from the highest "
            f"SQNR in {best} of the {len(free)} layers that have a choice.")
    return f"{text} {fixed} layers have one method and thus no choice." if fixed else text


def several_units_text(choice: Mapping[str, str]) -> str | None:
    """Return which operators take more than one unit, which a choice layer by layer ignores."""
    used = {operator: [entry.method for entry in methods_of(operator)
                       if entry.name in choice.values()] for operator in OPERATORS}
    several = [f"{operator} ({', '.join(methods)})" for operator, methods in used.items()
               if len(methods) > 1]
    if not several:
        return None
    return (f"More than one unit is to be built for {' and '.join(several)}: each layer chose by "
            "itself, although a unit costs its area once, for one layer as for all.")


def network_table(reference: Reference, evaluations: Sequence[Evaluation], shared: Total,
                  area_unit: str) -> Table:
    """Return accuracy and cost of each network, the first one being the choice."""
    table = Table(
        "integer network", "accuracy", "as float", "logit error", f"non-linear\n{area_unit}",
        f"all units\n{area_unit}", "FF", "DSP", "BRAM", "slowest\nMHz", title="Networks",
        caption=f"On {len(reference.labels)} test images; float accuracy "
                f"{reference.accuracy:.2%}. Each unit counts once however many layers use it. All "
                f"units: with matmul and requantizers, {shared.area:,} {area_unit} in the chosen "
                "network. BRAM is blocks of 18 kbit. Float layers have no gates.")
    for column in table.columns[1:]:
        column.justify = "right"
    for i, e in enumerate(evaluations):
        costs = ["-"] * 6
        if e.total is not None:
            clock = "" if e.total.clock_mhz is None else f"{e.total.clock_mhz:.1f}"
            costs = [f"{e.nonlinear.area:,}", f"{e.total.area:,}",
                     *(f"{e.total.resources[name]:,}" for name in ("ff", "dsp", "bram")), clock]
        table.add_row(e.name, f"{e.accuracy:.2%}", f"{e.agreement:.2%}", f"{e.logit_error:.2%}",
                      *costs, style="bold" if i == 0 else None, end_section=i == 0)
    return table
