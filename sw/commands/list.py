"""`vitrtl list`: the catalogue."""

import argparse

from rich.console import Console
from rich.table import Table

from vitrtl.sw.catalog import UNITS

HELP = "List the units: operator, method, source, formats and spec of the default build."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--names", action="store_true", help="names only, one a line")


def run(args: argparse.Namespace) -> int:
    """Print the catalogue."""
    if args.names:
        print("\n".join(UNITS))
        return 0
    table = Table("unit", "operator", "method", "source", "in", "out", "spec")
    for unit in UNITS.values():
        spec = unit.golden.spec()
        table.add_row(unit.name, unit.operator, unit.method, unit.source, str(spec.in_format),
                      str(spec.out_format), spec.digest)
    Console().print(table)
    return 0
