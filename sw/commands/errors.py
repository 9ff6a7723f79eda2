"""`vitrtl errors`: what each method differs from float64 by."""

import argparse
import sys
from pathlib import Path

HELP = "Measure the error of softmax, GELU and LayerNorm methods against float64, with plots."
EPILOG = """Every method runs on the same seeded rows, at scales from 0.01 to 0.25 and row lengths
from 17 to 577; a GELU on every code. The table on the terminal shows some scales, the files in
--out hold all of them: errors.csv, errors.json, and as SVG and PNG gelu (error over the input), exp
(error of a probability over the distance from the maximum), softmax and layernorm (error over the
scale). --ship writes the table that the documents are made from."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--operator", choices=("softmax", "gelu", "layernorm"),
                        help="only its methods")
    parser.add_argument("--scale", action="append", metavar="S",
                        help="input scale; can be repeated (default: 29 from 0.01 to 0.25)")
    parser.add_argument("--length", action="append", type=int, metavar="N",
                        help="row length; can be repeated (default: 17, 65, 197, 577)")
    parser.add_argument("--out", type=Path, default=Path("build/errors"), metavar="FOLDER",
                        help="where tables and plots go (default: %(default)s)")
    parser.add_argument("--ship", action="store_true", help="write the table of the package")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write tables and plots."""
    from rich.console import Console
    from rich.progress import track

    from vitrtl.sw.accuracy.show import error_table, refusals
    from vitrtl.sw.accuracy.study import LENGTHS, SCALES, TABLE_SCALES, measure, plan, subjects
    from vitrtl.sw.accuracy.table import SHIPPED, ErrorTable
    from vitrtl.sw.catalog import OPERATORS
    from vitrtl.sw.commands.apply import parse_scale
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed

    if args.ship and (args.units or args.operator or args.scale or args.length):
        raise UserError("the shipped table holds all methods at all scales: --ship goes without "
                        "units, --operator, --scale and --length")
    if any(length < 2 for length in args.length or ()):
        raise UserError(f"length must be at least 2 elements, not {min(args.length)}")
    scales = sorted({parse_scale(text) for text in args.scale or ()})
    chosen = [s for s in subjects(chosen_units(args.units))
              if args.operator in (None, s.unit.operator)]
    if not chosen:
        raise UserError(f"none of {', '.join(args.units)} is a {args.operator}")
    points = plan(chosen, scales or SCALES, args.length or LENGTHS)

    console = Console(width=None if sys.stdout.isatty() else 170)
    table = ErrorTable(tuple(
        measure(point) for point in track(points, "errors", transient=True,
                                          console=Console(stderr=True))))
    written = table.save(args.out) + draw(chosen, table.rows, args.out)
    if args.ship and write_if_changed(SHIPPED, table.shortened().csv()):
        written.append(SHIPPED)
    for operator in OPERATORS:
        if any(row.operator == operator for row in table.rows):
            console.print(error_table(operator, table.rows,
                                      [float(s) for s in scales or TABLE_SCALES]))
    for line in refusals(table.rows):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    return 0


def chosen_units(names: list[str]) -> list:
    """Return the methods of those names."""
    from vitrtl.sw.catalog import OPERATORS, unit
    from vitrtl.sw.errors import UserError

    entries = [unit(name, gates=True) for name in dict.fromkeys(names)]
    for entry in entries:
        if entry.operator not in OPERATORS:
            raise UserError(f"errors are those of {', '.join(OPERATORS)}: {entry.name} is exact")
    return entries


def draw(chosen: list, found: tuple, folder: Path) -> list[Path]:
    """Write the plots of the operators that were measured."""
    from vitrtl.sw.accuracy import plots

    of = {operator: [s for s in chosen if s.unit.operator == operator]
          for operator in ("softmax", "gelu", "layernorm")}
    figures = {}
    if of["gelu"]:
        figures["gelu"] = plots.gelu_curves(of["gelu"])
    if of["softmax"]:
        figures["exp"] = plots.exponential(of["softmax"])
    figures |= {operator: plots.over_scale(operator, found)
                for operator in ("softmax", "layernorm")
                if any(e.operator == operator and not e.refused for e in found)}
    return [path for name, figure in figures.items()
            for path in plots.save(figure, folder / name)]
