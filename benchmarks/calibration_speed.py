"""Time from a float network to the integer network's files, step by step.

    .venv/bin/python benchmarks/calibration_speed.py

The steps and techniques are those that `vitrtl quantize` takes by default. Networks of timm get
random weights, for speed does not depend on them. Loops are compiled once, in the first run ever,
which takes longer.
"""

import argparse
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vitrtl.sw import network
from vitrtl.sw.ptq.calibration import calibrate, calibration_work
from vitrtl.sw.ptq.images import images_for
from vitrtl.sw.ptq.models import build
from vitrtl.sw.ptq.precision import parse_precision
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.shipped import SHIPPED


class Steps:
    """Wall and processor time of steps, in the order in which they are taken."""

    def __init__(self) -> None:
        self.seconds: dict[str, tuple[float, float]] = {}

    def take(self, name: str, step: Callable[[], Any]) -> Any:
        """Return what a step returns."""
        wall, processor = time.perf_counter(), time.process_time()
        result = step()
        self.seconds[name] = time.perf_counter() - wall, time.process_time() - processor
        return result


def main() -> None:
    """Make one integer network and print what took how long."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="deit_tiny_patch16_224", metavar="MODEL",
                        help="that ships, or of timm (default: %(default)s)")
    parser.add_argument("--images", type=int, default=128, metavar="N",
                        help="calibration images (default: %(default)s)")
    parser.add_argument("--precision", default="w8a8", metavar="wNaM",
                        help="bits of weights and activations (default: %(default)s)")
    args = parser.parse_args()
    scheme = Scheme(precision=parse_precision(args.precision))
    shipped, steps = SHIPPED.get(args.model), Steps()
    model = steps.take("float network", lambda: build(
        args.model, random_weights=None if shipped else 0))
    images = images_for(shipped.images if shipped else "random", model.preprocessing)
    pixels = steps.take("images", lambda: images.pixels[images.calibration(args.images, 0)])
    with Progress(transient=True) as progress:
        task = progress.add_task("calibrating", total=calibration_work(scheme, args.images))
        calibration = steps.take("calibration", lambda: calibrate(
            model, pixels, scheme, lambda images: progress.advance(task, images)))
    integers = steps.take("export", lambda: export(calibration, resolve_methods(model, {}, {})))
    with tempfile.TemporaryDirectory() as folder:
        steps.take("files", lambda: network.save(integers, Path(folder)))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    table = Table("step", "wall, s", "processor, s",
                  title=f"{args.model}, {args.precision.upper()}, {args.images} images, "
                        f"{torch.get_num_threads()} threads of torch on "
                        f"{len(os.sched_getaffinity(0))} cores, {memory:,} MiB")
    for name, seconds in steps.seconds.items():
        table.add_row(name, *(f"{each:.1f}" for each in seconds))
    table.add_section()
    table.add_row("total", *(f"{sum(each):.1f}" for each in zip(*steps.seconds.values(),
                                                                strict=True)))
    Console().print(table)


if __name__ == "__main__":
    main()
