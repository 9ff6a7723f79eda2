"""The error table: one row per build, scale and row length, as CSV and JSON; the shipped one."""

import csv
import dataclasses
import io
from importlib import resources
from pathlib import Path
from typing import Any

from vitrtl.sw.accuracy.study import SCALES, Errors, Subject, worst
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import existing, json_text, write_if_changed

__all__ = ["MEND", "SCHEMA", "SHIPPED", "VERSION", "ErrorTable", "ErrorTableError", "load_errors",
           "rounded"]

SCHEMA = "vitrtl.errors"
VERSION = 1
DIGITS = 5
"""Significant digits that are written: the last ones of float64 differ between machines."""

SHIPPED = Path(str(resources.files("vitrtl.sw.accuracy"))) / "tables" / "errors.csv"
"""The worst over row lengths of every build and scale, part of the package."""

MEND = "`vitrtl errors --ship` measures it"

FIELDS = {field.name: field.type for field in dataclasses.fields(Errors)}


class ErrorTableError(UserError):
    """The error table lacks a build, or has measured other sources: which, and what mends it."""


@dataclasses.dataclass(frozen=True, slots=True)
class ErrorTable:
    """Measurements, in the order in which they were made."""

    rows: tuple[Errors, ...] = ()

    def of(self, subject: Subject) -> dict[float, Errors]:
        """Return the worst over row lengths of one build, by scale.

        Raises
        ------
        ErrorTableError
            If a scale is missing, or the build's golden function or the study changed since.
        """
        found: dict[float, list[Errors]] = {}
        for row in self.rows:
            if (row.unit, row.build) == (subject.unit.name, subject.build):
                found.setdefault(row.scale, []).append(row)
        missing = [float(scale) for scale in SCALES if float(scale) not in found]
        if missing:
            raise ErrorTableError(f"the error table has no row for {subject.label} at scale "
                                  f"{missing[0]:g}: {MEND}")
        if any(row.made_from != subject.made_from for rows in found.values() for row in rows):
            raise ErrorTableError(f"the error table's rows for {subject.label} are stale, made "
                                  f"from other sources: {MEND}")
        return {scale: worst(found[scale]) for scale in sorted(found)}

    def shortened(self) -> "ErrorTable":
        """Return the table with the worst row length of each build and scale alone."""
        groups: dict[tuple, list[Errors]] = {}
        for row in self.rows:
            groups.setdefault((row.unit, row.build, row.scale), []).append(row)
        return ErrorTable(tuple(worst(rows) for rows in groups.values()))

    def csv(self) -> str:
        """Return the table as CSV; what does not apply is empty."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(FIELDS), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in rounded(row).items()}
                         for row in self.rows)
        return out.getvalue()

    def save(self, folder: Path) -> list[Path]:
        """Write `errors.csv` and `errors.json`; equal files stay untouched."""
        paths = [Path(folder) / "errors.csv", Path(folder) / "errors.json"]
        write_if_changed(paths[0], self.csv())
        write_if_changed(paths[1], json_text({"schema": SCHEMA, "version": VERSION,
                                              "rows": [rounded(row) for row in self.rows]}))
        return paths


def load_errors(path: Path = SHIPPED) -> ErrorTable:
    """Read a table from its CSV."""
    reader = csv.DictReader(existing(path).read_text().splitlines())
    if reader.fieldnames != list(FIELDS):
        raise ErrorTableError(f"{path} is not an error table of this program: {MEND}")
    return ErrorTable(tuple(_parsed(record) for record in reader))


def rounded(row: Errors) -> dict[str, Any]:
    """Return the fields of a row, figures with the digits that are written."""
    return {name: float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value
            for name, value in dataclasses.asdict(row).items()}


def _parsed(record: dict[str, str]) -> Errors:
    """Return a row from its text."""
    def value(name: str, text: str) -> Any:
        if FIELDS[name] is str:
            return text
        if text == "":
            return None
        return int(text) if FIELDS[name] == int | None else float(text)

    return Errors(**{name: value(name, text) for name, text in record.items()})
