"""`vitrtl docs`: the tables inside the documents."""

import argparse
from pathlib import Path

HELP = "Write the tables and figures in README.md and docs/ from specs and measurements."
EPILOG = """Numbers, ports, timing and resources come from the code and the shipped cost table,
errors from the shipped error table; the tables of `make sim` come from build/ where it has run. A
figure is drawn again when what it shows has changed."""

TAKEN = {"figures/accelerator.svg": "accel/timeline.svg"}
"""Figures that a command leaves in build/ where it has run."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--check", action="store_true",
                        help="change nothing; exit status 1 if a table or figure is out of date")
    parser.add_argument("--build", type=Path, default=Path("build"), metavar="FOLDER",
                        help="what `make sim` left (default: %(default)s)")
    parser.add_argument("--root", type=Path, default=Path("."), metavar="FOLDER",
                        help="where README.md and docs/ are (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Refresh or check every document."""
    from vitrtl.sw import figures
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
    for name, operator in figures.FIGURES.items():
        path, shown = args.root / "docs" / name, figures.picture(operator)
        if figures.is_current(path, shown):
            continue
        if args.check:
            stale.append(path)
        elif figures.write(path, shown):
            print(f"wrote {path}")
    for name, source in TAKEN.items():
        path, drawn = args.root / "docs" / name, args.build / source
        if not drawn.is_file() or path.read_text() == drawn.read_text():
            continue
        if args.check:
            stale.append(path)
        elif write_if_changed(path, drawn.read_text()):
            print(f"wrote {path}")
    for path in stale:
        print(f"{path} is out of date; `vitrtl docs` writes it")
    return 1 if stale else 0
