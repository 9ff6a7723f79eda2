"""`vitrtl build`: one unit, or a whole accelerator, on a board, behind its serial port."""

import argparse
import sys
from pathlib import Path

HELP = ("Build a bitstream of a unit or a network's accelerator behind a serial port, or a project "
        "for the user's Vivado.")
EPILOG = """The unit gets its beats as bytes over the board's serial port and answers the same way;
`vitrtl exercise` is the host's end. With --network it is the accelerator of a whole network,
with the compiled program, weights included, in the memory of the device: images in, classes out;
`vitrtl demo` is the host's end. A board with ECP5 or iCE40 gets a bitstream from the open
tools; one with an AMD device gets a folder that `vivado -mode batch -source build.tcl` builds.
The same versions and seed give the same bytes; what has not changed is not built again. Exit
status 1 if the design does not reach the board's clock."""

FILE_WIDTH = 100
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--board", required=True, metavar="BOARD", help="see `vitrtl boards`")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--unit", metavar="UNIT", help="see `vitrtl list`")
    what.add_argument("--network", type=Path, metavar="FOLDER",
                      help="what `vitrtl quantize` wrote, such as build/network")
    parser.add_argument("--spec", nargs="+", metavar="FIELD=VALUE", default=[],
                        help="changes to the unit's default spec")
    parser.add_argument("--seed", type=int, default=1, metavar="N",
                        help="of place and route (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/boards"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Build, and say what came of it."""
    from rich.console import Console

    from vitrtl.sw.boards.board import load_board
    from vitrtl.sw.boards.vivado import BUILD_COMMAND, vivado_project
    from vitrtl.sw.files import write_if_changed

    board = load_board(args.board)
    name, verilog = unit_design(board, args) if args.unit else network_on_board(board, args)
    folder = args.out / board.name / name
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)

    if board.flow.name == "vivado":
        for file, text in vivado_project(board, verilog).items():
            path = folder / file
            console.print(f"{'wrote' if write_if_changed(path, text) else 'unchanged'} {path}",
                          soft_wrap=True, highlight=False)
        console.print(f"build it: cd {folder} && {BUILD_COMMAND}", soft_wrap=True, highlight=False)
        return 0
    return _build_bitstream(board, verilog, folder, args.seed, console)


def unit_design(board, args: argparse.Namespace) -> tuple[str, str]:
    """Return name and Verilog of a unit on a board."""
    from vitrtl.hw.board_top import board_verilog
    from vitrtl.hw.stream_shell import StreamShell
    from vitrtl.hw.verilog import module_name
    from vitrtl.sw.boards.protocol import identity
    from vitrtl.sw.catalog import unit
    from vitrtl.sw.commands.cost import selected_builds

    build = selected_builds([args.unit], args.spec, None, False)[0]
    name, spec = build.unit, build.spec
    shell = StreamShell(unit(name).gates(spec), identity(name, spec))
    return module_name(name, spec), board_verilog(board, shell)


def network_on_board(board, args: argparse.Namespace) -> tuple[str, str]:
    """Return name and Verilog of a network's accelerator on a board."""
    from vitrtl.sw.boards.network_design import network_design
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load

    if args.spec:
        raise UserError("--spec is of a unit; the sizes of an accelerator follow from its network")
    network = load(args.network)
    return network.name, network_design(board, network)[1]


def _build_bitstream(board, verilog, folder, seed, console) -> int:
    """Run the open flow with progress, and print the resources and the clock."""
    from rich.table import Table

    from vitrtl.sw.boards.bitstream import build_bitstream
    from vitrtl.sw.cost.tools import Tools

    tools = Tools()
    try:
        with console.status("") as status:
            made = build_bitstream(board, verilog, folder, seed, tools, status.update)
    finally:
        tools.stop()
    table = Table("resource", "used", "of", "share")
    for name, (used, available) in made.utilization.items():
        if used:
            table.add_row(name, f"{used:,}", f"{available:,}", f"{used / available:.1%}")
    console.print(table)
    console.print(f"{made.clock_mhz:.1f} MHz, {'enough for' if made.met else 'too slow for'} the "
                  f"board's {made.required_mhz:g} MHz", highlight=False)
    console.print(f"{'unchanged' if made.cached else 'wrote'} {made.path} "
                  f"({made.path.stat().st_size:,} bytes)", soft_wrap=True, highlight=False)
    console.print(f"load it: {board.flow.program}", soft_wrap=True, highlight=False)
    return 0 if made.met else 1
