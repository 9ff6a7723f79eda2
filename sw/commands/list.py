"""`vitrtl list`: the catalogue."""

import argparse
import sys

from rich.console import Console
from rich.table import Table

from vitrtl.sw.catalog import ALL, UNITS

HELP = "List the units: operator, method, source, formats and spec of the default build."

FILE_WIDTH = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--names", action="store_true", help="names only, one a line")


def run(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    if args.names:
        print("\n".join(UNITS))
        return 0
    table = Table("unit", "operator", "method", "source", "in", "out", "spec", "gates")
    for unit in ALL.values():
        spec = unit.golden.spec()
        table.add_row(unit.name, unit.operator, unit.method, unit.source, str(spec.in_format),
                      str(spec.out_format), spec.digest, "yes" if unit.name in UNITS else "no")
    Console(width=None if sys.stdout.isatty() else FILE_WIDTH).print(table)
    return 0
