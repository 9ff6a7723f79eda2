"""Readers of the reports that Vivado writes as text: `report_utilization`, `report_timing_summary`.

Tables are found by their title and read by the names of their columns, for 7 series and
UltraScale+.
"""

import dataclasses
import re
from pathlib import Path

from vitrtl.sw.cost.report import ReportError

__all__ = ["Header", "Timing", "Utilization", "read_report"]

ROUTED = ("Routed", "Physopt postRoute")
"""Design states whose timing is that of real wires."""

SITES = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "lutram": ("LUT as Memory",),
    "ff": ("Slice Registers", "CLB Registers"),
    "dsp": ("DSPs",),
    "bram": ("Block RAM Tile",),
}
"""Resource to its row of the utilization tables: on 7 series, on UltraScale+."""

BLOCKS_PER_TILE = 2
"""A tile holds 36 kbit, or two blocks of 18 kbit; the cost table counts those."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a report says of itself.

    Parameters
    ----------
    path : of the report.
    design : name of the top module.
    device : part, as far as the report names it.
    version : of Vivado.
    state : how far the design has come.
    """

    path: Path
    design: str
    device: str
    version: str
    state: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Utilization:
    """What a design takes: resource to amount, `bram` in blocks of 18 kbit."""

    header: Header
    resources: dict[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How fast a design is.

    Parameters
    ----------
    speed_grade : of the device.
    rates_mhz : clock to the rate at which its worst path would just be met.
    """

    header: Header
    speed_grade: str
    rates_mhz: dict[str, float]


def read_report(path: Path) -> Utilization | Timing:
    """Read a report of either kind.

    Raises
    ------
    ReportError
        For a file of another kind, and for one that lacks a table, a column, a row or a clock.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ReportError(f"{path}: there is no such report") from None
    except (UnicodeDecodeError, IsADirectoryError):
        raise ReportError(f"{path}: not a report of Vivado") from None
    facts = _header_facts(lines)
    command = facts.get("Command", "").split(" ")[0]
    if "Tool Version" not in facts or not facts["Tool Version"].startswith("Vivado"):
        raise ReportError(f"{path}: not a report of Vivado, it has no header with a Tool Version")
    if command not in ("report_utilization", "report_timing_summary"):
        raise ReportError(f"{path}: the report must be of report_utilization or "
                          f"report_timing_summary, not of {command or 'an unknown command'}")
    header = _header(path, facts)
    if command == "report_utilization":
        return Utilization(header=header, resources=_resources(path, lines))
    return _timing(header, facts, lines)


def _header_facts(lines: list[str]) -> dict[str, str]:
    """Return the lines `| name : value` before the first table."""
    facts: dict[str, str] = {}
    for line in lines[:40]:
        match = re.match(r"\| ([A-Z][A-Za-z ]*?)\s*: (.*)", line)
        if match:
            facts.setdefault(match[1], match[2].strip())
    return facts


def _header(path: Path, facts: dict[str, str]) -> Header:
    for name in ("Design", "Device", "Design State"):
        if name not in facts:
            raise ReportError(f"{path}: its header has no {name}")
    version = re.search(r"v\.?\s*(\d[\w.]*)", facts["Tool Version"])
    if version is None:
        raise ReportError(f"{path}: its Tool Version has no number")
    return Header(path=path, design=facts["Design"], device=facts["Device"],
                  version=version[1], state=facts["Design State"])


def _resources(path: Path, lines: list[str]) -> dict[str, int]:
    """Return what the design takes of each resource."""
    used = _used_sites(path, lines)
    found = {}
    for resource, names in SITES.items():
        site = next((name for name in names if name in used), None)
        if site is None:
            raise ReportError(f"{path}: no row {' or '.join(names)} in a table by Site Type")
        amount = float(used[site]) * (BLOCKS_PER_TILE if resource == "bram" else 1)
        found[resource] = int(amount)
    return found


def _used_sites(path: Path, lines: list[str]) -> dict[str, str]:
    """Return the column `Used` of all tables that have a column `Site Type`, by that column."""
    used: dict[str, str] = {}
    columns: list[str] = []
    tables = 0
    for line in lines:
        if not line.startswith("|"):
            if not line.startswith("+"):
                columns = []
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if "Site Type" in cells:
            columns = cells
            tables += 1
            if "Used" not in columns:
                raise ReportError(f"{path}: a table by Site Type has no column Used")
        elif columns and len(cells) == len(columns):
            row = dict(zip(columns, cells, strict=True))
            # A star refers to a footnote.
            name = row["Site Type"].rstrip("*")
            if re.fullmatch(r"\d+(\.5)?", row["Used"]):
                used.setdefault(name, row["Used"])
    if not tables:
        raise ReportError(f"{path}: no table with a column Site Type")
    return used


def _timing(header: Header, facts: dict[str, str], lines: list[str]) -> Timing:
    path = header.path
    if header.state not in ROUTED:
        raise ReportError(f"{path}: the design must be routed for its timing to count, its state "
                          f"is {header.state!r}")
    grade = re.match(r"-\w+", facts.get("Speed File", ""))
    if grade is None:
        raise ReportError(f"{path}: its header has no Speed File")
    periods = _clock_table(path, lines, "Clock Summary", "Period(ns)")
    slacks = _clock_table(path, lines, "Intra Clock Table", "WNS(ns)")
    if not periods:
        raise ReportError(f"{path}: no clock, its constraints have no create_clock")
    rates = {clock: round(1000 / (period - slacks[clock]), 2)
             for clock, period in periods.items() if clock in slacks}
    return Timing(header=header, speed_grade=grade[0], rates_mhz=rates)


def _clock_table(path: Path, lines: list[str], title: str, column: str) -> dict[str, float]:
    """Return a column of a table of clocks; a clock without a value is left out."""
    try:
        start = lines.index(f"| {title}")
    except ValueError:
        raise ReportError(f"{path}: no table {title}") from None
    columns: list[str] = []
    found = {}
    # The title stands between two rules; the next rule is that of the next table.
    for line in lines[start + 3:]:
        if line.startswith("----------") and set(line.strip()) == {"-"}:
            break
        # Two spaces or more part the columns; names of columns have single ones.
        cells = re.split(r"\s{2,}", line.strip())
        if cells[0] == "Clock":
            columns = cells
            if column not in columns:
                raise ReportError(f"{path}: table {title} has no column {column}")
        elif columns and len(cells) > 1 and not cells[0].startswith("-"):
            row = dict(zip(columns, cells, strict=False))
            if len(cells) == len(columns) and re.fullmatch(r"-?\d+\.\d+", row[column]):
                found[cells[0]] = float(row[column])
    return found
