"""`vitrtl vectors`: what the gates are given, and what they must answer."""

import argparse
from pathlib import Path

HELP = "Make the test vectors of every unit from a network's own activations on test images."
EPILOG = """Beside the network's rows each file holds every input code, corner rows, seeded random
rows and rows for the timing; with --synthetic only those. A file that is up to date is kept."""

LEAST_IMAGES = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("units", nargs="*", metavar="UNIT", help="names; all if none is given")
    parser.add_argument("--network", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="integer network (default: %(default)s)")
    parser.add_argument("--images", type=int, default=LEAST_IMAGES, metavar="N",
                        help="test images that pass the network (default: %(default)s)")
    parser.add_argument("--data", metavar="FOLDER",
                        help="where the images that the network was made from are now")
    parser.add_argument("--synthetic", action="store_true", help="no network: leave its rows out")
    parser.add_argument("--coverage", action="store_true",
                        help="no network: every unit with 2, 4 and 8 lanes, narrow inputs and its "
                             "longest rows")
    parser.add_argument("--out", type=Path, default=Path("build/vectors"), metavar="FOLDER",
                        help="where the files go (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Record activations, write the files and their index."""
    from rich.console import Console
    from rich.progress import track

    from vitrtl.sw.capture import (
        coverage_specs,
        record,
        specs_to_test,
        write_index,
        write_vectors,
    )
    from vitrtl.sw.catalog import unit
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.network import load as load_network
    from vitrtl.sw.ptq.images import images_of

    console = Console(stderr=True)
    names = {unit(name, gates=True).name for name in args.units}
    activations = None
    if not (args.synthetic or args.coverage):
        network = load_network(args.network)
        images = images_of(network, args.data)
        if not 1 <= args.images <= len(images.test):
            raise UserError(f"images must be 1..{len(images.test)} (the test part of "
                            f"{images.name}), not {args.images}")
        chosen = images.test[:args.images]
        with console.status(f"{network.name} on {args.images} images"):
            activations = record(network, images.pixels[chosen])
    pairs = (coverage_specs() if args.coverage
             else specs_to_test(activations.network if activations else None))
    pairs = [(entry, spec) for entry, spec in pairs if not names or entry.name in names]
    paths = []
    for entry, spec in track(pairs, "vectors", console=console, transient=True):
        paths.append(write_vectors(args.out, entry, spec, activations))
    digest = activations.network.digest if activations else None
    write_index(args.out, digest, paths, merge=bool(names))
    size = sum(path.stat().st_size for path in paths) / 1e6
    source = f"network {digest}, {args.images} images" if activations else "no network"
    console.print(f"{len(paths)} vector files in {args.out} ({size:.1f} MB): {source}")
    return 0
