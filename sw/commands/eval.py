"""`vitrtl eval`: accuracy and speed of an integer network."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from vitrtl.sw.model_arguments import add_source_arguments

if TYPE_CHECKING:
    import numpy as np

    from vitrtl.sw.network import IntegerNetwork
    from vitrtl.sw.ptq.float_graph import FloatGraph

HELP = "Run an integer network on test images and compare it with the float network."
EPILOG = """Weights that ship or come from a seed, and images by name, are found again by
themselves; others must be given as they were to `vitrtl quantize`. Without float weights there is
no comparison. Of random images the accuracy means nothing and is left out."""

PIECE = 64
"""Images that are decoded at a time."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("network", nargs="?", type=Path, default=Path("build/network"),
                        metavar="NETWORK", help="folder that `vitrtl quantize` wrote "
                                                "(default: %(default)s)")
    add_source_arguments(parser)
    parser.add_argument("--images", type=int, metavar="N",
                        help="test images that are run, evenly from all (default: all)")
    parser.add_argument("--plain", action="store_true",
                        help="golden functions only, every intermediate width checked")


def run(args: argparse.Namespace) -> int:
    """Run both networks, print a table."""
    import time

    import numpy as np
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from vitrtl.sw.executor import Executor
    from vitrtl.sw.network import load as load_network
    from vitrtl.sw.ptq.images import RANDOM, images_of

    network = load_network(args.network)
    images = images_of(network, args.data)
    ids = images.chosen_test(args.images)
    count = len(ids)
    graph, why = _float_graph(network, args.checkpoint, args.pretrained)
    console = Console()
    executor = Executor(network, plain=args.plain)
    codes, wanted, seconds = [], [], 0.0
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("integer network" if graph is None else "both networks",
                                 total=count)
        for piece in _pieces(ids):
            pixels = images.pixels[piece]
            start = time.perf_counter()
            for part in executor.iterate(pixels):
                codes.append(part)
                progress.advance(task, len(part))
            seconds += time.perf_counter() - start
            if graph is not None:
                wanted.append(graph.run(pixels).numpy())
    logits = network.values[network.output].real(np.concatenate(codes))
    predicted, labels = logits.argmax(axis=-1), images.labels[ids]

    table = Table("quantity", "value", title=f"{network.name} {network.digest}")
    table.columns[1].justify = "right"
    table.add_row("float weights", str(network.provenance.get("weights", "not known")))
    table.add_row("test images", f"{count} of {images.name}")
    if labelled := images.name != RANDOM:
        table.add_row("integer accuracy", _share(predicted == labels))
    if graph is None:
        table.add_row("float accuracy", why)
    else:
        float_logits = np.concatenate(wanted)
        float_predicted = float_logits.argmax(axis=-1)
        if labelled:
            right = float_predicted == labels
            table.add_row("float accuracy", _share(right))
            table.add_row("integer minus float",
                          f"{100 * ((predicted == labels).mean() - right.mean()):+.2f} %p")
        table.add_row("same class as float", _share(predicted == float_predicted))
        error = np.sqrt(np.mean((logits - float_logits) ** 2)) / float_logits.std()
        table.add_row("logit error / deviation", f"{error:.4f}")
    table.add_row("integer images/s", f"{count / seconds:.3g}")
    table.add_row("methods", ", ".join(sorted(set(network.methods.values()))))
    console.print(table)
    return 0


def _pieces(ids: "np.ndarray") -> "Iterator[np.ndarray]":
    return (ids[i:i + PIECE] for i in range(0, len(ids), PIECE))


def _share(right: "np.ndarray") -> str:
    return f"{100 * right.mean():.2f} %"


def _float_graph(network: "IntegerNetwork", checkpoint: Path | None,
                 pretrained: bool) -> "tuple[FloatGraph | None, str]":
    """Return the float network, or None and why there is none."""
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.float_graph import FloatGraph
    from vitrtl.sw.ptq.origin import float_model_of

    try:
        return FloatGraph(float_model_of(network, checkpoint, pretrained)), ""
    except UserError as error:
        if checkpoint is not None or pretrained:
            raise
        return None, str(error)
