"""`vitrtl exercise`: a unit on a board against the golden model, over the serial port."""

import argparse
import sys
from pathlib import Path

HELP = "Play test cases on a unit on a board, over its serial port, and compare every value."
EPILOG = """The board must hold the bitstream that `vitrtl build` makes of the same unit and spec.
With --simulate there is no board: the same design runs in Verilator by its pins, oscillator and
serial line, with the same host code at the other end. Exit status 1 if a value differs from the
golden model's."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--board", required=True, metavar="BOARD", help="see `vitrtl boards`")
    parser.add_argument("--unit", required=True, metavar="UNIT", help="what is on the board")
    parser.add_argument("--spec", nargs="+", metavar="FIELD=VALUE", default=[],
                        help="changes to the unit's default spec")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", metavar="PORT",
                       help="serial port of the board, such as /dev/ttyUSB0")
    where.add_argument("--simulate", action="store_true", help="simulate the design instead")
    parser.add_argument("--values", type=int, default=None, metavar="N",
                        help="values of each kind of case at most (default: 20000 on a board, "
                             "200 in simulation)")
    parser.add_argument("--build", type=Path, default=Path("build/sim"), metavar="FOLDER",
                        help="where a simulation works (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Play the cases and say what came back."""
    from rich.console import Console
    from rich.progress import track

    from vitrtl.sw.boards.board import load_board
    from vitrtl.sw.boards.exercise import exercise
    from vitrtl.sw.boards.unit_client import UnitClient
    from vitrtl.sw.commands.cost import selected_builds
    from vitrtl.sw.errors import UserError

    values = (200 if args.simulate else 20_000) if args.values is None else args.values
    if values < 1:
        raise UserError(f"values must be at least 1, not {values}")
    board = load_board(args.board)
    build = selected_builds([args.unit], args.spec, None, False)[0]
    console = Console(soft_wrap=True, highlight=False)
    if args.simulate:
        from vitrtl.sim.board import simulate_exercise

        with console.status(f"simulating {build.unit} on {board.name}"):
            found = simulate_exercise(board, build.unit, build.spec, values, args.build)
    else:
        from vitrtl.sw.boards.serial_port import open_port

        with open_port(args.port, board.baud) as port:
            client = UnitClient(port, build.unit, build.spec)
            client.start()
            found = exercise(client, values, watch=lambda cases: track(
                cases, description=build.unit, console=console,
                disable=not sys.stdout.isatty()))
    for line in found.differences:
        console.print(line, markup=False)
    console.print(f"{found.mismatches} mismatches in {found.values:,} values of {found.cases} "
                  f"cases")
    return 1 if found.mismatches else 0
