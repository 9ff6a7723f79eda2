"""The cost table: one row per unit, spec and target; read by people, pandas and the search."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable
from importlib import resources
from pathlib import Path
from typing import Any

from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.target import target_names
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, read_json, write_if_changed
from vitrtl.sw.golden.unit import Spec

__all__ = ["BUILD_FOLDER", "SCHEMA", "SHIPPED_FOLDER", "VERSION", "CostError", "CostRow",
           "CostTable", "cycle_formula", "load_table", "mend_all_command", "mend_command"]

SCHEMA = "vitrtl.costs"
VERSION = 1
NAME = "costs"

PREFIXES = {"clock_mhz_seeds": "clock_mhz_seed", "tools": "tool_", "resources": ""}
"""What the CSV puts before the names of each table within a row; the last takes any name."""

BUILD_FOLDER = Path("build/cost")
"""Where `vitrtl cost` writes a table, and where the search looks before the shipped one."""

SHIPPED_FOLDER = Path(str(resources.files("vitrtl.sw.cost"))) / "tables"
"""The table of the default specs, part of the package."""


class CostError(UserError):
    """The cost table lacks a row, or its row is of other gates: the row, and what mends it."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CostRow:
    """What one unit costs on one target.

    Parameters
    ----------
    unit, operator, method : of the catalogue.
    spec, spec_digest : build-time numbers.
    target, part, speed_grade : where it was measured.
    clock_mhz : rate after place and route, median over seeds; None where there is none.
    clock_mhz_seeds : the rate of each seed.
    area, area_unit : the resource that compares units on this target.
    resources : `lut`, `ff`, `dsp`, `bram` and the parts that the target tells apart.
    latency_fixed, latency_per_beat : cycles from the first beat of a row in to its first beat out
        are `latency_fixed + latency_per_beat * beats`; the simulation upholds it.
    interval_min : shortest distance between two rows, in cycles.
    cycles : the formula for one row of N elements, first beat in to last beat out.
    tools : versions of what made the row.
    verilog : checksum of the Verilog.
    """

    unit: str
    operator: str
    method: str
    spec: dict[str, Any]
    spec_digest: str
    target: str
    part: str
    speed_grade: str | None
    clock_mhz: float | None
    clock_mhz_seeds: dict[str, float]
    area: int
    area_unit: str
    resources: dict[str, int]
    latency_fixed: int
    latency_per_beat: int
    interval_min: int
    cycles: str
    tools: dict[str, str]
    verilog: str

    @property
    def key(self) -> tuple[str, str, str]:
        """What names the row."""
        return self.unit, self.spec_digest, self.target

    @property
    def lanes(self) -> int:
        """Elements per beat; the array takes one activation beat a cycle whatever its size."""
        return self.spec.get("lanes", 1)

    def beats(self, elements: int) -> int:
        """Beats of a row."""
        return -(-elements // self.lanes)

    def row_cycles(self, elements: int) -> int:
        """Cycles from the first beat of one row in to its last beat out, both included."""
        beats = self.beats(elements)
        return self.latency_fixed + (self.latency_per_beat + 1) * beats

    def row_interval(self, elements: int) -> int:
        """Cycles from row to row in the long run."""
        return max(self.beats(elements), self.interval_min)


@dataclasses.dataclass(frozen=True, slots=True)
class CostTable:
    """Rows with distinct keys, in the order of their keys."""

    rows: tuple[CostRow, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.rows, key=lambda row: row.key))
        for first, second in zip(ordered, ordered[1:], strict=False):
            if first.key == second.key:
                raise CostError(f"cost table: two rows for {' '.join(first.key)}")
        object.__setattr__(self, "rows", ordered)

    def row(self, unit: str, spec: Spec | str, target: str,
            verilog_checksum: str | None = None) -> CostRow:
        """Return one row.

        Parameters
        ----------
        unit : name in the catalogue.
        spec : its build-time numbers, or their digest.
        target : name of the target.
        verilog_checksum : `digest` of the Verilog that would be built now, to refuse a row of
            other gates; None trusts the row.

        Raises
        ------
        CostError
            If the row is missing or stale, with the command that mends it.
        """
        spec_digest = spec if isinstance(spec, str) else spec.digest
        name = f"{unit} spec {spec_digest} on {target}"
        mend = f"`{mend_command(unit, spec, target)}` measures it"
        for row in self.rows:
            if row.key == (unit, spec_digest, target):
                if verilog_checksum not in (None, row.verilog):
                    raise CostError(f"the cost table's row for {name} is stale, its Verilog is "
                                    f"{row.verilog}, not {verilog_checksum}: {mend}")
                return row
        raise CostError(f"the cost table has no row for {name}: {mend}")

    def updated(self, rows: Iterable[CostRow]) -> "CostTable":
        """Return a table in which rows replace those of the same key."""
        return CostTable(tuple({row.key: row for row in (*self.rows, *rows)}.values()))

    def save(self, folder: Path) -> list[Path]:
        """Write `costs.json` and `costs.csv`; equal files stay untouched."""
        folder = Path(folder)
        text = json_text({"schema": SCHEMA, "version": VERSION,
                          "rows": [dataclasses.asdict(row) for row in self.rows]})
        paths = [folder / f"{NAME}.json", folder / f"{NAME}.csv"]
        write_if_changed(paths[0], text)
        write_if_changed(paths[1], self._csv())
        return paths

    def _csv(self) -> str:
        """Return the table with one flat column per figure."""
        flat = [_flat(row) for row in self.rows]
        names: dict[str, None] = {}
        for record in flat:
            names |= dict.fromkeys(record)
        # Resources that only one family has follow those that all have.
        order = [field.name for field in dataclasses.fields(CostRow)]
        columns = sorted(names, key=lambda n: order.index(_field_of(n)))
        out = io.StringIO()
        writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(flat)
        return out.getvalue()


def load_table(path: Path | None = None) -> CostTable:
    """Read a cost table.

    Parameters
    ----------
    path : a `costs.json`; None takes the shipped table, overlaid with the rows of
        `build/cost/costs.json` where `vitrtl cost` has left one.
    """
    if path is not None:
        return _read(Path(path))
    table = _read(SHIPPED_FOLDER / f"{NAME}.json")
    built = BUILD_FOLDER / f"{NAME}.json"
    return table.updated(_read(built).rows) if built.is_file() else table


def cycle_formula(latency_fixed: int, latency_per_beat: int, lanes: int) -> str:
    """Return the cycles of a row of N elements, `N/L` rounded up."""
    beats = "N" if lanes == 1 else f"N/{lanes}"
    times = f"{latency_per_beat + 1}*" if latency_per_beat else ""
    return f"{latency_fixed} + {times}{beats}"


def mend_command(unit: str, spec: Spec | str, target: str) -> str:
    """Return the command that measures a row."""
    if target not in target_names():
        return f"vitrtl cost import REPORTS --target {target}"
    command = f"vitrtl cost {unit} --target {target}"
    if isinstance(spec, str):
        return command
    changes = Build(unit, spec).changes
    fields = " ".join(f"{k}={str(v).lower()}" for k, v in changes.items())
    return f"{command} --spec {fields}" if fields else command


def mend_all_command(target: str, network: Path | None = None) -> str:
    """Return the command that measures all rows that a network's choice needs.

    Parameters
    ----------
    network : folder; the command's is `NETWORK` if it is in none yet.
    """
    if target not in target_names():
        return f"vitrtl cost import REPORTS --target {target}"
    return f"vitrtl cost --target {target} --network {network or 'NETWORK'} --candidates"


def _read(path: Path) -> CostTable:
    """Read one file, or say in one line what is wrong with it."""
    content = read_json(path)
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise CostError(f"{path} is not a cost table")
    if content.get("version") != VERSION:
        raise CostError(f"{path} is a cost table of version {content.get('version')!r}, "
                        f"this program reads version {VERSION}: `vitrtl cost` makes it anew")
    try:
        return CostTable(tuple(CostRow(**row) for row in content["rows"]))
    except (KeyError, TypeError) as error:
        raise CostError(f"{path}: a row is not as the schema says: {error}") from None


def _flat(row: CostRow) -> dict[str, Any]:
    """Return a row without tables inside, as names to plain values."""
    flat: dict[str, Any] = {}
    for name, value in dataclasses.asdict(row).items():
        if name == "spec":
            flat[name] = " ".join(f"{k}={_word(v)}" for k, v in sorted(value.items()))
        elif name in PREFIXES:
            flat |= {f"{PREFIXES[name]}{k}": v for k, v in sorted(value.items())}
        else:
            flat[name] = "" if value is None else value
    return flat


def _word(value: Any) -> str:
    """Return a number of a spec as one word; an accelerator's engines are a list."""
    if isinstance(value, (list, tuple)):
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return str(value)


def _field_of(column: str) -> str:
    """Return the row's field that a column of the CSV comes from."""
    if column in {field.name for field in dataclasses.fields(CostRow)}:
        return column
    return next(name for name, prefix in PREFIXES.items() if column.startswith(prefix))
