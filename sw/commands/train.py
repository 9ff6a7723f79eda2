"""`vitrtl train`: the weights of the networks that ship."""

import argparse
from pathlib import Path

HELP = "Train a network that ships: seeded, one core; minutes."
EPILOG = """The shipped weights are made by `vitrtl train MODEL --out sw/ptq/weights`. MODEL is
digits_vit (about two minutes) or shapes_vit (about fifteen). Harder variants of a network, such as
digits_vit_hard, take its weights and are not trained by themselves. Images of the training part
that the recipe holds out are there to choose a recipe by; the test part is only ever looked at
for the accuracy in the record."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", default="digits_vit", metavar="MODEL",
                        help="network to train (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/train"), metavar="FOLDER",
                        help="where MODEL.safetensors and .json go (default: %(default)s)")
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
    from vitrtl.sw.ptq.shipped import SHIPPED
    from vitrtl.sw.ptq.train import RECIPES, accuracy, train

    if args.model not in RECIPES:
        raise UserError(f"model to train must be one of {', '.join(RECIPES)}, not {args.model!r}")
    if args.epochs is not None and args.epochs < 1:
        raise UserError(f"epochs must be at least 1, not {args.epochs}")
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    recipe = dataclasses.replace(RECIPES[args.model], seed=args.seed)
    if args.epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=args.epochs)
    # The order of float additions depends on the number of threads: one gives the same weights
    # on machines of any size.
    torch.set_num_threads(1)
    images = load(SHIPPED[args.model].images)
    console = Console()
    with Progress(TextColumn("training"), BarColumn(),
                  TextColumn("{task.completed}/{task.total} epochs, loss {task.fields[loss]:.4f}"),
                  TimeRemainingColumn(), console=console) as progress:
        task = progress.add_task("", total=recipe.epochs, loss=float("nan"))

        def advance(epoch: int, loss: float) -> None:
            progress.update(task, completed=epoch + 1, loss=loss)
            if not console.is_terminal:
                print(f"epoch {epoch + 1} of {recipe.epochs}: loss {loss:.4f}", flush=True)

        model = train(images, args.model, recipe, advance)
    reached = accuracy(model, images, images.test)
    record = {
        "command": command_line(), "recipe": dataclasses.asdict(recipe),
        "data": images.name, "data_digest": images.digest, "weights_digest": model.digest,
        "train_images": len(images.train) - recipe.held_out, "test_images": len(images.test),
        "test_accuracy": round(reached, 6), "versions": versions("torch", "timm", "scikit-learn"),
    }
    if recipe.held_out:
        held_out = images.train[-recipe.held_out:]
        record["held_out_accuracy"] = round(accuracy(model, images, held_out), 6)
    state = {name: value.contiguous().half() if recipe.half else value.contiguous()
             for name, value in model.module.state_dict().items()}
    write_if_changed(args.out / f"{args.model}.safetensors", save(state))
    write_if_changed(args.out / f"{args.model}.json", json_text(record))
    console.print(f"{100 * reached:.2f} % of {len(images.test)} test images; weights in {args.out}",
                  highlight=False)
    return 0
