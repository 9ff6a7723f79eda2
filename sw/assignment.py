"""The choice of a method for each layer, as a file that people and programs write."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrtl.sw.catalog import ALL, methods_of
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, read_json, write_if_changed

__all__ = ["FORMAT", "VERSION", "Assignment", "load", "save", "unit_of"]

FORMAT = "vitrtl.assignment"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A unit for some or all of the layers that offer a choice.

    Parameters
    ----------
    network : name of the network.
    layers : unit name by layer name.
    provenance : what made the choice; JSON values.
    """

    network: str
    layers: Mapping[str, str]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def unit_of(operator: str, method: str) -> str:
    """Return the unit that computes `operator` by `method`; a whole unit name is taken as well.

    Raises
    ------
    UserError
        For a method that the operator does not have, listing those that it has.
    """
    units = {u.method: u.name for u in methods_of(operator, software=True)}
    if method in units.values():
        return method
    if method not in units:
        raise UserError(f"{operator} method must be one of {', '.join(units)}, not {method!r}")
    return units[method]


def load(path: Path) -> Assignment:
    """Read an assignment file.

    Raises
    ------
    UserError
        If it is missing, no assignment, of another version or names an unknown unit.
    """
    head = read_json(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UserError(f"{path} is not a {FORMAT} file")
    if head.get("version") != VERSION:
        raise UserError(f"{path} must have version {VERSION}, not {head.get('version')!r}")
    network, layers = head.get("network"), head.get("layers")
    provenance = head.get("provenance", {})
    if not all(isinstance(value, kind) for value, kind in
               ((network, str), (layers, dict), (provenance, dict))):
        raise UserError(f"{path} must name its network and its layers")
    for layer, name in layers.items():
        if name not in ALL:
            raise UserError(f"unit of {layer} in {path} must be one of {', '.join(ALL)}, "
                            f"not {name!r}")
    return Assignment(network=network, layers=layers, provenance=provenance)


def save(assignment: Assignment, path: Path) -> bool:
    """Write an assignment file.  Returns whether it changed."""
    return write_if_changed(path, json_text({
        "format": FORMAT, "version": VERSION, "network": assignment.network,
        "layers": dict(assignment.layers), "provenance": dict(assignment.provenance)}))
