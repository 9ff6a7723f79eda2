"""`vitrtl cost import`: rows of the cost table from the reports of the user's own Vivado."""

import argparse
import sys
from pathlib import Path

HELP = "Read utilization and timing reports of Vivado into the cost table."
EPILOG = """Each unit takes two reports, told apart by what they contain: report_utilization and
report_timing_summary of its routed design, 7 series or UltraScale+. Which unit it is, is told by
the name of the design, that of a module of `vitrtl verilog`; the Verilog must be the one that was
synthesized. For example, in Vivado, for each unit:

  read_verilog build/verilog/softmax_exp2.v
  synth_design -top softmax_exp2 -part xc7a100tcsg324-1 -mode out_of_context
  create_clock -name clk -period 5.0 [get_ports clk]
  opt_design; place_design; route_design
  report_utilization -file softmax_exp2_utilization.rpt
  report_timing_summary -file softmax_exp2_timing.rpt

and then

  vitrtl cost import *.rpt --target arty
  vitrtl search --target arty

The rate is that at which the worst path would just be met. Exit status 2, and nothing is written,
if any report cannot be read."""

FILE_WIDTH = 150
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT",
                        help="text reports, two for each unit, in any order")
    parser.add_argument("--target", required=True, metavar="NAME",
                        help="a name of your own for this device, for `vitrtl search --target`")
    parser.add_argument("--verilog", type=Path, default=Path("build/verilog"), metavar="FOLDER",
                        help="the Verilog that was synthesized (default: %(default)s)")
    parser.add_argument("--clock", metavar="NAME",
                        help="whose rate counts, where a report has several")
    parser.add_argument("--build", type=Path, default=Path("build/cost"), metavar="FOLDER",
                        help="whose costs.json the rows are added to (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Read all reports, then write and print the rows."""
    from rich.console import Console

    from vitrtl.sw.cost.imported import check_target_name, find_target, import_rows
    from vitrtl.sw.cost.show import cost_table
    from vitrtl.sw.cost.table import CostTable, load_table
    from vitrtl.sw.errors import UserError

    check_target_name(args.target)
    rows = import_rows(args.reports, args.target, args.verilog, args.clock)
    path = args.build / "costs.json"
    table = load_table(path) if path.is_file() else CostTable()
    for old in table.rows:
        if old.target == args.target and old.part != rows[0].part:
            raise UserError(f"target {args.target} is of {old.part} in {path}, the reports are of "
                            f"{rows[0].part}: give it another name")
    table = table.updated(rows)
    written = table.save(args.build)
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    console.print(cost_table(rows, {args.target: find_target(args.target, table)}))
    for out in written:
        console.print(f"wrote {out}", soft_wrap=True, highlight=False)
    return 0
