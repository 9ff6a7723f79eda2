"""Reader of the report that `stat -json` of Yosys writes."""

from collections.abc import Mapping
from pathlib import Path

from vitrtl.sw.cost.report import ReportError, report_json
from vitrtl.sw.cost.target import Target

__all__ = ["cells", "resources"]


def cells(path: Path) -> dict[str, int]:
    """Return how many cells of each type the flattened design has.

    The part that is read::

        {"design": {"num_cells_by_type": {"CCU2C": 44, "LUT4": 143}}}
    """
    report = report_json(path)
    try:
        counts = report["design"]["num_cells_by_type"]
    except (KeyError, TypeError):
        raise ReportError(f"{path}: no design.num_cells_by_type") from None
    if not isinstance(counts, dict) or not all(type(n) is int for n in counts.values()):
        raise ReportError(f"{path}: design.num_cells_by_type is not a table of counts")
    return counts


def resources(path: Path, target: Target) -> dict[str, int]:
    """Return what the design needs of each of the target's resources.

    Raises
    ------
    ReportError
        If the design has a cell that the target does not know: a cell that nobody counts would
        make the unit look smaller than it is.
    """
    counts = cells(path)
    known = set(target.free).union(*target.resources.values())
    if unknown := sorted(set(counts) - known):
        raise ReportError(f"{path}: cell {unknown[0]} is not among the cells of target "
                          f"{target.name}")
    return {name: _weigh(counts, weights) for name, weights in target.resources.items()}


def _weigh(counts: Mapping[str, int], weights: Mapping[str, int]) -> int:
    """Return the weighted number of cells."""
    return sum(weight * counts.get(cell, 0) for cell, weight in weights.items())
