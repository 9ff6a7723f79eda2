"""Tables between markers in the documents, made from specs, components and measured tables.

A marker is a line `<!-- BEGIN NAME ARGUMENTS: COMMAND -->`, its end `<!-- END -->`; what stands
between them is written by `vitrtl docs`, and COMMAND says where the figures come from.
"""

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vitrtl.sw import accelerator_tables
from vitrtl.sw.accelerator import registers
from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.cost.builds import table_builds
from vitrtl.sw.cost.table import load_table
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.markdown import table
from vitrtl.sw.method_tables import (
    comparison_table,
    conclusion_list,
    error_table,
    method_table,
    published_table,
)
from vitrtl.sw.study_tables import (
    ablation_table,
    choice_table,
    family_table,
    front_table,
    gain_table,
    hard_table,
    network_table,
    normalization_table,
    precision_table,
    proxy_table,
    shortlist_table,
)

__all__ = ["Sources", "refresh"]

MARKER = re.compile(r"(<!-- BEGIN (\w+)((?: [\w.-]+)*): [^\n]*-->\n)(.*?)(<!-- END -->)", re.S)


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """Where the figures are read from.

    Parameters
    ----------
    build : folder of what `make sim` and `make search` leave; tables whose file is not there
        stay as they are.
    """

    build: Path = Path("build")

    def read(self, path: str) -> Any:
        """Return the JSON at a path below `build`, or None."""
        file = self.build / path
        return json.loads(file.read_text()) if file.is_file() else None


def refresh(text: str, sources: Sources) -> str:
    """Return a document with every table made anew."""
    def generated(match: re.Match) -> str:
        begin, name, arguments, old, end = match.groups()
        if name not in TABLES:
            raise UserError(f"table must be one of {', '.join(TABLES)}, not {name!r}")
        new = TABLES[name](sources, *arguments.split())
        return begin + (old if new is None else new) + end

    return MARKER.sub(generated, text)


def numbers(sources: Sources, name: str) -> str:
    """Spec fields with their defaults, data formats, run-time registers."""
    spec = unit(name).golden.spec()
    fields = table(["build-time field", "default", "meaning"],
                   [[f"`{f}`", f"`{v}`", _parameter_doc(type(spec), f)]
                    for f, v in spec.asdict().items()])
    formats = {"input": spec.in_format, "output": spec.out_format}
    registers = table(["run-time register", "address", "format", "meaning"],
                      [[f"`{r.name}`", f"{r.address}" if r.depth == 1
                        else f"{r.address}..{r.address + r.depth - 1}", f"`{r.format}`", r.doc]
                       for r in spec.registers])
    data = ", ".join(f"{what} `{fmt}`" for what, fmt in formats.items())
    return f"Data: {data}.\n\n{fields}\n{registers}"


def ports(sources: Sources, name: str) -> str:
    """Ports of the generated Verilog."""
    from vitrtl.hw.verilog import PlainPorts

    entry = unit(name)
    top = PlainPorts(entry.gates(entry.golden.spec()))
    rows = [["`clk`", "in", "1"], ["`rst`", "in", "1"]]
    rows += [[f"`{port}`", "in" if into else "out", str(len(signal))]
             for port, (signal, into) in top.ports.items()]
    return table(["port", "direction", "bits"], rows)


def timing(sources: Sources, name: str) -> str:
    """Cycles, and what they are at the placed and routed clock."""
    entry = unit(name)
    spec = entry.golden.spec()
    stated = entry.timing(spec)
    row = load_table().row(name, spec, "ecp5-85k")
    per_row = f" + {stated.latency_per_beat} per beat" if stated.latency_per_beat else ""
    lanes = spec.lanes if isinstance(spec, VectorSpec) else 1
    rows = [
        ["first beat in to first beat out", f"{stated.latency_fixed}{per_row} cycles"],
        ["a row of N elements, first beat in to last beat out", f"{row.cycles} cycles"],
        ["row to row", f"one beat a cycle; at least {stated.interval_min} cycles"],
        ["at the clock on ecp5-85k",
         f"{row.clock_mhz:.1f} MHz, {row.clock_mhz * lanes:.0f} M elements/s"],
    ]
    return table(["", ""], rows)


def resources(sources: Sources, name: str) -> str:
    """Cost rows of one unit: of the builds that ship, whatever else was measured here."""
    builds = {build.spec.digest for build in table_builds() if build.unit == name}
    return _cost_rows([row for row in load_table().rows
                       if row.unit == name and row.spec_digest in builds])


def costs(sources: Sources, target: str) -> str:
    """Rows of the shipped cost table for the default specs on one target."""
    measured = load_table()
    return _cost_rows([measured.row(name, u.golden.spec(), target) for name, u in UNITS.items()])


def simulation(sources: Sources) -> str | None:
    """What `make sim` found, run by run."""
    return _runs(sources.read("sim/summary.json"))


def coverage(sources: Sources) -> str | None:
    """What `make coverage` found, run by run."""
    return _runs(sources.read("coverage/sim/summary.json"))


def proof(sources: Sources) -> str | None:
    """What both found, in a line each."""
    found = {f"`make {verb}`": sources.read(path) for verb, path in (
        ("sim", "sim/summary.json"), ("coverage", "coverage/sim/summary.json"))}
    if None in found.values():
        return None
    return table(
        ["", "builds", "runs", "rows", "values compared", "mismatches", "cycles"],
        [[verb, str(len({r["module"] for r in records})), str(len(records)),
          *(f"{sum(r[key] for r in records):,}"
            for key in ("vectors", "values", "mismatches", "cycles"))]
         for verb, records in found.items()])


def _runs(records: list[dict[str, Any]] | None) -> str | None:
    """Return simulations as a table, in the order of the catalogue."""
    if records is None:
        return None
    order = list(UNITS)
    return table(
        ["unit", "device", "rows", "values compared", "mismatches", "cycles",
         "elements/cycle", "latency"],
        [[f"`{r['module']}`", r["device"], f"{r['vectors']:,}", f"{r['values']:,}",
          str(r["mismatches"]), f"{r['cycles']:,}", f"{r['elements_per_cycle']:.3f}",
          str(r["latency"])]
         for r in sorted(records, key=lambda r: (order.index(r["unit"]), r["module"],
                                                 r["device"]))])


def search(sources: Sources, what: str, folder: str) -> str | None:
    """What a search found: one of `STUDIES`, from a folder below the build folder."""
    return STUDIES[what](sources.read, folder)


def ablation(sources: Sources, folder: str) -> str | None:
    """What each quantization technique gains."""
    return ablation_table(sources.read, folder)


def precisions(sources: Sources, *folders: str) -> str | None:
    """Accuracy by bits of weights and activations."""
    return precision_table(sources.read, folders)


def hard(sources: Sources, folder: str, model: str) -> str | None:
    """Families of methods on a hard network."""
    return hard_table(sources.read, folder, model)


def errors(sources: Sources, name: str) -> str:
    """Error of one unit against float64, from the shipped error table."""
    return error_table(name)


def units(sources: Sources) -> str:
    """Links to the pages of all units, a line for each operator."""
    operators = dict.fromkeys(u.operator for u in UNITS.values())
    return "".join(f"- {operator}: " + ", ".join(
        f"[{u.method}](docs/units/{u.name}.md)" for u in UNITS.values() if u.operator == operator)
        + "\n" for operator in operators)


def methods(sources: Sources) -> str:
    """All methods in short."""
    return method_table()


def comparison(sources: Sources, operator: str) -> str:
    """Methods of an operator beside each other."""
    return comparison_table(operator)


def published(sources: Sources, operator: str) -> str:
    """Published units of an operator."""
    return published_table(operator)


def conclusion(sources: Sources, operator: str) -> str:
    """What follows from the two."""
    return conclusion_list(operator)


def accelerator(sources: Sources, *folders: str) -> str | None:
    """Networks that were run whole, from folders below the build folder."""
    return accelerator_tables.run_table(sources.read, *folders)


def accelerator_layers(sources: Sources, folder: str) -> str | None:
    """Where the cycles of one went."""
    return accelerator_tables.layer_table(sources.read, folder)


def accelerator_sweep(sources: Sources, folder: str) -> str | None:
    """Cycles by latency and bandwidth of the memory."""
    return accelerator_tables.sweep_table(sources.read, folder)


def accelerator_costs(sources: Sources) -> str | None:
    """Whole accelerators in the shipped cost table."""
    return accelerator_tables.cost_table()


def board_rate(sources: Sources, folder: str, board: str) -> str | None:
    """Images a second of a network on a board."""
    return accelerator_tables.rate_table(sources.read, folder, board)


def bitstreams(sources: Sources, *folders: str) -> str | None:
    """Designs on boards, `BOARD.DESIGN` each: how fast they are, and how full the device is."""
    records = {folder: sources.read(f"boards/{folder.replace('.', '/')}/build.json")
               for folder in folders}
    if None in records.values():
        return None
    return table(
        ["board", "design", "clock, MHz", "reached, MHz", *BOARD_RESOURCES],
        [[f"`{name}`" for name in folder.split(".")]
         + [f"{record['required_mhz']:g}", f"{record['clock_mhz']:.1f}"]
         + [_share(record["utilization"], cells) for cells in BOARD_RESOURCES.values()]
         for folder, record in records.items()])


def _share(utilization: dict[str, list[int]], cells: tuple[str, ...]) -> str:
    """Return how much is used of the first of some kinds of cells that the device has."""
    for name in cells:
        if name in utilization:
            used, available = utilization[name]
            return f"{used:,} ({used / available:.0%})"
    return "0"


def accelerator_registers(sources: Sources) -> str:
    """The register map."""
    return registers.markdown()


def accelerator_instructions(sources: Sources) -> str:
    """Fields of the instructions."""
    return accelerator_tables.instruction_table()


def accelerator_codes(sources: Sources) -> str:
    """What the codes stand for."""
    return accelerator_tables.code_table()


STUDIES = {"choices": choice_table, "networks": network_table, "families": family_table,
           "front": front_table, "gains": gain_table, "proxies": proxy_table,
           "shortlist": shortlist_table, "omega": normalization_table}
"""Tables of a search by name."""

BOARD_RESOURCES = {
    "LUT4": ("TRELLIS_COMB", "ICESTORM_LC"), "FF": ("TRELLIS_FF",),
    "DSP": ("MULT18X18D", "ICESTORM_DSP"), "block RAM": ("DP16KD", "ICESTORM_RAM"),
}
"""Columns, and what nextpnr calls them; a logic cell of iCE40 is a LUT4 and an FF."""

TABLES: dict[str, Callable[..., str | None]] = {
    "numbers": numbers, "ports": ports, "timing": timing, "resources": resources, "costs": costs,
    "simulation": simulation, "coverage": coverage, "proof": proof, "search": search,
    "ablation": ablation, "precisions": precisions, "hard": hard,
    "errors": errors, "methods": methods, "units": units, "comparison": comparison,
    "published": published, "conclusion": conclusion,
    "accelerator": accelerator, "accelerator_layers": accelerator_layers,
    "accelerator_sweep": accelerator_sweep, "accelerator_costs": accelerator_costs,
    "accelerator_registers": accelerator_registers, "bitstreams": bitstreams,
    "board_rate": board_rate,
    "accelerator_instructions": accelerator_instructions, "accelerator_codes": accelerator_codes,
}


def _cost_rows(rows: list) -> str:
    """Return cost rows as a table."""
    return table(
        ["unit", "target", "area", "FF", "DSP", "BRAM", "MHz (median of 3 seeds)",
         "cycles for a row of N"],
        [[f"`{r.unit}`" + _changes(r), r.target, f"{r.area} {r.area_unit}",
          str(r.resources["ff"]), str(r.resources["dsp"]), str(r.resources["bram"]),
          "-" if r.clock_mhz is None else f"{r.clock_mhz:.1f}", r.cycles] for r in rows])


def _changes(row: Any) -> str:
    """Return the fields in which a row's spec is not the default."""
    default = unit(row.unit).golden.spec().asdict()
    changed = {k: v for k, v in row.spec.items() if v != default[k]}
    return "".join(f" {k}={v}" for k, v in changed.items())


def _parameter_doc(kind: type, field: str) -> str:
    """Return the line of a spec's docstring about one field."""
    for base in kind.__mro__:
        match = re.search(rf"^    {field} : (.*(?:\n        .*)*)", base.__doc__ or "", re.M)
        if match:
            return " ".join(match.group(1).split())
    raise UserError(f"{kind.__name__} does not document its field {field}")
