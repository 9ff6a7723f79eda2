"""`vitrtl package`: a unit as an IP core."""

import argparse
from pathlib import Path

HELP = "Write a unit as an IP core with AXI ports, ready for FuseSoC and Vivado."
EPILOG = """FOLDER/MODULE gets the Verilog, a FuseSoC .core file, package_ip.tcl for Vivado, an
instantiation template, and a page with ports, registers and timing. Rows go in and out over
AXI4-Stream, constants over AXI4-Lite. Without units, every unit of the catalogue with its default
spec is packaged. Equal files stay untouched. With --simulate each core is then played in Verilator
by the AXI drivers of cocotbext-axi (`pip install cocotbext-axi`), with and without pauses; exit
status 1 if one breaks a promise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--spec", nargs="+", metavar="FIELD=VALUE", default=[],
                        help="changes to the default spec of one unit")
    parser.add_argument("--device", choices=("generic", "ecp5"), default="generic",
                        help="whose blocks are instanced (default: %(default)s, inferred)")
    parser.add_argument("--out", type=Path, default=Path("build/ip"), metavar="FOLDER",
                        help="where the cores go (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="also simulate every core")
    parser.add_argument("--build", type=Path, default=Path("build/ip-sim"), metavar="FOLDER",
                        help="where a simulation works (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the packages and say which files."""
    from vitrtl.hw.ip_core import generate_core
    from vitrtl.sw.catalog import UNITS
    from vitrtl.sw.commands.cost import selected_builds
    from vitrtl.sw.files import write_if_changed
    from vitrtl.sw.packaging.files import package_files

    if args.spec:
        builds = selected_builds(args.units, args.spec, None, False)
    else:
        builds = [build for build in selected_builds(args.units or list(UNITS), [], None, False)
                  if not build.changes]
    # All texts before the first file, so that a refused spec leaves the folder as it was.
    cores = [generate_core(build.unit, build.spec, args.device) for build in builds]
    for core in cores:
        for name, text in package_files(core).items():
            path = args.out / core.module / name
            print(f"{'wrote' if write_if_changed(path, text) else 'unchanged'} {path}")
    return _simulate(cores, args.build) if args.simulate else 0


def _simulate(cores: list, build: Path) -> int:
    """Simulate the cores one after another; print what each did."""
    import importlib

    from vitrtl.sim.axi import simulate_core
    from vitrtl.sim.build import BuildError
    from vitrtl.sw.errors import UserError

    try:
        importlib.import_module("cocotbext.axi")
    except ImportError:
        raise UserError("--simulate needs the package cocotbext-axi: pip install cocotbext-axi"
                        ) from None
    failed = 0
    for core in cores:
        try:
            failures = simulate_core(core, build)
        except BuildError as error:
            failures = [str(error)]
        print(f"{core.module}: {'FAILED' if failures else 'passed'}", flush=True)
        for line in failures:
            print(f"  {line}")
        failed += bool(failures)
    print(f"{len(cores)} cores, {failed} failed")
    return 1 if failed else 0
