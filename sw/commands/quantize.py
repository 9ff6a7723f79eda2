"""`vitrtl quantize`: a float network to an integer network."""

import argparse
from pathlib import Path

from vitrtl.sw.catalog import OPERATORS, methods_of
from vitrtl.sw.scheme_arguments import add_scheme_arguments, scheme_of

HELP = "Calibrate a float network and write the integer network."
EPILOG = """MODEL is digits_vit, whose weights are shipped, or a ViT or DeiT that timm knows."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", nargs="?", default="digits_vit", metavar="MODEL",
                        help="float network (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("build/network"), metavar="FOLDER",
                        help="where the integer network goes (default: %(default)s)")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="float weights, safetensors")
    parser.add_argument("--pretrained", action="store_true",
                        help="let timm download the float weights")
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
    from vitrtl.sw.data import load
    from vitrtl.sw.errors import UserError
    from vitrtl.sw.ptq.calibration import calibration_work
    from vitrtl.sw.ptq.models import build
    from vitrtl.sw.ptq.quantize import quantize
    from vitrtl.sw.ptq.shipped import images_of

    scheme = scheme_of(args)
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, but {args.out} is a file")
    operators = {operator: assignment.candidate_name(operator, getattr(args, operator))
                 for operator in OPERATORS if getattr(args, operator) is not None}
    chosen = assignment.load(args.assignment) if args.assignment else None
    if chosen is not None and chosen.network != args.model:
        raise UserError(f"{args.assignment} must be for {args.model}, not {chosen.network}")
    console = Console()
    model = build(args.model, args.checkpoint, args.pretrained)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("calibrating", total=calibration_work(scheme, args.images))
        result = quantize(model, load(images_of(args.model)), count=args.images, seed=args.seed,
                          scheme=scheme, operators=operators,
                          layers=chosen.layers if chosen else {},
                          progress=lambda images: progress.advance(task, images))
    network.save(result, args.out)
    units = ", ".join(sorted(set(result.methods.values())))
    integers = sum(array.size for array in result.tensors.values())
    console.print(f"{args.out}: {result.name}, {len(result.nodes)} nodes, {integers} integers, "
                  f"{units}; digest {result.digest}", highlight=False, soft_wrap=True)
    return 0
