"""The choice of a method for each layer, as a file that people and programs write."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vitrtl.sw.candidate import LANES, candidate, candidates_of
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, read_json, write_if_changed

__all__ = ["FORMAT", "VERSION", "Assignment", "candidate_name", "load", "methods_with", "save"]

FORMAT = "vitrtl.assignment"
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Assignment:
    """A candidate for some or all of the layers that offer a choice.

    Parameters
    ----------
    network : name of the network.
    layers : candidate by layer, by their names: `softmax_exp2`, `softmax_exp2:s8`.
    provenance : what made the choice; JSON values.
    """

    network: str
    layers: Mapping[str, str]
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def candidate_name(operator: str, method: str) -> str:
    """Return the candidate that computes `operator` by `method`, such as `exp2` or `exp2:s8@4`.

    A whole name such as `softmax_exp2:s8` is taken as well.

    Raises
    ------
    UserError
        For a method that the operator does not have, listing those that it has.
    """
    names = {c.method: c.name for c in candidates_of(operator, software=True)}
    if method in names.values():
        return method
    plain, _, lanes = method.partition(LANES)
    if lanes and (plain in names or plain in names.values()):
        return candidate(f"{names.get(plain, plain)}{LANES}{lanes}").name
    if method not in names:
        raise UserError(f"{operator} method must be one of {', '.join(names)}, not {method!r}")
    return names[method]


def load(path: Path) -> Assignment:
    """Read an assignment file.

    Raises
    ------
    UserError
        If it is missing, no assignment, of another version or names an unknown candidate.
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
        try:
            candidate(name)
        except UserError as error:
            raise UserError(f"unit of {layer} in {path}: {error}") from None
    return Assignment(network=network, layers=layers, provenance=provenance)


def methods_with(path: Path, network: str, methods: Mapping[str, str]) -> dict[str, str]:
    """Return the methods of a network with those of an assignment file in their place.

    Parameters
    ----------
    path : of the file.
    network : name of the network.
    methods : that it has, by layer.

    Raises
    ------
    UserError
        If the file is none, is of another network, or names a layer that the network has not.
    """
    chosen = load(path)
    if chosen.network != network:
        raise UserError(f"{path} is for {chosen.network}, not for {network}")
    if unknown := sorted(set(chosen.layers) - set(methods)):
        raise UserError(f"{path}: {network} has no layer {unknown[0]!r} with a choice")
    return {**methods, **chosen.layers}


def save(assignment: Assignment, path: Path) -> bool:
    """Write an assignment file.  Returns whether it changed."""
    return write_if_changed(path, json_text({
        "format": FORMAT, "version": VERSION, "network": assignment.network,
        "layers": dict(assignment.layers), "provenance": dict(assignment.provenance)}))
