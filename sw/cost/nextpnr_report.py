"""Reader of the report that nextpnr's `--report` writes."""

import dataclasses
from pathlib import Path
from typing import Any

from vitrtl.sw.cost.report import ReportError, report_json

__all__ = ["Hop", "critical_path", "fmax_mhz"]


@dataclasses.dataclass(frozen=True, slots=True)
class Hop:
    """One step of a path.

    Parameters
    ----------
    kind : `clk-to-q`, `routing`, `logic` or `setup`.
    delay_ns : of this step.
    cell, pin : where it ends.
    net : that it follows, for routing.
    """

    kind: str
    delay_ns: float
    cell: str
    pin: str
    net: str


def fmax_mhz(path: Path) -> float:
    """Return the rate at which the one clock of the design can run.

    The part that is read::

        {"fmax": {"clk": {"achieved": 133.71, "constraint": 12.0}}}
    """
    report = report_json(path)
    fmax = report.get("fmax") if isinstance(report, dict) else None
    if not isinstance(fmax, dict):
        raise ReportError(f"{path}: no fmax")
    if len(fmax) != 1:
        raise ReportError(f"{path}: fmax must be of one clock, not of {len(fmax)}")
    (clock, figures), = fmax.items()
    try:
        return float(figures["achieved"])
    except (KeyError, TypeError, ValueError):
        raise ReportError(f"{path}: no fmax.{clock}.achieved") from None


def critical_path(path: Path) -> list[Hop]:
    """Return the slowest path from register to register.

    The part that is read::

        {"critical_paths": [{"from": "posedge clk", "to": "posedge clk", "path": [
            {"type": "routing", "delay": 0.97, "net": "sum[0]",
             "from": {"cell": "a", "port": "Q"}, "to": {"cell": "b", "port": "D"}}]}]}
    """
    report = report_json(path)
    try:
        paths = [p for p in report["critical_paths"]
                 if p["from"] == p["to"] and p["from"].startswith("posedge")]
        hops = [_hop(step) for step in paths[0]["path"]]
    except (KeyError, TypeError, IndexError, AttributeError):
        raise ReportError(f"{path}: no critical_paths from clock edge to clock edge") from None
    return hops


def _hop(step: dict[str, Any]) -> Hop:
    """Build one step of a path."""
    return Hop(kind=step["type"], delay_ns=float(step["delay"]), cell=step["to"]["cell"],
               pin=step["to"]["port"], net=step.get("net", ""))
