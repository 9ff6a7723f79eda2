"""`vitrtl train`: the default network's weights."""

import argparse
from pathlib import Path

HELP = "Train the default network on the digits: seeded, one core, about two minutes."
EPILOG = """The shipped weights are made by `vitrtl train --out sw/ptq/weights`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--out", type=Path, default=Path("build/train"), metavar="FOLDER",
                        help="where digits_vit.safetensors and .json go (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the run (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=None, help="passes over the images")


def run(args: argparse.Namespace) -> int:
    """Train, test, write."""
    import dataclasses

    import torch
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
    from safetensors.torch import save

    from vitrtl.sw.data import load
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.files import json_text, write_if_changed
    from vitrtl.sw.provenance import command_line, versions
    from vitrtl.sw.ptq.shipped import DEFAULT
    from vitrtl.sw.ptq.train import Recipe, accuracy, train

    if args.epochs is not None and args.epochs < 1:
        raise UserError(f"epochs must be at least 1, not {args.epochs}")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    recipe = Recipe(seed=args.seed)
    if args.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=args.epochs)
    # The order of float additions depends on the number of threads: one gives the same weights
    # on machines of any size.
    torch.set_num_threads(1)
    images = load("digits")
    console = Console()
    with Progress(TextColumn("training"), BarColumn(),
                  TextColumn("{task.completed}/{task.total} epochs, loss {task.fields[loss]:.4f}"),
                  TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=recipe.epochs, loss=float("nan"))
        model = train(images, recipe,
                      lambda epoch, loss: progress.update(task, completed=epoch + 1, loss=loss))
    reached = accuracy(model, images, images.test)
    record = {
        "command": command_line(), "recipe": dataclasses.asdict(recipe),
        "data": images.name, "data_digest": images.digest, "weights_digest": model.digest,
        "train_images": len(images.train), "test_images": len(images.test),
        "test_accuracy": round(reached, 6), "versions": versions("torch", "timm", "scikit-learn"),
    }
    state = {name: value.contiguous() for name, value in model.module.state_dict().items()}
    write_if_changed(args.out / f"{DEFAULT}.safetensors", save(state))
    write_if_changed(args.out / f"{DEFAULT}.json", json_text(record))
    console.print(f"{100 * reached:.2f} % of {len(images.test)} test images; weights in {args.out}",
                  highlight=False)
    return 0
