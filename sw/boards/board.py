"""Boards: what they have and how they are built, read from `constraints/boards/<board>.toml`."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from vitrtl.sw.errors import UserError
from vitrtl.sw.fact_files import FactFiles
from vitrtl.sw.files import digest, json_text

__all__ = ["FLOWS", "PORTS", "Board", "Flow", "Pin", "board_names", "load_board", "parse_board"]

FILES = FactFiles("board", "boards")

PORTS = ("clk", "rx", "tx", "led")
"""Pins of every design: oscillator, serial line to and from the board, a light."""

FLOWS = ("nextpnr-ecp5", "nextpnr-ice40", "vivado")
"""Ways to a bitstream; the last leaves the work to the user's tool."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """Where a port of the design leaves the device.

    Parameters
    ----------
    site : the package's name of the pin.
    negative : site of the other half of a differential pair.
    inverted : the board's signal is the inverse of the port.
    attributes : of the input or output buffer, in the words of the family.
    """

    site: str
    negative: str | None = None
    inverted: bool = False
    attributes: Mapping[str, str]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """How a design becomes a bitstream.

    Parameters
    ----------
    name : one of `FLOWS`.
    program : what puts the bitstream onto the board, for people.
    device : flags of place and route that name the device.
    place_and_route : further flags of it, such as the algorithm that places.
    pack : flags of the program that writes the bitstream.
    """

    name: str
    program: str
    device: tuple[str, ...] = ()
    place_and_route: tuple[str, ...] = ()
    pack: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board and the device on it.

    Parameters
    ----------
    name : of the file, without its ending.
    title : for people.
    family : of the device, and of its clock multiplier in `vitrtl.hw.pll`.
    part : full name of the device.
    device : what the gates are written for, see `vitrtl.hw.device`.
    costs : target of the cost table whose rows say what a unit needs.
    oscillator_mhz : rate at the clock pin.
    clock_mhz : rate that a design runs at.
    baud : rate of the serial line.
    pins : one for each of `PORTS`.
    resources : what the device has, in the units of the cost table.
    flow : way to a bitstream.
    checksum : of the file's facts and the pins.
    """

    name: str
    title: str
    family: str
    part: str
    device: str
    costs: str
    oscillator_mhz: float
    clock_mhz: float
    baud: int
    pins: Mapping[str, Pin]
    resources: Mapping[str, int]
    flow: Flow
    checksum: str


def board_names() -> list[str]:
    """Return the names of all boards."""
    return FILES.names


def load_board(name: str) -> Board:
    """Read one board.

    Raises
    ------
    UserError
        For an unknown name, listing the known ones, and for a file that lacks something.
    """
    return parse_board(name, FILES.text(name))


def parse_board(name: str, text: str) -> Board:
    """Build a board from the text of its file."""
    where, facts = FILES.where(name), FILES.facts(name, text)
    platform = _platform(where, facts["platform"]) if "platform" in facts else None
    try:
        pins = {port: _pin(where, port, facts["pins"][port], platform) for port in PORTS}
        oscillator = facts.get("oscillator_mhz") or platform.default_clk_frequency / 1e6
        flow = facts["flow"]
        board = Board(
            name=name, title=facts["title"], family=facts["family"], part=facts["part"],
            device=facts["device"], costs=facts["costs"], oscillator_mhz=float(oscillator),
            clock_mhz=float(facts["clock_mhz"]), baud=facts["baud"], pins=pins,
            resources=dict(facts["resources"]),
            flow=Flow(**flow | {name: tuple(flow.get(name, ()))
                                for name in ("device", "place_and_route", "pack")}),
            checksum=digest(json_text(facts),
                            json_text({k: dataclasses.asdict(v) for k, v in pins.items()})))
    except KeyError as error:
        raise UserError(f"{where} has no {error.args[0]!r}") from None
    except (TypeError, AttributeError) as error:
        raise UserError(f"{where}: {error}") from None
    if board.flow.name not in FLOWS:
        raise UserError(f"{where}: flow must be one of {', '.join(FLOWS)}, "
                        f"not {board.flow.name!r}")
    return board


def _platform(where: str, name: str) -> Any:
    """Return the platform of amaranth-boards that a file names; loads Amaranth."""
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError):
        raise UserError(f"{where}: there is no platform {name!r} in amaranth-boards") from None


def _pin(where: str, port: str, facts: dict[str, Any], platform: Any) -> Pin:
    """Return one pin, given as a site, or as a place of the platform."""
    attributes = facts.get("attributes", {})
    if "site" in facts:
        return Pin(site=facts["site"], negative=facts.get("negative"),
                   inverted=facts.get("inverted", False), attributes=attributes)
    if "connector" in facts:
        connector = platform.connectors[facts["connector"], 0]
        return Pin(site=connector.mapping[facts["pin"]], attributes=attributes)
    part = platform.lookup(facts["resource"], facts.get("number", 0))
    inherited = dict(part.attrs)
    if "signal" in facts:
        part = next(io for io in part.ios if getattr(io, "name", None) == facts["signal"])
        inherited |= part.attrs
    (pins,) = part.ios
    if len(pins.names) != 1:
        raise UserError(f"{where}: {port} must be one pin, not {len(pins.names)}")
    return Pin(site=pins.names[0], inverted=pins.invert,
               attributes={k: str(v) for k, v in {**inherited, **attributes}.items()})
