"""`vitrtl eval`: accuracy and speed of an integer network."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from vitrtl.sw.network import IntegerNetwork

HELP = "Run an integer network on the test images and compare it with the float network."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("network", nargs="?", type=Path, default=Path("build/network"),
                        metavar="NETWORK", help="folder that `vitrtl quantize` wrote "
                                                "(default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="float weights, where the network's were not the shipped ones")
    parser.add_argument("--plain", action="store_true",
                        help="golden functions only, every intermediate width checked")


def run(args: argparse.Namespace) -> int:
    """Run both networks, print a table."""
    import time

    import numpy as np
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from vitrtl.sw.data import load
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.executor import Executor
    from vitrtl.sw.network import load as load_network

    network = load_network(args.network)
    images = load(network.provenance.get("data", "digits"))
    if network.provenance.get("data_digest", images.digest) != images.digest:
        raise UserError(f"{args.network} was calibrated on other images of the name {images.name}")
    pixels, labels = images.pixels[images.test], images.labels[images.test]
    console = Console()
    executor = Executor(network, plain=args.plain)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("integer network", total=len(pixels))
        parts = []
        start = time.perf_counter()
        for part in executor.iterate(pixels):
            parts.append(part)
            progress.advance(task, len(part))
        seconds = time.perf_counter() - start
    predicted = np.concatenate(parts).argmax(axis=-1)

    table = Table("quantity", "value", title=f"{network.name} {network.digest}")
    table.columns[1].justify = "right"
    table.add_row("test images", str(len(pixels)))
    right = predicted == labels
    table.add_row("integer accuracy", _share(right))
    float_logits, why = _float_logits(network, args.checkpoint, pixels)
    if float_logits is None:
        table.add_row("float accuracy", why)
    else:
        float_predicted = float_logits.argmax(axis=-1)
        table.add_row("float accuracy", _share(float_predicted == labels))
        table.add_row("integer minus float",
                      f"{100 * (right.mean() - (float_predicted == labels).mean()):+.2f} %p")
        table.add_row("same class as float", _share(predicted == float_predicted))
    table.add_row("integer images/s", f"{len(pixels) / seconds:.0f}")
    table.add_row("methods", ", ".join(sorted(set(network.methods.values()))))
    console.print(table)
    return 0


def _share(right: "np.ndarray") -> str:
    return f"{100 * right.mean():.2f} %"


def _float_logits(network: "IntegerNetwork", checkpoint: Path | None,
                  pixels: "np.ndarray") -> "tuple[np.ndarray | None, str]":
    """Return the float network's logits, or None and why there are none."""
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.float_graph import FloatGraph
    from vitrtl.sw.ptq.models import build

    if checkpoint is None and network.provenance.get("weights") != "shipped":
        return None, "weights are not the shipped ones: give --checkpoint"
    model = build(network.name, checkpoint)
    if model.digest != network.provenance.get("weights_digest"):
        if checkpoint is None:
            return None, "network is of other weights than the shipped ones"
        raise UserError(f"{checkpoint} must be the weights that the network was made from")
    return FloatGraph(model).run(pixels).numpy(), ""
