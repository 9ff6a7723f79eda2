"""`vitrtl docs`: the tables inside the documents."""

import argparse
from pathlib import Path

HELP = "Write the tables in README.md and docs/ from specs, components and measurements."
EPILOG = """Numbers, ports, timing and resources come from the code and the shipped cost table; the
tables of `make sim` come from build/ where it has run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--check", action="store_true",
                        help="change nothing; exit status 1 if a table is out of date")
    parser.add_argument("--build", type=Path, default=Path("build"), metavar="FOLDER",
                        help="what `make sim` left (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=Path("."), metavar="FOLDER",
                        help="where README.md and docs/ are (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Refresh or check every document."""
    from vitrtl.sw.docs import Sources, refresh
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import write_if_changed

    files = [args.root / "README.md", *sorted((args.root / "docs").rglob("*.md"))]
    if not files[0].is_file():
        raise UserError(f"there is no README.md in {args.root}")
    stale = []
    for path in files:
        text = path.read_text()
        new = refresh(text, Sources(args.build))
        if new == text:
            continue
        if args.check:
            stale.append(path)
        elif write_if_changed(path, new):
            print(f"wrote {path}")
    for path in stale:
        print(f"{path}: a table is out of date; `vitrtl docs` writes it")
    return 1 if stale else 0
