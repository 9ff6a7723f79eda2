"""`vitrtl quantize`: a float network to an integer network."""

import argparse
from pathlib import Path

from vitrtl.sw.catalog import OPERATORS, methods_of
from vitrtl.sw.model_arguments import (
    DATA_HELP,
    MODEL_HELP,
    add_model_arguments,
    images_of_arguments,
    model_of_arguments,
)
from vitrtl.sw.scheme_arguments import add_scheme_arguments, scheme_of

HELP = "Calibrate a float network and write the integer network."
EPILOG = f"""{MODEL_HELP}

{DATA_HELP}

  vitrtl quantize
  vitrtl quantize deit_tiny_patch16_224 --pretrained --data imagenet --images 128
  vitrtl quantize swin_tiny_patch4_window7_224 --random-weights 0 --images 16"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_model_arguments(parser)
    parser.add_argument("--out", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="where the integer network goes (default: %(default)s)")
    for operator in OPERATORS:
        methods = ", ".join(u.method for u in methods_of(operator))
        parser.add_argument(f"--{operator}", metavar="METHOD",
                            help=f"method of every {operator}: {methods}")
    parser.add_argument("--assignment", type=Path, metavar="FILE",
                        help="method per layer, before those of the operators")
    parser.add_argument("--images", type=int, default=128, metavar="N",
                        help="calibration images, from the training part (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0,
                        help="of the choice of calibration images (default: %(default)s)")
    add_scheme_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Calibrate, export, write."""
    from rich.console import Console
    from rich.progress import Progress

    from vitrtl.sw import assignment, network
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.calibration import calibration_work
    from vitrtl.sw.ptq.quantize import quantize

    scheme = scheme_of(args)
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    operators = {operator: assignment.candidate_name(operator, getattr(args, operator))
                 for operator in OPERATORS if getattr(args, operator) is not None}
    chosen = assignment.load(args.assignment) if args.assignment else None
    console = Console()
    model = model_of_arguments(args)
    if chosen is not None and chosen.network != model.name:
        raise UserError(f"{args.assignment} must be for {model.name}, not {chosen.network}")
    images = images_of_arguments(args, model)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("calibrating", total=calibration_work(scheme, args.images))
        result = quantize(model, images, count=args.images, seed=args.seed,
                          scheme=scheme, operators=operators,
                          layers=chosen.layers if chosen else {},
                          progress=lambda images: progress.advance(task, images))
    network.save(result, args.out)
    if args.random_weights is not None:
        console.print("random weights: what this network classifies means nothing, how far it "
                      "follows the float network does", highlight=False, soft_wrap=True)
    units = ", ".join(sorted(set(result.methods.values())))
    integers = sum(array.size for array in result.tensors.values())
    console.print(f"{args.out}: {result.name}, {len(result.nodes)} nodes, {integers} integers, "
                  f"{units}; weights {model.weights}; images {images.name}; "
                  f"digest {result.digest}", highlight=False, soft_wrap=True)
    return 0
