"""`vitrtl cost`: what each unit costs on each target, measured."""

import argparse
import sys
from pathlib import Path

from vitrtl.sw.engine import HELP as HELP_ENGINE
from vitrtl.sw.engine import LOCAL

HELP = "Synthesize, place and route units; write the cost table."
EPILOG = """A unit is measured with its default spec and the variants that it names. Without units,
every unit of the catalogue is, and with four lanes as well. Nothing is measured twice: results are
kept by content under build/cost, and an interrupted run goes on where it was. Rows are added to
build/cost/costs.json (and .csv), which the search reads before the table that is shipped with the
package; --ship writes that one. The row of an accelerator is that of its bitstream for a board,
which `vitrtl build` makes as well; its cycles are those of an image. Exit status 1 if a tool
fails."""


ACCELERATOR_BOARD = "ulx3s"
"""What an accelerator is built for, unless a board is named."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--target", action="append", metavar="TARGET",
                        help="name of a file in constraints/; can be repeated (default: all)")
    parser.add_argument("--spec", nargs="+", metavar="FIELD=VALUE", default=[],
                        help="measure one unit with these changes to its default spec")
    parser.add_argument("--network", type=Path, metavar="FOLDER",
                        help="measure exactly the units of an integer network")
    parser.add_argument("--candidates", action="store_true",
                        help="with --network: and those of the methods that it could use instead")
    parser.add_argument("--accelerator", type=Path, metavar="FOLDER",
                        help="measure the accelerator of an integer network, with its program on "
                             "chip, instead of units")
    parser.add_argument("--board", metavar="BOARD",
                        help="with --accelerator: what it is built for (default: "
                             f"{ACCELERATOR_BOARD})")
    parser.add_argument("--boards", type=Path, default=Path("build/boards"), metavar="FOLDER",
                        help="with --accelerator: where `vitrtl build` leaves its designs "
                             "(default: %(default)s)")
    parser.add_argument("--build", type=Path, default=Path("build/cost"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="tools at once (default: %(default)s)")
    parser.add_argument("--engine", default=LOCAL, metavar="ENGINE", help=HELP_ENGINE)
    parser.add_argument("--paths", action="store_true", help="print each slowest path")
    parser.add_argument("--ship", action="store_true",
                        help="write the table of the package, with all its builds")


def run(args: argparse.Namespace) -> int:
    """Measure what has not been measured, write and print the table."""
    from rich.console import Console

    from vitrtl.sw.cost.accelerator import ACCELERATOR
    from vitrtl.sw.cost.show import cost_table, path_table
    from vitrtl.sw.cost.table import SHIPPED_FOLDER, CostTable, load_table
    from vitrtl.sw.cost.target import load_target
    from vitrtl.sw.errors import UserError

    if args.jobs < 1:
        raise UserError(f"jobs must be at least 1, not {args.jobs}")
    if args.ship and (args.units or args.target or args.network):
        raise UserError("the shipped table holds all its builds on all targets: "
                        "--ship goes without units, --target and --network")
    if args.accelerator and (args.units or args.spec or args.network or args.candidates
                             or args.target):
        raise UserError("--accelerator names its units by itself, and --board its target")
    if args.board and not args.accelerator:
        raise UserError("--board is for --accelerator")

    console = Console(width=None if sys.stdout.isatty() else 150)
    outcomes = [] if args.accelerator else _measured(args, console)
    rows = ([_accelerator(args, console)] if args.accelerator
            else [outcome.row for outcome in outcomes if outcome.row])
    failed = [outcome for outcome in outcomes if outcome.error]
    if args.ship:
        shipped = load_table(SHIPPED_FOLDER / "costs.json").rows
        # Units and accelerators are measured apart, and replace those of their own kind.
        kept = [row for row in shipped if (row.unit == ACCELERATOR) != bool(args.accelerator)]
        written = [] if failed else CostTable((*kept, *rows)).save(SHIPPED_FOLDER)
    else:
        path = args.build / "costs.json"
        earlier = load_table(path) if path.is_file() else CostTable()
        written = earlier.updated(rows).save(args.build)
    if args.paths:
        for outcome in outcomes:
            if outcome.measurement and outcome.measurement.clock_mhz_seeds:
                console.print(path_table(outcome))
    targets = {name: load_target(name) for name in dict.fromkeys(row.target for row in rows)}
    console.print(cost_table(rows, targets))
    for outcome in failed:
        console.print(f"FAILED {outcome.job.name}: {outcome.error}", soft_wrap=True,
                      markup=False, highlight=False)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    return 1 if failed else 0


def _measured(args: argparse.Namespace, console) -> list:
    """Measure units; return what became of each."""
    from vitrtl.sw.cost.show import CostProgress
    from vitrtl.sw.cost.suite import plan, run
    from vitrtl.sw.cost.target import load_target, target_names

    builds = selected_builds(args.units, args.spec, args.network, args.candidates)
    targets = [load_target(name) for name in dict.fromkeys(args.target or target_names())]
    jobs = plan(builds, targets, args.build / "cache")
    with CostProgress(jobs, console) as progress:
        return run(jobs, args.jobs, progress.step, args.engine)


def _accelerator(args: argparse.Namespace, console):
    """Measure an accelerator; return its row."""
    from vitrtl.sw.boards.board import load_board
    from vitrtl.sw.cost.accelerator import accelerator_row
    from vitrtl.sw.cost.tools import Tools
    from vitrtl.sw.network import load

    board, network = load_board(args.board or ACCELERATOR_BOARD), load(args.accelerator)
    tools = Tools()
    try:
        with console.status("") as status:
            return accelerator_row(network, board, args.boards, tools, status.update)
    finally:
        tools.stop()


def selected_builds(names: list[str], changes: list[str], folder: Path | None,
                    candidates: bool) -> list:
    """Return the builds that the options ask for."""
    from vitrtl.sw.cost.builds import (
        Build,
        candidate_builds,
        default_builds,
        network_builds,
        spec_with,
        table_builds,
    )
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load

    if folder is not None:
        if names or changes:
            raise UserError("--network names the units and specs by itself")
        return (candidate_builds if candidates else network_builds)(load(folder))
    if candidates:
        raise UserError("--candidates needs the --network whose layers have the choice")
    if not changes:
        return default_builds(dict.fromkeys(names)) if names else table_builds()
    if len(names) != 1:
        raise UserError(f"--spec is of one unit, not of {len(names) or 'all'}")
    fields = {}
    for change in changes:
        field, equals, value = change.partition("=")
        if not equals:
            raise UserError(f"--spec takes FIELD=VALUE, not {change!r}")
        fields[field] = value
    return [Build(names[0], spec_with(names[0], fields))]
