"""`vitrtl build`: one unit, or a whole accelerator, on a board, behind its serial port."""

import argparse
import sys
import time
from pathlib import Path

HELP = ("Build a bitstream of a unit or a network's accelerator behind a serial port, or a project "
        "for the user's Vivado.")
EPILOG = """The unit gets its beats as bytes over the board's serial port and answers the same way;
`vitrtl exercise` is the host's end. With --network it is the accelerator of a whole network, with
the compiled program, weights included, in the memory of the device: images in, classes out; `vitrtl
demo` is the host's end. With --assignment the network is first made anew with the methods of a
search, and written to the folder `network` beside the bitstream. A board with ECP5 or iCE40 gets a
bitstream from the open tools; one with an AMD device gets a folder that `vivado -mode batch -source
build.tcl` builds. The same versions and seed give the same bytes; what has not changed is not built
again. Exit status 1 if the design does not reach the board's clock."""

DEFAULT_NETWORK = Path("build/network")
FILE_WIDTH = 100
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--board", required=True, metavar="BOARD", help="see `vitrtl boards`")
    parser.add_argument("--unit", metavar="UNIT", help="see `vitrtl list`")
    parser.add_argument("--network", type=Path, metavar="FOLDER",
                        help="what `vitrtl quantize` wrote, such as build/network; with "
                             "--assignment, the network that it is for (then build/network by "
                             "default)")
    parser.add_argument("--assignment", type=Path, metavar="FILE",
                        help="choice of methods that `vitrtl search` wrote, such as "
                             "build/search/assignment.json")
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
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed

    if bool(args.unit) == bool(args.network or args.assignment):
        raise UserError("what to build must be one of --unit, --network and --assignment")
    board = load_board(args.board)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    name, verilog = (unit_design(board, args) if args.unit
                     else network_on_board(board, args, console))
    folder = args.out / board.name / name

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


def network_on_board(board, args: argparse.Namespace, console) -> tuple[str, str]:
    """Return name and Verilog of a network's accelerator on a board."""
    from vitrtl.sw.boards.network_design import network_design
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load, save

    if args.spec:
        raise UserError("--spec is of a unit; the sizes of an accelerator follow from its network")
    network = load(args.network or DEFAULT_NETWORK)
    if args.assignment is None:
        return network.name, network_design(board, network)[1]
    network = reassigned(network, args.assignment, console)
    verilog = network_design(board, network)[1]
    kept = args.out / board.name / network.name / "network"
    save(network, kept)
    console.print(f"wrote {kept}, for `vitrtl demo --network`", soft_wrap=True, highlight=False)
    return network.name, verilog


def reassigned(network, path: Path, console):
    """Return a network with the methods of an assignment file, calibrated as it was itself."""
    from vitrtl.sw.assignment import methods_with
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.origin import origin_of

    methods = methods_with(path, network.name, network.methods)
    if methods == network.methods:
        return network
    try:
        with console.status("calibration"):
            return origin_of(network).network(methods)
    except UserError as error:
        raise UserError(f"{error}; `vitrtl quantize {network.name} --assignment {path}` with the "
                        "options that it was made with writes a network for --network") from None


def _build_bitstream(board, verilog, folder, seed, console) -> int:
    """Run the open flow with progress, and print the resources and the clock."""
    from rich.table import Table

    from vitrtl.sw.boards.bitstream import build_bitstream
    from vitrtl.sw.cost.tools import Tools

    tools, steps = Tools(), {}
    try:
        with console.status("") as status:
            def begin(step: str) -> None:
                steps[step] = time.monotonic()
                status.update(f"{step}, since {time.strftime('%H:%M')}")

            made = build_bitstream(board, verilog, folder, seed, tools, begin)
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
    ends = [*steps.values(), time.monotonic()][1:]
    for (step, begun), end in zip(steps.items(), ends, strict=True):
        console.print(f"{step} took {end - begun:.0f} s", highlight=False)
    console.print(f"load it: {board.flow.program}", soft_wrap=True, highlight=False)
    return 0 if made.met else 1
