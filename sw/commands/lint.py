"""`vitrtl lint`: Verilator's strictest reading of the Verilog."""

import argparse
from pathlib import Path

HELP = "Lint the Verilog of every unit for every device, or given files, with Verilator -Wall."
EPILOG = """A few warnings about how Yosys writes Verilog are let pass; --waivers prints which and
why. Exit status 1 if anything else is found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.v",
                        help="named after its module; without files, all units are generated")
    parser.add_argument("--waivers", action="store_true", help="print what is let pass, and why")


def run(args: argparse.Namespace) -> int:
    """Lint and print what is found."""
    from vitrtl.hw.device import DEVICES
    from vitrtl.hw.verilog import generate
    from vitrtl.sim.lint import WAIVERS, lint
    from vitrtl.sw.catalog import UNITS
    from vitrtl.sw.files import existing

    if args.waivers:
        for waiver in WAIVERS:
            pattern = f" where {waiver.pattern}" if waiver.pattern else ""
            print(f"{waiver.rule}{pattern}: {waiver.reason}")
        return 0
    texts = [(str(path), path.stem, existing(path).read_text()) for path in args.files]
    if not texts:
        texts = [(f"{name} ({device})", name, generate(name, entry.golden.spec(), device))
                 for name, entry in UNITS.items() for device in DEVICES]
    found = 0
    for where, module, text in texts:
        for warning in lint(text, module):
            print(f"{where}: {warning}")
            found += 1
    print(f"{len(texts)} Verilog files, {found} warnings")
    return 1 if found else 0
