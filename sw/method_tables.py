"""Tables of errors and of methods beside each other, for the documents."""

from collections.abc import Sequence

from vitrtl.sw.accuracy.study import DEFAULT, TABLE_SCALES, Errors, Subject, subjects, worst
from vitrtl.sw.accuracy.table import load_errors
from vitrtl.sw.catalog import OPERATORS, unit
from vitrtl.sw.comparison import (
    REQUANTIZER,
    ROW,
    SCALE,
    Line,
    conclusions,
    dominators,
    lines,
    published,
    requantizers,
)
from vitrtl.sw.markdown import table

__all__ = ["comparison_table", "conclusion_list", "error_statement", "error_table",
           "method_table", "published_table"]


def error_table(name: str) -> str:
    """Return the stated error of a unit, and what was found for each of its builds."""
    errors = load_errors()
    chosen = subjects([unit(name)])
    softmax = unit(name).operator == "softmax"
    rows = [row for subject in chosen for row in _error_rows(subject, errors.of(subject), softmax)]
    head = ["build", "scale", "largest error", "at x", "mean error",
            *(["lost mass, mean", "from .. to"] if softmax else []), "out of order"]
    if len(chosen) == 1:
        head, rows = head[1:], [row[1:] for row in rows]
    return f"{error_statement(name)}\n\n{table(head, rows)}"


def error_statement(name: str) -> str:
    """Return the limits that a unit states, as a sentence."""
    limits = unit(name).golden.limits
    parts = [f"{limit.error:g} for scales up to {limit.scale:g}" for limit in limits]
    return f"Stated: at most {', '.join(parts)}, from 0.01 on."


def method_table() -> str:
    """Return the default builds of all methods in short."""
    rows = []
    for operator in OPERATORS:
        found = lines(operator)
        rows += [[f"`{line.subject.unit.name}`", line.subject.unit.source, _error(line.near),
                  _error(line.far), f"{line.alone.area:,}", str(line.alone.dsp),
                  str(line.alone.bram), f"{line.alone.mhz:.1f}", _dominated(line, found)]
                 for line in found if line.subject.build == DEFAULT and line.cost.lanes == 1]
    return table(["method", "source", f"largest error at scale {SCALE:g}", "over all scales",
                  "LUT4eq", "DSP", "BRAM", "MHz", "dominated by"], rows)


def comparison_table(operator: str) -> str:
    """Return the builds of an operator's methods with errors and costs."""
    found = requantizers() if operator == REQUANTIZER else lines(operator)
    softmax, exact = operator == "softmax", operator == REQUANTIZER
    length = ROW[operator]
    head = ["method", "source",
            *([] if exact else [f"largest error at {SCALE:g}", "over all scales"]),
            *(["lost mass at most"] if softmax else []), "result",
            "LUT4eq", "FF", "DSP", "BRAM", "MHz", f"cycles for {length}", "M elements/s",
            *([] if exact else ["LUT4eq to 8 bits"]), "M elements/s per 1,000 of these",
            *([] if exact else ["dominated by"])]
    rows = []
    for line in found:
        alone, whole = line.alone, line.whole
        rows.append([
            f"`{line.label}`", line.subject.unit.source,
            *([] if exact else [_error(line.near), _error(line.far)]),
            *([f"{line.far.lost_most:.3f}"] if softmax else []),
            f"{line.subject.spec.out_format}", f"{alone.area:,}", f"{alone.ff:,}",
            str(alone.dsp), str(alone.bram), f"{alone.mhz:.1f}",
            f"{line.cost.row_cycles(length):,}", f"{alone.rate:,.0f}",
            *([] if exact else [f"{whole.area:,}"]), f"{whole.rate_per_area:,.0f}",
            *([] if exact else [_dominated(line, found)])])
    return table(head, rows)


def published_table(operator: str) -> str:
    """Return the published units of an operator."""
    rows = [[p.peer, p.parameters, f"{p.repository}, {p.licence}", f"{p.lut4eq:,}", f"{p.ff:,}",
             str(p.dsp), str(p.bram), "-" if p.mhz is None else f"{p.mhz:g}",
             f"{p.interval:,} for {p.elements}", "-" if p.rate is None else f"{p.rate:,.1f}",
             "-" if p.rate is None else f"{p.rate_per_area:,.0f}", p.note]
            for p in published(operator)]
    return table(["unit", "parameters", "repository, licence", "LUT4eq", "FF", "DSP", "BRAM", "MHz",
                  "cycles, row to row", "M elements/s", "M elements/s per 1,000 LUT4eq", "note"],
                 rows)


def conclusion_list(operator: str) -> str:
    """Return a line on each published unit."""
    return "".join(f"- {sentence}\n" for sentence in conclusions(operator))


def _error_rows(subject: Subject, found: dict[float, Errors], softmax: bool) -> list[list[str]]:
    rows = []
    build = subject.build if subject.build == DEFAULT else f"`{subject.build}`"
    shown = [(f"{float(scale):g}", found[float(scale)]) for scale in TABLE_SCALES]
    shown.append(("worst of all", worst(found.values())))
    for label, e in shown:
        if e.refused:
            rows.append([build, label, "refused", "", "", *(["", ""] if softmax else []), ""])
            continue
        if label == "worst of all":
            label += f", at {e.scale:g}"
        elif e.fitted_scale != e.scale:
            label += f" (works at {e.fitted_scale:g})"
        where = f"{e.worst_input:.3g}" + (f" in a row of {e.length}" if e.length else "")
        lost = [f"{e.lost_mean:.3f}", f"{e.lost_least:.3f} .. {e.lost_most:.3f}"] if softmax else []
        rows.append([build, label, f"{e.largest:.2g}", where, f"{e.mean:.2g}", *lost,
                     f"{e.falls:,}"])
    return rows


def _error(found: Errors) -> str:
    return "refused" if found.refused else f"{found.largest:.2g}"


def _dominated(line: Line, others: Sequence[Line]) -> str:
    """Name the build with the least error of those that dominate, and its price in blocks."""
    if line.cost.lanes > 1:
        return ""
    better = dominators(line, others)
    if not better:
        return "none"
    price = [f"{more} {block.upper()} more" for block in ("dsp", "bram")
             if (more := getattr(better[0].whole, block) - getattr(line.whole, block)) > 0]
    return f"`{better[0].label}`" + (f" ({', '.join(price)})" if price else "")
