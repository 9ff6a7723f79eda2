"""One self-contained HTML page of a search: figures, assignment, plots, costs, provenance.

It is made from the files of a search alone and from the cost table; nothing is measured or run.
"""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from vitrtl.sw import assignment
from vitrtl.sw import network as networks
from vitrtl.sw.accuracy.plots import PALETTE
from vitrtl.sw.catalog import OPERATORS
from vitrtl.sw.cost.table import CostRow, CostTable
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import existing, read_json
from vitrtl.sw.ptq.unit_costs import UNITS_ALONE

__all__ = ["Strip", "report"]

TABLES = {"sensitivity": True, "choices": True, "networks": True, "omega": False,
          "proxies": False, "shortlist": False, "gains": False, "front": False}
"""Tables of a search by name, and whether every search has them."""

PLOTS = {
    "front": "Error over area: the joint front and every other answer",
    "sensitivity_softmax": "Softmax, by layer and method",
    "sensitivity_gelu": "GELU, by layer and method",
    "sensitivity_layernorm": "LayerNorm, by layer and method",
    "distribution": "What methods lose, over all layers",
    "noise": "Noise on its way through the networks",
    "proxies": "What the search minimises, and the true error",
}
"""Plots of a search by name, and what they show."""


@dataclasses.dataclass(frozen=True, slots=True)
class Strip:
    """One way to choose, as a strip of coloured cells.

    Parameters
    ----------
    way : its name.
    cells : (layer, candidate, colour) in the order of the layers.
    """

    way: str
    cells: tuple[tuple[str, str, str], ...]


def report(folder: Path, costs: CostTable) -> str:
    """Return the page.

    Parameters
    ----------
    folder : that `vitrtl search` wrote.
    costs : the cost table; rows of the chosen units are shown.

    Raises
    ------
    UserError
        If a file is missing, or files are of different searches.
    """
    folder = Path(folder)
    chosen = assignment.load(folder / "assignment.json")
    network = networks.load(folder / "network")
    head = chosen.provenance
    if head.get("network_digest") != network.digest:
        raise UserError(f"{folder / 'network'} is not the network of {folder / 'assignment.json'}: "
                        "search again")
    tables = {name: records for name, always in TABLES.items()
              if (records := _records(folder, name, network.digest, always)) is not None}
    head = {**head, **_tested(folder)}
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined,
                                     trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"share": _share, "number": _number}
    template = environment.from_string(
        (resources.files("vitrtl.sw") / "templates" / "report.html").read_text())
    tables["choices"].sort(key=lambda record: OPERATORS.index(record["operator"]))
    others = sorted(set(tables["choices"][0]) - {"layer", "operator", head["metric"]})
    ways = [head["metric"], *others]
    return template.render(
        network=network, head=head, chosen=chosen, tables=tables,
        cycles_of=head.get("cycles_of", UNITS_ALONE),
        result=tables["networks"][0], strips=_strips(tables["choices"], ways),
        operators=_runs(tables["choices"]), legend=_colours(tables["choices"], ways),
        plots=[(title, _image(path)) for name, title in PLOTS.items()
               if (path := folder / f"{name}.svg").is_file()],
        costs=_cost_rows(network, costs, head["target"]))


def _records(folder: Path, name: str, digest: str, always: bool) -> list[dict[str, Any]] | None:
    """Return the records of one table, None where the search did not make it."""
    path = folder / f"{name}.json"
    if not always and not path.is_file():
        return None
    table = read_json(path)
    if not isinstance(table, dict) or table.get("format") != f"vitrtl.{name}":
        raise UserError(f"{path} is not a vitrtl.{name} file")
    if table.get("network_digest") != digest:
        if not always:
            return None     # of an earlier search in the same folder
        raise UserError(f"{path} is not of the search that chose {digest}: search again")
    return table["records"]


def _tested(folder: Path) -> dict[str, Any]:
    """Return what the test images gave the float network."""
    table = read_json(folder / "networks.json")
    return {key: table[key] for key in ("test_images", "float_accuracy")}


def _colours(choices: Sequence[Mapping[str, str]], ways: Sequence[str]) -> dict[str, dict]:
    """Return the colour of each candidate by operator; one that nobody takes has none."""
    taken: dict[str, dict[str, str]] = {}
    for record in choices:
        of_operator = taken.setdefault(record["operator"], {})
        for way in ways:
            of_operator.setdefault(record[way], _colour(len(of_operator)))
    return taken


def _colour(index: int) -> str:
    """Return a colour of its own as CSS: beyond the palette, stripes of it."""
    again, place = divmod(index, len(PALETTE))
    if not again:
        return PALETTE[place]
    return (f"repeating-linear-gradient({45 * again}deg, {PALETTE[place]} 0 4px, "
            "#ffffff 4px 7px)")


def _strips(choices: Sequence[Mapping[str, str]], ways: Sequence[str]) -> list[Strip]:
    """Return a strip for each way, layers of one operator side by side."""
    colours = _colours(choices, ways)
    return [Strip(way, tuple((record["layer"], record[way],
                              colours[record["operator"]][record[way]]) for record in choices))
            for way in ways]


def _runs(choices: Sequence[Mapping[str, str]]) -> dict[str, int]:
    """Return how many layers each operator has, in the order of the strips."""
    counts: dict[str, int] = {}
    for record in choices:
        counts[record["operator"]] = counts.get(record["operator"], 0) + 1
    return counts


def _cost_rows(network: networks.IntegerNetwork, costs: CostTable,
               target: str) -> list[tuple[str, CostRow | None]]:
    """Return the cost row of each unit that the network needs, None where the table lacks it."""
    by_key = {(row.unit, row.spec_digest): row for row in costs.rows if row.target == target}
    return [(name, by_key.get((name, spec.digest)))
            for name, specs in network.units.items() for spec in specs]


def _image(path: Path) -> str:
    """Return a plot as an address that holds the whole plot."""
    return "data:image/svg+xml;base64," + base64.b64encode(existing(path).read_bytes()).decode()


def _share(value: float) -> str:
    return f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
