"""Tables of `vitrtl errors` on the terminal."""

from collections.abc import Sequence

from rich.table import Table

from vitrtl.sw.accuracy.study import DEFAULT, Errors, worst

__all__ = ["error_table", "refusals"]


def error_table(operator: str, found: Sequence[Errors], scales: Sequence[float]) -> Table:
    """Return a line per build: largest error at some scales, and the worst of all measured.

    Parameters
    ----------
    operator : whose builds; there is at least one among the measurements.
    found : measurements of any scale and row length.
    scales : the columns.
    """
    softmax = operator == "softmax"
    table = Table("method", *(f"{scale:g}" for scale in scales), "worst", "at scale", "mean",
                  *(["lost mass"] if softmax else []), "falls", "worst input",
                  title=f"{operator}: largest absolute error at each scale", title_justify="left",
                  caption="Over all row lengths. An asterisk: the method works at a larger scale "
                          "than asked for. Falls: neighbours that come out in the wrong order.")
    for column in table.columns[1:-1]:
        column.justify = "right"
    builds = dict.fromkeys((e.unit, e.method, e.build) for e in found if e.operator == operator)
    for name, method, build in builds:
        of_build = [e for e in found if (e.unit, e.build) == (name, build)]
        at = [worst(e for e in of_build if e.scale == scale) for scale in scales]
        top = worst(of_build)
        label = method if build == DEFAULT else f"  {build}"
        if top.refused:
            table.add_row(label, *("refused" for _ in scales))
            continue
        lost = f"{top.lost_least:.3f} to {top.lost_most:.3f}" if softmax else ""
        table.add_row(
            label, *(_cell(e) for e in at), f"{top.largest:.4f}", f"{top.scale:g}",
            f"{top.mean:.4f}", *([lost] if softmax else []), f"{top.falls:,}",
            f"{top.worst_input:.3g}, {top.worst_rows}"
            + (f", N={top.length}" if top.length else ""))
    return table


def refusals(found: Sequence[Errors]) -> list[str]:
    """Return a line for each build that refuses scales: which, and the reason for the first."""
    refused: dict[str, list[Errors]] = {}
    for e in found:
        if e.refused:
            label = e.unit if e.build == DEFAULT else f"{e.unit}, {e.build}"
            refused.setdefault(label, []).append(e)
    return [f"{label} refuses {', '.join(dict.fromkeys(f'{e.scale:g}' for e in of_build))}: "
            f"{of_build[0].refused}" for label, of_build in refused.items()]


def _cell(found: Errors) -> str:
    """Return the largest error, and whether the scale is another one."""
    if found.refused:
        return "refused"
    return f"{found.largest:.4f}" + ("*" if found.fitted_scale != found.scale else "")
