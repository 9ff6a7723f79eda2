"""`vitrtl report`: a search as one HTML page."""

import argparse
from pathlib import Path

HELP = "Write a search as one self-contained HTML page."
EPILOG = """The page has the accuracy of the chosen network and of those it is compared with, the
assignment as coloured strips, the plots, the front where the search made one, the cost of each unit
and what all of it was made from. It needs no network and no other file. Everything comes from the
files that `vitrtl search` left and from the cost table."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("search", nargs="?", type=Path, default=Path("build/search"),
                        metavar="FOLDER", help="that `vitrtl search` wrote (default: %(default)s)")
    parser.add_argument("--costs", type=Path, metavar="FILE",
                        help="cost table (default: the shipped one, overlaid with "
                             "build/cost/costs.json)")
    parser.add_argument("--out", type=Path, default=Path("build/report.html"), metavar="FILE",
                        help="page to write (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    from vitrtl.sw.cost.table import load_table
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed
    from vitrtl.sw.report import report

    if args.out.is_dir():
        raise UserError(f"--out must be a file, but {args.out} is a folder")
    page = report(args.search, load_table(args.costs))
    write_if_changed(args.out, page)
    print(f"wrote {args.out}: {len(page) // 1024} KiB")
    return 0
