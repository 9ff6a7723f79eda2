"""`vitrtl verilog`: one self-contained Verilog file a unit."""

import argparse
from collections.abc import Mapping
from pathlib import Path

HELP = "Write the Verilog of units, one self-contained file each, or of a whole accelerator."
EPILOG = """Without units, every unit of the catalogue with its default spec is written. Each file
is named after its module; the comment at its top documents ports and configuration registers.
Equal files stay untouched. With --assignment or --network the folder is left with exactly those
units: other files that an earlier run has written there are removed.

With --accelerator three files are written: accelerator.v, the registers for people (registers.md)
and for C (vitrtl_accelerator.h). The spec is a JSON file of sizes and vector engines, or the
program.json of a compiled network, whose accelerator is then meant."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--device", choices=("generic", "ecp5"), default="generic",
                        help="whose multiplier block is used (default: %(default)s, inferred)")
    parser.add_argument("--assignment", type=Path, metavar="FILE",
                        help="write exactly the units that a network needs with this choice")
    parser.add_argument("--network", type=Path, metavar="FOLDER",
                        help="write exactly the units of this network; with --assignment, the "
                             "network that it is for (then build/network by default)")
    parser.add_argument("--accelerator", type=Path, metavar="SPEC.json",
                        help="write a whole accelerator instead of units")
    parser.add_argument("--out", type=Path, default=Path("build/verilog"), metavar="FOLDER",
                        help="where the files go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the files and say which."""
    from vitrtl.sw.errors import UserError

    if args.accelerator is None:
        return write_units(args)
    if args.units or args.assignment or args.network:
        raise UserError("--accelerator names its units by itself")
    return write_accelerator(args)


def write_accelerator(args: argparse.Namespace) -> int:
    """Write an accelerator and what its software needs."""
    from vitrtl.hw.accelerator.verilog import MODULE, generate_accelerator
    from vitrtl.sw.accelerator.registers import c_header, markdown
    from vitrtl.sw.accelerator.spec import AcceleratorSpec

    spec = AcceleratorSpec.read(args.accelerator)
    write_all(args.out, {
        f"{MODULE}.v": generate_accelerator(spec, args.device),
        "registers.md": f"# Registers of the accelerator\n\n{markdown()}",
        "vitrtl_accelerator.h": c_header(spec),
    })
    return 0


def write_units(args: argparse.Namespace) -> int:
    """Write units."""
    from vitrtl.hw.verilog import generate, module_name
    from vitrtl.sw.cost.builds import assignment_builds, default_builds, network_builds
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load

    chosen = bool(args.assignment or args.network)
    if chosen and args.units:
        raise UserError("--assignment and --network name the units by themselves")
    if args.assignment:
        network = load(args.network or Path("build/network"))
        builds = assignment_builds(args.assignment, network)
    elif args.network:
        builds = network_builds(load(args.network))
    else:
        builds = default_builds(dict.fromkeys(args.units))

    # All texts before the first file, so that a refused spec leaves the folder as it was.
    texts = {f"{module_name(build.unit, build.spec)}.v":
             generate(build.unit, build.spec, args.device) for build in builds}
    if chosen:
        for path in sorted(args.out.glob("*.v")):
            if path.name not in texts and is_generated(path):
                path.unlink()
                print(f"removed {path}")
    write_all(args.out, texts)
    return 0


def write_all(folder: Path, texts: Mapping[str, str]) -> None:
    """Write files by their names, and say which were not there yet."""
    from vitrtl.sw.files import write_if_changed

    for name, text in texts.items():
        path = folder / name
        print(f"{'wrote' if write_if_changed(path, text) else 'unchanged'} {path}")


def is_generated(path: Path) -> bool:
    """Return whether a file has the comment that this command puts at the top."""
    with path.open(encoding="utf-8", errors="replace") as file:
        head = [file.readline() for _ in range(12)]
    return head[0].startswith(f"// {path.stem}: ") and any(h.startswith("// Spec ") for h in head)
