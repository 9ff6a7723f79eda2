"""Options that name a float network and its images, for every command that takes one."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vitrtl.sw.errors import UserError

if TYPE_CHECKING:
    from vitrtl.sw.data import ImageSet
    from vitrtl.sw.ptq.models import FloatModel

__all__ = ["DATA_HELP", "MODEL_HELP", "MODEL_OPTIONS", "add_model_arguments",
           "add_source_arguments", "images_of_arguments", "model_of_arguments"]

MODEL_HELP = """MODEL is a network that ships with its weights (digits_vit, the default) or a ViT,
DeiT or Swin transformer by timm's name, such as deit_tiny_patch16_224,
deit_tiny_distilled_patch16_224 or swin_tiny_patch4_window7_224. Its weights are timm's
(--pretrained), those of a file (--checkpoint, read as tensors: no code in it is run) or random
(--random-weights), which show that all runs and how far integers follow float, no more."""

DATA_HELP = """Images of a network that ships are those that it was trained on. --data FOLDER takes
others: FOLDER/train/CLASS/*.jpg and FOLDER/val/CLASS/*.jpg (or test), or FOLDER/CLASS/*.jpg, of
which every fifth image is a test image; resized and cropped as timm does it for the model.
--data random is noise."""

MODEL_OPTIONS = ("model", "random_weights", "image_size", "classes")
"""Names of the options that an integer network answers by itself; None where not given."""


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that name a float network, its weights and its images."""
    parser.add_argument("model", nargs="?", metavar="MODEL",
                        help="float network (default: digits_vit)")
    add_source_arguments(parser)
    parser.add_argument("--random-weights", type=int, metavar="SEED",
                        help="draw the float weights from a seed, as timm does before training")
    parser.add_argument("--image-size", metavar="N|HxW",
                        help="size of the input, if not timm's")
    parser.add_argument("--classes", type=int, metavar="N",
                        help="classes of the head, if not timm's")


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say where weights and images are."""
    parser.add_argument("--checkpoint", type=Path, metavar="FILE",
                        help="float weights: .safetensors, or a .pth of tensors")
    parser.add_argument("--pretrained", action="store_true",
                        help="let timm download the float weights")
    parser.add_argument("--data", metavar="FOLDER",
                        help="images: a folder with a folder per class, or a set by name")


def model_of_arguments(args: argparse.Namespace) -> "FloatModel":
    """Return the float network that the options name."""
    from vitrtl.sw.ptq.models import build
    from vitrtl.sw.ptq.shipped import DEFAULT

    return build(args.model or DEFAULT, args.checkpoint, args.pretrained,
                 random_weights=args.random_weights, image_size=_size(args.image_size),
                 classes=args.classes)


def images_of_arguments(args: argparse.Namespace, model: "FloatModel") -> "ImageSet":
    """Return the images that the options name, or those that the network comes with."""
    from vitrtl.sw.ptq.images import RANDOM, images_for
    from vitrtl.sw.ptq.shipped import SHIPPED

    default = SHIPPED[model.name].images if model.name in SHIPPED else None
    if default is None and args.random_weights is not None:
        default = RANDOM
    return images_for(args.data or default, model.preprocessing, model.classes)


def _size(text: str | None) -> tuple[int, int] | None:
    """Read `N` or `HxW`."""
    if text is None:
        return None
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) for side in sides):
        raise UserError(f"image size must be pixels, such as 224 or 192x256, not {text!r}")
    return int(sides[0]), int(sides[-1])
