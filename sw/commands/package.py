"""`vitrtl package`: a unit, or an accelerator, as an IP core."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HELP = "Write a unit or an accelerator as an IP core with AXI ports, for FuseSoC and Vivado."
EPILOG = """FOLDER/MODULE gets the Verilog, a FuseSoC .core file, package_ip.tcl for Vivado, an
instantiation template, and a page with ports, registers and timing. Rows go in and out over
AXI4-Stream, constants over AXI4-Lite. Without units, every unit of the catalogue with its default
spec is packaged. With --accelerator it is the accelerator that suits an integer network: memory
over AXI4, registers over AXI4-Lite; its program and a C header come with it. Equal files stay
untouched. With --simulate each core is then played in Verilator by the AXI drivers of cocotbext-axi
(`pip install cocotbext-axi`), with and without pauses, an accelerator on an image of the network's
test set; exit status 1 if one breaks a promise."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--spec", nargs="+", metavar="FIELD=VALUE", default=[],
                        help="changes to the default spec of one unit")
    parser.add_argument("--accelerator", type=Path, metavar="FOLDER",
                        help="package the accelerator of an integer network instead, such as "
                             "build/network")
    parser.add_argument("--size", type=int, metavar="N",
                        help="with --accelerator: rows and columns of its array (default: 8)")
    parser.add_argument("--device", choices=("generic", "ecp5"), default="generic",
                        help="whose blocks are instanced (default: %(default)s, inferred)")
    parser.add_argument("--out", type=Path, default=Path("build/ip"), metavar="FOLDER",
                        help="where the cores go (default: %(default)s)")
    parser.add_argument("--simulate", action="store_true", help="also simulate every core")
    parser.add_argument("--build", type=Path, default=Path("build/ip-sim"), metavar="FOLDER",
                        help="where a simulation works (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Write the packages and say which files."""
    from vitrtl.sw.errors import UserError

    if args.accelerator is None:
        if args.size is not None:
            raise UserError("--size is for --accelerator")
        cores = unit_cores(args)
        _write(cores, args.out)
        return _simulate(cores, args.build) if args.simulate else 0
    if args.units or args.spec:
        raise UserError("--accelerator names its units by itself")
    network, core = accelerator_core(args)
    _write([core], args.out)
    return _simulate_accelerator(core, network, args.build) if args.simulate else 0


def unit_cores(args: argparse.Namespace) -> list:
    """Return the cores of the units that are asked for."""
    from vitrtl.hw.ip_core import generate_core
    from vitrtl.sw.catalog import UNITS
    from vitrtl.sw.commands.cost import selected_builds

    if args.spec:
        builds = selected_builds(args.units, args.spec, None, False)
    else:
        builds = [build for build in selected_builds(args.units or list(UNITS), [], None, False)
                  if not build.changes]
    # All texts before the first file, so that a refused spec leaves the folder as it was.
    return [generate_core(build.unit, build.spec, args.device) for build in builds]


def accelerator_core(args: argparse.Namespace) -> tuple:
    """Return a network and the core of its accelerator."""
    from vitrtl.hw.ip_core import generate_accelerator_core
    from vitrtl.sw.accelerator.compiler import compile_network
    from vitrtl.sw.accelerator.sizing import size_accelerator
    from vitrtl.sw.network import load

    network = load(args.accelerator)
    given = {} if args.size is None else {"size": args.size}
    program = compile_network(network, size_accelerator(network, **given))
    return network, generate_accelerator_core(program, args.device)


def _write(cores: list, out: Path) -> None:
    """Write the files of each core, and say which were not there yet."""
    from vitrtl.sw.files import write_if_changed
    from vitrtl.sw.packaging.files import package_files

    for core in cores:
        for name, content in package_files(core).items():
            path = out / core.module / name
            print(f"{'wrote' if write_if_changed(path, content) else 'unchanged'} {path}")


def _simulate(cores: list, build: Path) -> int:
    """Simulate the cores one after another; print what each did."""
    _require_drivers()
    from vitrtl.sim.axi import simulate_core

    failed = sum(_failed(core, lambda core=core: simulate_core(core, build)) for core in cores)
    print(f"{len(cores)} cores, {failed} failed")
    return 1 if failed else 0


def _simulate_accelerator(core, network, build: Path) -> int:
    """Simulate an accelerator on a test image of its network; print what it did."""
    _require_drivers()
    from vitrtl.sim.accelerator_axi import simulate_accelerator_core
    from vitrtl.sw.ptq.images import images_of

    images = images_of(network)
    pixels = images.pixels[images.chosen_test(1)]
    print(f"an image takes {core.program.predicted_cycles:,} cycles, and is run four times",
          flush=True)
    return _failed(core, lambda: simulate_accelerator_core(core, network, pixels, build))


def _failed(core, simulate: "Callable[[], list[str]]") -> int:
    """Simulate a core, print what it did; return 1 if it failed."""
    from vitrtl.sim.build import BuildError

    try:
        failures = simulate()
    except BuildError as error:
        failures = [str(error)]
    print(f"{core.module}: {'FAILED' if failures else 'passed'}", flush=True)
    for line in failures:
        print(f"  {line}")
    return int(bool(failures))


def _require_drivers() -> None:
    """Refuse to go on without cocotbext-axi."""
    import importlib

    from vitrtl.sw.errors import UserError

    try:
        importlib.import_module("cocotbext.axi")
    except ImportError:
        raise UserError("--simulate needs the package cocotbext-axi: pip install cocotbext-axi"
                        ) from None
