"""`vitrtl list`: the catalogue."""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from vitrtl.sw.candidate import Candidate
from vitrtl.sw.catalog import ALL, UNITS

HELP = "List the units and their variants: operator, method, source, formats, spec."
EPILOG = """A method is chosen by its name here, for a layer in an assignment file or for all layers
of its operator: softmax_exp2, or softmax_exp2:s8 for a variant, whose build says what is other."""

FILE_WIDTH = 160


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--names", action="store_true",
                        help="only the names of units with gates, one a line")


def run(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    if args.names:
        print("\n".join(UNITS))
        return 0
    table = Table("name", "operator", "method", "source", "build", "in", "out", "spec", "gates")
    for unit in ALL.values():
        for build in ("", *unit.golden.variants):
            entry = Candidate(unit, build)
            table.add_row(entry.name, unit.operator, entry.method, unit.source, build,
                          str(entry.spec.in_format), str(entry.spec.out_format),
                          entry.spec.digest, "yes" if unit.name in UNITS else "no")
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
    return 0
