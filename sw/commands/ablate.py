"""`vitrtl ablate`: what each technique of post-training quantization gains."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vitrtl.sw.model_arguments import (
    DATA_HELP,
    MODEL_HELP,
    add_model_arguments,
    images_of_arguments,
    model_of_arguments,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from vitrtl.sw.ptq.ablation import Ablation

HELP = "Show what each quantization technique gains, precision by precision; write the table."
EPILOG = f"""For each precision a network without techniques, with each of them by itself, with the
default ones, and with those less or plus one. All are calibrated on the same training images and
run on the same test images, in integers. FOLDER gets ablation.json and ablation.csv.

{MODEL_HELP}

{DATA_HELP}

  vitrtl ablate                                 the default network, W8A8, W6A6 and W4A8
  vitrtl ablate digits_vit_hard --precision w4a8
  vitrtl ablate shapes_vit_hard --precision w6a6 --variants none,default"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model_arguments(parser)
    parser.add_argument("--precision", default="w8a8,w6a6,w4a8", metavar="wNaM[,wNaM...]",
                        help="bits of weights and activations (default: %(default)s)")
    parser.add_argument("--edges", default="w8a8", metavar="wNaM",
                        help="the same for patch embedding and classifier head "
                             "(default: %(default)s)")
    parser.add_argument("--variants", metavar="NAME[,NAME...]",
                        help="only these sets of techniques, by their names in the table, such as "
                             "none,default (default: all)")
    parser.add_argument("--observer", default="percentile", metavar="RULE",
                        help="range of an activation that is not searched: minmax, percentile or "
                             "mse (default: %(default)s)")
    parser.add_argument("--images", type=int, default=128, metavar="N",
                        help="calibration images, from the training part (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the choice of calibration images (default: %(default)s)")
    parser.add_argument("--test", type=int, metavar="N",
                        help="test images, evenly from all (default: all)")
    parser.add_argument("--out", type=Path, default=Path("build/ptq"), metavar="FOLDER",
                        help="where the table goes (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Make the networks one after the other, run each, write and print what was found."""
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.precision import parse_precision

    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    precisions = [parse_precision(name) for name in args.precision.split(",")]
    edges = parse_precision(args.edges)

    from rich.console import Console
    from rich.progress import Progress

    from vitrtl.sw.provenance import command_line, versions
    from vitrtl.sw.ptq.ablation import Ablation, chosen, variants, write
    from vitrtl.sw.ptq.calibration import calibration_work
    from vitrtl.sw.ptq.comparison import Reference
    from vitrtl.sw.ptq.origin import Origin
    from vitrtl.sw.ptq.quantize import resolve_methods

    todo = variants(precisions, edges, args.observer)
    if args.variants is not None:
        todo = chosen(todo, args.variants.split(","))
    model = model_of_arguments(args)
    images = images_of_arguments(args, model)
    ids = images.calibration(args.images, args.seed)
    test = images.chosen_test(args.test)
    console = Console(width=None if sys.stdout.isatty() else 120)
    with Progress(console=console, transient=True) as progress:
        def bar(what: str, total: int) -> "Callable[[int], None]":
            task = progress.add_task(what, total=total)
            return lambda done: progress.advance(task, done)

        reference = Reference.of(model, images.some(test), images.labels[test],
                                 bar("float network", len(test)))
        calibrated = bar("calibration", sum(calibration_work(one.scheme, len(ids))
                                            for one in todo))
        tested = bar("integer networks", len(test) * len(todo))
        found = []
        for one in todo:
            origin = Origin.calibrated(model, images, ids, args.seed, one.scheme, calibrated)
            network = origin.network(resolve_methods(origin.model, {}, {}))
            found.append(Ablation(one, network.digest, reference.accuracy_of(network, tested)))
    written = write(args.out, {
        "command": command_line(), "model": model.name, "weights": model.weights,
        "weights_digest": model.digest, "data": images.name, "data_digest": images.digest,
        "seed": args.seed, "calibration_images": ids.tolist(), "test_images": len(test),
        "float_accuracy": reference.accuracy,
        "versions": versions("numpy", "torch", "timm")}, found)
    console.print(_table(found, f"{model.name}: float accuracy {reference.accuracy:.2%} of "
                                f"{len(test)} test images"))
    for path in written:
        console.print(f"wrote {path}", soft_wrap=True, highlight=False)
    return 0


def _table(ablations: "list[Ablation]", title: str) -> "Table":
    """Return a row per variant, a section per precision."""
    from rich.table import Table

    table = Table("precision", "techniques", "accuracy", "as float", "logit error", title=title)
    for column in table.columns[2:]:
        column.justify = "right"
    for i, one in enumerate(ablations):
        precision = one.variant.scheme.precision
        last = i + 1 == len(ablations) or (
            ablations[i + 1].variant.scheme.precision is not precision)
        found = one.found
        table.add_row(precision.name.upper(), one.variant.name, f"{found.accuracy:.2%}",
                      f"{found.agreement:.2%}", f"{found.logit_error:.2%}", end_section=last,
                      style="bold" if one.variant.name == "default" else None)
    return table
