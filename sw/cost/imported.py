"""Rows of the cost table from the reports of the user's own Vivado, under a target of their own."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.cost.builds import Build, spec_with
from vitrtl.sw.cost.table import CostRow, CostTable, cycle_formula
from vitrtl.sw.cost.target import Target, load_target, target_names
from vitrtl.sw.cost.vivado_report import Timing, Utilization, read_report
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, existing

__all__ = ["AREA", "DEVICE", "build_of_module", "check_target_name", "find_target", "import_rows"]

AREA = "lut"
"""The resource that compares units in an imported table."""

DEVICE = "generic"
"""What the Verilog must be written for: Vivado knows no primitive of another maker."""


def find_target(name: str, table: CostTable) -> Target:
    """Return a target by its name: a file of `constraints/`, or one that a table has rows of.

    Raises
    ------
    UserError
        For an unknown name, listing the known ones.
    """
    if name in target_names():
        return load_target(name)
    rows = [row for row in table.rows if row.target == name]
    if not rows:
        known = sorted({*target_names(), *(row.target for row in table.rows)})
        raise UserError(f"target must be one of {', '.join(known)}, not {name!r}")
    first = rows[0]
    # It was counted already: what a cell counts for is nobody's business any more.
    return Target(name=name, family="imported", part=first.part, speed_grade=first.speed_grade,
                  device=DEVICE, clock_mhz=None, area=first.area_unit, synthesis="",
                  place_and_route=None, resources={r: {} for r in first.resources}, free=(),
                  checksum=digest(name, first.part))


def check_target_name(name: str) -> None:
    """Raise `UserError` unless a name may be given to imported rows."""
    if name in target_names():
        raise UserError(f"target must be a name of your own, {name!r} is measured by `vitrtl cost`")
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", name):
        raise UserError(f"target must be of lower-case letters, digits, '.', '_' and '-', "
                        f"not {name!r}")


def import_rows(paths: Iterable[Path], target: str, verilog: Path,
                clock: str | None = None) -> list[CostRow]:
    """Return one row for each design of some reports.

    Parameters
    ----------
    paths : reports, two for each design, in any order.
    target : name of the rows' target.
    verilog : folder of the Verilog that was synthesized, one file a module.
    clock : whose rate counts; None takes the one that there is.

    Raises
    ------
    UserError
        For a report that cannot be read, a design with one report or more than two, reports of
        several devices, and a design that is no unit.
    """
    found: dict[str, dict[type, Utilization | Timing]] = {}
    for path in paths:
        report = read_report(path)
        of_design = found.setdefault(report.header.design, {})
        if type(report) in of_design:
            raise UserError(f"{path}: there is such a report of {report.header.design} already, "
                            f"{of_design[type(report)].header.path}")
        of_design[type(report)] = report
    rows = []
    for design, reports in sorted(found.items()):
        for kind, command in ((Utilization, "report_utilization"),
                              (Timing, "report_timing_summary")):
            if kind not in reports:
                raise UserError(f"{design} has no report of {command}")
        rows.append(_row(design, reports[Utilization], reports[Timing], target, verilog, clock))
    devices = {(row.part, row.speed_grade): row.unit for row in rows}
    if len(devices) > 1:
        raise UserError("reports must be of one device, not of " +
                        " and ".join(sorted(f"{part} ({grade})" for part, grade in devices)))
    return rows


def build_of_module(name: str) -> Build:
    """Return the unit and spec whose Verilog has a module of this name.

    It is the inverse of `vitrtl.hw.verilog.module_name`.

    Raises
    ------
    UserError
        If there is no such unit.
    """
    from vitrtl.hw.verilog import module_name

    for unit_name in sorted(UNITS, key=len, reverse=True):
        if name != unit_name and not name.startswith(f"{unit_name}_"):
            continue
        changes = _changes(name.removeprefix(unit_name), unit(unit_name).golden.spec().asdict())
        if changes is None:
            continue
        try:
            build = Build(unit_name, spec_with(unit_name, changes))
        except (TypeError, ValueError):
            continue
        if module_name(build.unit, build.spec) == name:
            return build
    raise UserError(f"design must be a unit's module, as `vitrtl verilog` names it, not {name!r}")


def _changes(text: str, fields: dict[str, object]) -> dict[str, str] | None:
    """Return the fields that a module's name lists behind the unit's; None if it lists others."""
    names = "|".join(sorted(fields, key=len, reverse=True))
    changes: dict[str, str] = {}
    while text:
        match = re.match(rf"_({names})(-?\w+?)(?=_(?:{names})|$)", text)
        if match is None:
            return None
        field, value = match[1], match[2]
        if isinstance(fields[field], bool):
            value = {"0": "false", "1": "true"}.get(value, value)
        changes[field] = value
        text = text[match.end():]
    return changes


def _row(design: str, used: Utilization, timing: Timing, target: str, verilog: Path,
         clock: str | None) -> CostRow:
    """Join what two reports say with what the catalogue knows."""
    build = build_of_module(design)
    entry, cycles = unit(build.unit), unit(build.unit).timing(build.spec)
    if used.header.version != timing.header.version:
        raise UserError(f"reports of {design} must be of one version of Vivado, not of "
                        f"{used.header.version} and {timing.header.version}")
    text = existing(verilog / f"{design}.v").read_text()
    return CostRow(
        unit=build.unit, operator=entry.operator, method=entry.method, spec=build.spec.asdict(),
        spec_digest=build.spec.digest, target=target, part=used.header.device,
        speed_grade=timing.speed_grade, clock_mhz=_rate(timing, clock), clock_mhz_seeds={},
        area=used.resources[AREA], area_unit=AREA, resources=used.resources,
        latency_fixed=cycles.latency_fixed, latency_per_beat=cycles.latency_per_beat,
        interval_min=cycles.interval_min,
        cycles=cycle_formula(cycles.latency_fixed, cycles.latency_per_beat,
                             getattr(build.spec, "lanes", 1)),
        tools={"vivado": used.header.version}, verilog=digest(text))


def _rate(timing: Timing, clock: str | None) -> float:
    """Return the rate of the clock that counts."""
    rates: Sequence[str] = sorted(timing.rates_mhz)
    if clock is not None and clock not in rates:
        raise UserError(f"{timing.header.path}: clock must be one of {', '.join(rates) or 'none'} "
                        f"with a slack, not {clock!r}")
    if clock is None and len(rates) != 1:
        raise UserError(f"{timing.header.path}: clock must be one of "
                        f"{', '.join(rates) or 'none'}, name it with --clock")
    return timing.rates_mhz[clock or rates[0]]
