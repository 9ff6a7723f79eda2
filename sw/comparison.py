"""Methods beside each other and beside published units: error, area, blocks, clock, rate."""

import csv
import dataclasses
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

from vitrtl.sw.accuracy.study import DEFAULT, TABLE_SCALES, Errors, Subject, subjects, worst
from vitrtl.sw.accuracy.table import ErrorTable, load_errors
from vitrtl.sw.catalog import UNITS, methods_of
from vitrtl.sw.cost.table import SHIPPED_FOLDER, CostRow, CostTable, load_table
from vitrtl.sw.files import existing
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import VectorSpec

__all__ = ["REQUANTIZER", "ROW", "SCALE", "TARGET", "Line", "Published", "Total", "conclusions",
           "dominators", "lines", "published", "requantizers"]

TARGET = "ecp5-85k"
"""Where everything is measured; the published units are, too."""

SCALE = float(TABLE_SCALES[2])
"""Input scale of the error beside that over all scales."""

WIDE = 4
"""Lanes of the builds that are shown beside those of one lane."""

REQUANTIZER = "requantize"
OPERAND = Format(8, True)
"""What the matrix multiplication takes; a wider result passes the requantizer first."""

ROW = {"softmax": 197, "gelu": 768, "layernorm": 192, "requantize": 192}
"""Operator to the row length of a DeiT-Tiny, for the cycles of a row."""

PARSERS: dict[Any, Callable[[str], Any]] = {
    str: str, int: int, bool: lambda text: {"yes": True, "no": False}[text],
    float | None: lambda text: float(text) if text else None,
    int | None: lambda text: int(text) if text else None,
}
"""Type of a field of `Published` to what reads it from the file."""


@dataclasses.dataclass(frozen=True, slots=True)
class Total:
    """What a unit costs, alone or with the requantizer behind it.

    Parameters
    ----------
    area : LUT4 equivalents.
    ff, dsp, bram : flip-flops, multiplier blocks, memory blocks.
    mhz : the slower of the two clocks.
    rate : elements a second in millions, row after row.
    """

    area: int
    ff: int
    dsp: int
    bram: int
    mhz: float
    rate: float

    @property
    def rate_per_area(self) -> float:
        """Elements a second in millions for each thousand LUT4 equivalents."""
        return 1000 * self.rate / self.area


@dataclasses.dataclass(frozen=True, slots=True)
class Line:
    """One build of a method.

    Parameters
    ----------
    label : for people, the method first.
    subject : what was measured.
    cost : on `TARGET`.
    requantizer : that its result needs to become an operand of 8 bits; None where it is one.
    near, far : error at `SCALE`, and the worst over all scales; None for the requantizer, which
        is exact.
    """

    label: str
    subject: Subject
    cost: CostRow
    requantizer: CostRow | None
    near: Errors | None
    far: Errors | None

    @property
    def alone(self) -> Total:
        """Cost of the unit."""
        return self._total([self.cost])

    @property
    def whole(self) -> Total:
        """Cost up to an operand of 8 bits."""
        return self._total([row for row in (self.cost, self.requantizer) if row])

    def _total(self, rows: Sequence[CostRow]) -> Total:
        length = ROW[self.subject.unit.operator]
        clock = min(row.clock_mhz for row in rows)
        return Total(area=sum(row.area for row in rows), mhz=clock,
                     rate=clock * length / max(row.row_interval(length) for row in rows),
                     **{name: sum(row.resources[name] for row in rows)
                        for name in ("ff", "dsp", "bram")})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A unit of another project, synthesized, placed and routed as ours are.

    Parameters
    ----------
    operator, peer, parameters, repository, licence : what it is.
    to_8_bits : whether its result is an operand of 8 bits, so that no requantizer follows.
    elements : of a row.
    lut4eq, ff, dsp, bram, mhz : measured; mhz is None where the tool gives none.
    interval : cycles from row to row.
    latency : cycles from the first element in to the last out, where it is known.
    note : what else a reader must know.
    """

    operator: str
    peer: str
    parameters: str
    repository: str
    licence: str
    to_8_bits: bool
    elements: int
    lut4eq: int
    ff: int
    dsp: int
    bram: int
    mhz: float | None
    interval: int
    latency: int | None
    note: str

    @property
    def rate(self) -> float | None:
        """Elements a second in millions, row after row."""
        return None if self.mhz is None else self.mhz * self.elements / self.interval

    @property
    def rate_per_area(self) -> float | None:
        """Elements a second in millions for each thousand LUT4 equivalents."""
        return None if self.rate is None else 1000 * self.rate / self.lut4eq


def lines(operator: str) -> list[Line]:
    """Return the builds of an operator's methods, those of four lanes where they are measured.

    Raises
    ------
    UserError
        If a cost or an error is missing or stale, with the command that mends it.
    """
    costs, errors = load_table(), load_errors()
    found = []
    for subject in subjects(methods_of(operator)):
        found.append(_line(subject, subject.spec, costs, errors))
        wide = dataclasses.replace(subject.spec, lanes=WIDE)
        if subject.build == DEFAULT and _has(costs, subject.unit.name, wide):
            found.append(_line(subject, wide, costs, errors))
    return found


def requantizers() -> list[Line]:
    """Return the builds of the requantizer, which has no error of its own."""
    costs = load_table()
    return [Line(label=_label(subject), subject=subject, requantizer=None, near=None, far=None,
                 cost=costs.row(subject.unit.name, subject.spec, TARGET))
            for subject in subjects([UNITS[REQUANTIZER]])]


def published(operator: str) -> list[Published]:
    """Return the published units of an operator."""
    reader = csv.DictReader(existing(SHIPPED_FOLDER / "peers.csv").read_text().splitlines())
    return [Published(**{f.name: PARSERS[f.type](record[f.name])
                         for f in dataclasses.fields(Published)})
            for record in reader if record["operator"] == operator]


def dominators(line: Line, others: Sequence[Line]) -> list[Line]:
    """Return the builds of one lane with no more error over all scales and no more area.

    One of the two must be less; the area is that up to an operand of 8 bits. Multiplier and
    memory blocks are not weighed against area: who reads the answer must see them.
    """
    def figures(of: Line) -> tuple[float, int]:
        return inf if of.far.refused else of.far.largest, of.whole.area

    error, area = figures(line)
    found = [other for other in others
             if other.cost.lanes == 1 and figures(other) != (error, area)
             and figures(other)[0] <= error and figures(other)[1] <= area]
    return sorted(found, key=figures)


def conclusions(operator: str) -> list[str]:
    """Return a sentence on each published unit: what here does its work with less, or that none."""
    ours = requantizers() if operator == REQUANTIZER else lines(operator)
    return [_conclusion(unit, ours) for unit in published(operator)]


def _label(subject: Subject, lanes: int = 1) -> str:
    parts = [subject.unit.method, *([] if subject.build == DEFAULT else [subject.build]),
             *([] if lanes == 1 else [f"{lanes} lanes"])]
    return ", ".join(parts)


def _has(costs: CostTable, name: str, spec: VectorSpec) -> bool:
    return any(row.key == (name, spec.digest, TARGET) for row in costs.rows)


def _line(subject: Subject, spec: VectorSpec, costs: CostTable, errors: ErrorTable) -> Line:
    by_scale = errors.of(subject)
    requantizer = None
    if spec.out_format.hi > OPERAND.hi or spec.out_format.lo < OPERAND.lo:
        built = dataclasses.replace(UNITS[REQUANTIZER].golden.spec(), lanes=spec.lanes)
        requantizer = costs.row(REQUANTIZER, built, TARGET)
    return Line(label=_label(subject, spec.lanes), subject=subject,
                cost=costs.row(subject.unit.name, spec, TARGET), requantizer=requantizer,
                near=by_scale[SCALE], far=worst(by_scale.values()))


def _conclusion(unit: Published, ours: Sequence[Line]) -> str:
    """Compare up to an operand of 8 bits where the published unit goes so far.

    Of several builds that will do, the one with the least error is named: the error of the
    published unit is not known.
    """
    totals = {line.label: line.whole if unit.to_8_bits else line.alone for line in ours}
    errors = {line.label: inf if line.far is None or line.far.refused else line.far.largest
              for line in ours}
    name = f"**{unit.peer}** ({unit.parameters}), {unit.lut4eq:,} LUT4eq" + (
        "" if unit.rate is None else f" at {_rate(unit.rate)}")
    able = [label for label, total in totals.items() if total.area <= unit.lut4eq
            and (unit.rate is None or total.rate >= unit.rate)]
    if able:
        label = min(able, key=lambda label: (errors[label], totals[label].area))
        total = totals[label]
        more = " and ".join(f"{surplus} {block.upper()} more" for block in ("dsp", "bram")
                            if (surplus := getattr(total, block) - getattr(unit, block)) > 0)
        what = "takes less area" if unit.rate is None else "does more with less area"
        return (f"{name}: `{label}` {what}, {total.area:,} LUT4eq at {_rate(total.rate)}, with "
                f"{more or 'no more DSP or BRAM'}.")
    denser = [label for label, total in totals.items() if total.rate_per_area >= unit.rate_per_area]
    label = (min(denser, key=lambda label: (errors[label], totals[label].area)) if denser
             else max(totals, key=lambda label: totals[label].rate_per_area))
    total = totals[label]
    ratio = f"{_rate(unit.rate_per_area)} for 1,000 LUT4eq against {_rate(total.rate_per_area)} of"
    beside = f"`{label}`, {total.area:,} LUT4eq at {_rate(total.rate)}"
    if denser:
        return f"{name}: nothing here is as small and as fast, but it does {ratio} {beside}."
    return f"{name}, **wins**: {ratio} {beside}."


def _rate(rate: float) -> str:
    return f"{rate:,.0f} M elements/s" if rate >= 10 else f"{rate:.1f} M elements/s"
