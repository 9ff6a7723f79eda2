"""Images per second of integer networks beside the float ones, on the same cores in one run.

    .venv/bin/python benchmarks/golden_speed.py

Rates are of the fastest of several rounds in turns, as what else the machine does can only slow a
round down. Processor time tells the same on a machine that is never idle. DeiT has random weights,
for speed does not depend on them.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import timm
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vitrtl.sw.executor import Executor
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.calibration import calibrate
from vitrtl.sw.ptq.models import FloatModel, build
from vitrtl.sw.ptq.quantize import export, resolve_methods
from vitrtl.sw.ptq.scheme import Scheme

IMAGES = {"digits_vit": (720, 64), "deit_tiny_patch16_224": (32, 2)}
"""Images of a round, and of a round with every width checked, by model."""
CALIBRATION_IMAGES = 8


class Stopwatch:
    """Wall and processor time per image of several tasks, taken in turns.

    Parameters
    ----------
    tasks : by name, what to run and how many images that is.
    rounds : of each.
    """

    def __init__(self, tasks: dict[str, tuple[Callable[[], object], int]], rounds: int) -> None:
        self.wall = dict.fromkeys(tasks, float("inf"))
        self.processor = dict.fromkeys(tasks, float("inf"))
        with Progress(transient=True) as progress:
            for number in progress.track(range(rounds + 1), description="timing"):
                for name, (run, images) in tasks.items():
                    wall, processor = time.perf_counter(), time.process_time()
                    run()
                    # The first round compiles loops and fills caches.
                    if number:
                        self.wall[name] = min(self.wall[name],
                                              (time.perf_counter() - wall) / images)
                        self.processor[name] = min(self.processor[name],
                                                   (time.process_time() - processor) / images)


def main() -> None:
    """Time each model's networks and print what came out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default=list(IMAGES), nargs="+", choices=list(IMAGES),
                        help="which to time (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=16,
                        help="images that a float network takes at once (default: %(default)s)")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    table = Table("network", "", "images/s", "of float", "processor ms", "of float",
                  title=f"{cores} cores, batches of {args.batch}")
    for name in args.models:
        model = float_model(name)
        count, few = IMAGES[name]
        pixels = np.random.default_rng(0).integers(0, 256, (count, *model.input_shape), np.uint8)
        tasks = tasks_of(model, integer_network(model, pixels), pixels, few, args.batch, cores)
        times = Stopwatch(tasks, args.rounds)
        floats = [task for task in tasks if task.startswith("float")]
        wall = min(times.wall[task] for task in floats)
        processor = min(times.processor[task] for task in floats)
        for task in tasks:
            table.add_row(name, task, f"{1 / times.wall[task]:.1f}",
                          f"{wall / times.wall[task]:.3f}",
                          f"{1000 * times.processor[task]:.2f}",
                          f"{processor / times.processor[task]:.3f}")
        table.add_section()
    Console().print(table)


def float_model(name: str) -> FloatModel:
    """Return the float network; one of timm gets random weights."""
    if not timm.is_model(name):
        return build(name)
    torch.manual_seed(0)
    module = timm.create_model(name).eval()
    config = timm.data.resolve_model_data_config(module)
    return FloatModel(name=name, module=module, mean=tuple(config["mean"]),
                      std=tuple(config["std"]), weights="random")


def integer_network(model: FloatModel, pixels: np.ndarray) -> IntegerNetwork:
    """Calibrate on a few images and export, every layer with its default method."""
    calibration = calibrate(model, pixels[:CALIBRATION_IMAGES], Scheme.plain())
    return export(calibration, resolve_methods(model, {}, {}))


def tasks_of(model: FloatModel, network: IntegerNetwork, pixels: np.ndarray, few: int, batch: int,
             cores: int) -> dict[str, tuple[Callable[[], object], int]]:
    """Return what to time, and how many images each is."""
    batches = torch.from_numpy(pixels).split(batch)

    def run_batch(images: torch.Tensor) -> None:
        with torch.inference_mode():
            model.module(model.normalize(images))

    def run_float() -> None:
        """Use the cores within each batch, as torch does by itself."""
        torch.set_num_threads(cores)
        for images in batches:
            run_batch(images)

    def run_float_side_by_side() -> None:
        """Use the cores for a batch each, as the integer network does."""
        torch.set_num_threads(1)
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(run_batch, batches))

    plain, fast = Executor(network, plain=True, threads=cores), Executor(network, threads=cores)
    if not np.array_equal(plain.run(pixels[:few]), fast.run(pixels[:few])):
        raise SystemExit(f"the integer networks of {model.name} give unequal logits")
    return {
        "float": (run_float, len(pixels)),
        "float, batch beside batch": (run_float_side_by_side, len(pixels)),
        "integers": (lambda: fast.run(pixels), len(pixels)),
        "integers, widths checked": (lambda: plain.run(pixels[:few]), few),
    }


if __name__ == "__main__":
    main()
