"""Targets of the cost table: devices and tool flags, read from `constraints/<target>.toml`."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from vitrtl.sw.errors import UserError
from vitrtl.sw.fact_files import FactFiles
from vitrtl.sw.files import digest, json_text

__all__ = ["PlaceAndRoute", "Register", "Target", "load_target", "parse_target", "target_names"]

FILES = FactFiles("target")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """The flip-flop cell that ends a path at a port.

    Parameters
    ----------
    cell : its type in the netlist.
    clock, data, output : its pins.
    tied : other pins, with the constant at each.
    parameters : of the cell.
    """

    cell: str
    clock: str
    data: str
    output: str
    tied: Mapping[str, str]
    parameters: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlaceAndRoute:
    """How a netlist becomes a clock rate.

    Parameters
    ----------
    module, function : of the tool's Python package.
    flags : device, package, speed grade and mode.
    seeds : the clock is the median over them.
    register : what stands at every port.
    """

    module: str
    function: str
    flags: tuple[str, ...]
    seeds: tuple[int, ...]
    register: Register


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A device and the flow that measures units on it.

    Parameters
    ----------
    name : of the file, without its ending.
    family, part, speed_grade : what is measured; a target without place and route has no grade.
    device : what the Verilog is written for, see `vitrtl.hw.device`.
    clock_mhz : what a unit must reach; None where no clock is measured.
    area : the resource that compares units.
    synthesis : Yosys command; the top module is added to it.
    place_and_route : None for area only.
    resources : resource to (cell type to weight).
    free : cell types that count for nothing.
    checksum : of the file's facts; a comment may change.
    """

    name: str
    family: str
    part: str
    speed_grade: str | None
    device: str
    clock_mhz: float | None
    area: str
    synthesis: str
    place_and_route: PlaceAndRoute | None
    resources: Mapping[str, Mapping[str, int]]
    free: tuple[str, ...]
    checksum: str


def target_names() -> list[str]:
    """Return the names of all targets."""
    return FILES.names


def load_target(name: str) -> Target:
    """Read one target.

    Raises
    ------
    UserError
        For an unknown name, listing the known ones, and for a file that lacks something.
    """
    return parse_target(name, FILES.text(name))


def parse_target(name: str, text: str) -> Target:
    """Build a target from the text of its file."""
    where, facts = FILES.where(name), FILES.facts(name, text)
    try:
        resource_table = dict(facts["resources"])
        free = tuple(resource_table.pop("free"))
        target = Target(
            name=name, family=facts["family"], part=facts["part"],
            speed_grade=facts.get("speed_grade"), device=facts["device"],
            clock_mhz=facts.get("clock_mhz"), area=facts["area"],
            synthesis=facts["synthesis"]["command"],
            place_and_route=_place_and_route(facts.get("place_and_route")),
            resources=resource_table, free=free, checksum=digest(json_text(facts)))
    except KeyError as error:
        raise UserError(f"{where} has no {error.args[0]!r}") from None
    except TypeError as error:
        raise UserError(f"{where}: {error}") from None
    for resource in ("lut", "ff", "dsp", "bram", target.area):
        if resource not in target.resources:
            raise UserError(f"{where} does not say which cells count as {resource!r}")
    return target


def _place_and_route(facts: dict[str, Any] | None) -> PlaceAndRoute | None:
    """Build the second half of the flow, where there is one."""
    if facts is None:
        return None
    return PlaceAndRoute(module=facts["module"], function=facts["function"],
                         flags=tuple(facts["flags"]), seeds=tuple(facts["seeds"]),
                         register=Register(**facts["register"]))
