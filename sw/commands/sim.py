"""`vitrtl sim`: the gates against the golden model, bit for bit."""

import argparse
import os
import sys
from pathlib import Path

HELP = "Simulate the units' Verilog on the test vectors and compare every bit."
EPILOG = """Each unit runs as plain Verilog (generic) and with the multiplier block of the ECP5
(ecp5), under pauses at the source, the sink, both and neither. Results are kept by content: what
has not changed since it passed is not run again. Exit status 1 if anything differs."""

FILE_WIDTH = 132
"""Columns of the table where it does not go to a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--device", action="append", choices=("generic", "ecp5"),
                        help="only on this device; can be repeated")
    parser.add_argument("--vectors", type=Path, default=Path("build/vectors"), metavar="FOLDER",
                        help="made by `vitrtl vectors` (default: %(default)s)")
    parser.add_argument("--network", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="network that the vectors must be of (default: %(default)s)")
    parser.add_argument("--build", type=Path, default=Path("build/sim"), metavar="FOLDER",
                        help="where everything goes (default: %(default)s)")
    parser.add_argument("--waves", action="store_true",
                        help="a short run of one unit that leaves a waveform")
    parser.add_argument("--jobs", type=int, default=None, metavar="N",
                        help="units at once (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="of the pauses (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Run what has to be run, print the table, write summary and JUnit."""
    import time

    from rich.console import Console

    from vitrtl.sim.plan import plan
    from vitrtl.sim.show import JobProgress, print_outcome, summary_table
    from vitrtl.sim.suite import JOBS_AT_ONCE, run_suite, write_summary
    from vitrtl.sw.errors import UserError

    jobs_at_once = JOBS_AT_ONCE if args.jobs is None else args.jobs
    if jobs_at_once < 1:
        raise UserError(f"jobs must be at least 1, not {jobs_at_once}")
    if args.waves and len(args.units) != 1:
        raise UserError(f"a waveform is of one unit, not of {len(args.units) or 'all'}")
    devices = tuple(dict.fromkeys(args.device or ("generic", "ecp5")))
    if args.waves:
        devices = devices[:1]
    jobs = plan(args.vectors, args.build, args.network, args.units, devices, args.seed, args.waves)

    begin = time.monotonic()
    console = Console(width=None if sys.stdout.isatty() else FILE_WIDTH)
    with JobProgress(len(jobs)) as progress:
        results = run_suite(jobs, progress, jobs_at_once)
    failed = [result for result in results if not result.passed]
    if args.waves:
        for result in results:
            path = Path(os.path.relpath(result.job.waveform))
            if path.is_file():
                console.print(f"waveform: {path} ({path.stat().st_size / 1e6:.1f} MB); open it "
                              f"with `surfer {path}` or `gtkwave {path}`", soft_wrap=True)
    else:
        write_summary(results, args.build)
        console.print(summary_table(results))
        for shape, share in utilizations(results):
            what = "the network's products" if shape == "network" else shape
            console.print(f"matmul utilization, all of {what}: {100 * share:.2f} %")
    print_outcome(console, results, time.monotonic() - begin)
    return 1 if failed else 0


def utilizations(results: list) -> list[tuple[str, float]]:
    """Return what was multiplied, and the utilization, once each."""
    found = {}
    for result in results:
        for name, share in ((result.record or {}).get("utilization") or {}).items():
            found[name] = share
    return sorted(found.items())
