"""`vitrtl gatesim`: the mapped netlists against the golden model, bit for bit."""

import argparse
import sys
from pathlib import Path

HELP = "Simulate the units' netlists after synthesis for the ECP5 and compare every bit."
EPILOG = """Each unit is synthesized as `vitrtl cost` does it, and the netlist of tables, carry
chains, flip-flops, memories and multipliers is played the vectors of `vitrtl sim`, the first of
each kind, with the same pauses. Netlists are kept by content. Exit status 1 if anything differs."""

FILE_WIDTH = 132
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--values", type=int, default=2000, metavar="N",
                        help="values of each kind of vector at most (default: %(default)s)")
    parser.add_argument("--vectors", type=Path, default=Path("build/vectors"), metavar="FOLDER",
                        help="made by `vitrtl vectors` (default: %(default)s)")
    parser.add_argument("--network", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="network that the vectors must be of (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=Path("build/gatesim"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, metavar="N",
                        help="units at once (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the netlists, simulate them, print the table, write summary and JUnit."""
    import time

    from rich.console import Console

    from vitrtl.sim.gatesim import plan_netlists
    from vitrtl.sim.plan import plan
    from vitrtl.sim.show import JobProgress, print_outcome, summary_table
    from vitrtl.sim.suite import run_suite, write_summary
    from vitrtl.sw.errors import UserError

    for name in ("jobs", "values"):
        if getattr(args, name) < 1:
            raise UserError(f"{name} must be at least 1, not {getattr(args, name)}")
    jobs = plan(args.vectors, args.build, args.network, args.units, ("ecp5",), args.seed)
    begin = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    jobs = plan_netlists(jobs, args.values, args.build / "netlists", args.jobs)
    with JobProgress(len(jobs)) as progress:
        results = run_suite(jobs, progress, args.jobs)
    write_summary(results, args.build)
    console.print(summary_table(results))
    print_outcome(console, results, time.monotonic() - begin)
    return 0 if all(result.passed for result in results) else 1
