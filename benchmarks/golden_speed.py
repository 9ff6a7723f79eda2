"""Images per second of the golden network beside the float one, on the same cores in one run.

    .venv/bin/python benchmarks/golden_speed.py
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from vitrtl.sw.data import load
from vitrtl.sw.executor import Executor
from vitrtl.sw.ptq.models import build
from vitrtl.sw.ptq.quantize import quantize


def main() -> None:
    """Time both networks in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="of each (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32,
                        help="images that the float network takes at once (default: %(default)s)")
    args = parser.parse_args()

    digits, model = load("digits"), build("digits_vit")
    pixels = digits.pixels[digits.test]
    network = quantize(model, digits)
    cores = len(os.sched_getaffinity(0))
    plain, fast = Executor(network, plain=True, threads=cores), Executor(network, threads=cores)
    batches = torch.from_numpy(pixels).split(args.batch)

    def run_batch(batch: torch.Tensor) -> None:
        with torch.inference_mode():
            model.module(model.normalize(batch))

    def run_float() -> None:
        """Use the cores within each batch, as torch does by itself."""
        torch.set_num_threads(cores)
        for batch in batches:
            run_batch(batch)

    def run_float_side_by_side() -> None:
        """Use the cores for a batch each, as the golden network does."""
        torch.set_num_threads(1)
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(run_batch, batches))

    few = pixels[:64]
    tasks: dict[str, tuple[int, Callable[[], object]]] = {
        "float, torch": (len(pixels), run_float),
        "float, torch, batches side by side": (len(pixels), run_float_side_by_side),
        "golden": (len(pixels), lambda: fast.run(pixels)),
        "golden, every width checked": (len(few), lambda: plain.run(few)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    with Progress(transient=True) as progress:
        # In turns, so that whatever else the machine does falls on all of them.
        for _ in progress.track(range(args.rounds), description="timing"):
            for name, (count, run) in tasks.items():
                start = time.perf_counter()
                run()
                seconds[name].append((time.perf_counter() - start) / count)

    medians = {name: statistics.median(times) for name, times in seconds.items()}
    reference = min(median for name, median in medians.items() if name.startswith("float"))
    table = Table("network", "images/s", "beside the faster float",
                  title=f"{network.name}, {cores} cores")
    for name, median in medians.items():
        table.add_row(name, f"{1 / median:.0f}", f"{reference / median:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
