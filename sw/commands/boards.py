"""`vitrtl boards`: which boards there are, and what fits them."""

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vitrtl.sw.boards.fit import Fit

HELP = "List the boards, or show how much of one each unit takes."
EPILOG = """A unit fits if it takes at most four fifths of every resource, by its row in the cost
table of the target that the board names; the shell around it and the routing need the rest. Boards
are files in constraints/boards/, with pins from amaranth-boards where it has them."""

FILE_WIDTH = 150
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("board", nargs="?", metavar="BOARD",
                        help="show the units on this board (default: list all boards)")


def run(args: argparse.Namespace) -> int:
    """Print the boards, or the units on one."""
    from rich.console import Console
    from rich.table import Table

    from vitrtl.sw.boards.board import board_names, load_board
    from vitrtl.sw.boards.fit import fits
    from vitrtl.sw.cost.builds import default_builds
    from vitrtl.sw.cost.table import load_table

    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    costs, builds = load_table(), default_builds()
    if args.board is None:
        table = Table("board", "what it is", "device", "MHz", "resources", "units that fit",
                      "built by")
        for name in board_names():
            board = load_board(name)
            fit = fits(board, builds, costs)
            has = " ".join(f"{k}={v}" for k, v in board.resources.items())
            table.add_row(name, board.title, board.part, f"{board.clock_mhz:g}", has,
                          _count(fit), board.flow.name)
        console.print(table)
        return 0
    board = load_board(args.board)
    table = Table("unit", "spec", *board.resources, "table's MHz", "fits",
                  title=f"{board.title}, at {board.clock_mhz:g} MHz; costs of {board.costs}",
                  title_justify="left")
    for column in table.columns[2:-1]:
        column.justify = "right"
    for fit in fits(board, builds, costs):
        clock = "" if fit.clock_mhz is None else f"{fit.clock_mhz:.1f}"
        changes = " ".join(f"{k}={v}" for k, v in fit.build.changes.items())
        shares = [f"{share:.1%}" for share in fit.shares.values()] or [""] * len(board.resources)
        table.add_row(fit.build.unit, changes, *shares, clock, _verdict(fit))
    console.print(table)
    return 0


def _count(fits: "list[Fit]") -> str:
    """Return how many units fit, and how many nobody knows of."""
    unknown = sum(not fit.shares for fit in fits)
    return f"{sum(fit.fits for fit in fits)} of {len(fits)}" + (
        f", {unknown} not measured" if unknown else "")


def _verdict(fit: "Fit") -> str:
    """Return whether a unit fits, or why not."""
    if not fit.shares:
        return "not measured"
    return "yes" if fit.fits else f"no, {fit.tightest}"
