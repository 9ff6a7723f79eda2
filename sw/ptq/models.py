"""Float networks by name: timm's vision transformers, with shipped, local or timm's weights."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest
from vitrtl.sw.ptq.architectures.families import check_structure
from vitrtl.sw.ptq.images import Preprocessing
from vitrtl.sw.ptq.shipped import DEFAULT, SHIPPED
from vitrtl.sw.ptq.weight_files import load_weights

__all__ = ["FloatModel", "build"]


@dataclasses.dataclass(frozen=True, eq=False)
class FloatModel:
    """A float network, and how it wants its pixels.

    Parameters
    ----------
    name : one of `SHIPPED`, or a name that timm knows.
    module : the network, in evaluation mode.
    mean, std : per input channel; the network sees `(pixel / 255 - mean) / std`.
    weights : where the weights come from, for the provenance.
    options : what `build` was given beside name and file: seed of random weights, image size,
        classes; JSON values.
    resizing : fields of `Preprocessing` that say how image files become pixels.
    """

    name: str
    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    resizing: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        height, width = self.module.patch_embed.img_size
        return (self.module.patch_embed.proj.in_channels, height, width)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.module.num_classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image file becomes pixels for this network."""
        return Preprocessing(shape=self.input_shape, **self.resizing)

    @property
    def digest(self) -> str:
        """Checksum of all weights."""
        state = self.module.state_dict()
        return digest(*(part for key in sorted(state)
                        for part in (key, state[key].contiguous().numpy().tobytes())))

    def normalize(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn u8 pixels into what the network was trained on.  Shape: (images, C, H, W), kept."""
        mean = torch.tensor(self.mean).reshape(-1, 1, 1)
        std = torch.tensor(self.std).reshape(-1, 1, 1)
        return (pixels.float() / 255 - mean) / std


def build(name: str = DEFAULT, checkpoint: Path | None = None, pretrained: bool = False, *,
          random_weights: int | None = None, image_size: tuple[int, int] | None = None,
          classes: int | None = None) -> FloatModel:
    """Return a network with its weights, ready to be quantized.

    Parameters
    ----------
    name : one of `SHIPPED`, or a ViT, DeiT or Swin of timm.
    checkpoint : file with the weights, see `load_weights`; without it the shipped ones, timm's
        (`pretrained`) or random ones.
    pretrained : let timm download its weights.
    random_weights : seed of weights as timm draws them before training.
    image_size : height and width of the input, if not timm's.
    classes : of the head, if not timm's.

    Raises
    ------
    UserError
        For an unknown name, a structure that the integer network cannot express, weights that
        are missing, do not fit or are not finite.
    """
    _check_source({"--checkpoint FILE": checkpoint is not None, "--pretrained": pretrained,
                   "--random-weights SEED": random_weights is not None})
    options = {key: value for key, value in (
        ("random_weights", random_weights), ("image_size", image_size and list(image_size)),
        ("classes", classes)) if value is not None}
    untrained = checkpoint is None and not pretrained and random_weights is None
    shipped = SHIPPED.get(name)
    with _seeded(random_weights):
        if shipped is not None:
            if pretrained or image_size or classes:
                raise UserError(f"{name} has shipped weights, an image size and classes of its "
                                "own, which it takes without options")
            module = shipped.untrained()
        else:
            if timm.is_model(name) and untrained:
                raise UserError(f"weights of {name} must come from --checkpoint FILE, "
                                "--pretrained or --random-weights SEED")
            module = _of_timm(name, pretrained, image_size, classes)
    check_structure(name, module)
    _check_patches(module)
    if shipped is not None:
        mean, std, resizing = shipped.mean, shipped.std, {}
        checkpoint = shipped.weights if untrained else checkpoint
    else:
        config = timm.data.resolve_model_data_config(module)
        mean, std = tuple(config["mean"]), tuple(config["std"])
        resizing = {part: config[part] for part in ("interpolation", "crop_pct", "crop_mode")}
    if checkpoint is not None:
        load_weights(module, Path(checkpoint))
    for key, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise UserError(f"weights must be finite numbers, but {key} of {name} is not")
    if shipped is not None:
        shipped.harden(module)
    if random_weights is not None:
        weights = f"random, seed {random_weights}"
    elif pretrained:
        weights = f"timm {timm.__version__}"
    else:
        weights = "shipped" if shipped is not None and untrained else Path(checkpoint).name
    return FloatModel(name=name, module=module.eval(), mean=mean, std=std, weights=weights,
                      options=options, resizing=resizing)


def _check_source(sources: Mapping[str, bool]) -> None:
    given = [option for option, there in sources.items() if there]
    if len(given) > 1:
        raise UserError(f"weights must come from {given[0]} or from {given[1]}, not from both")


def _check_patches(module: nn.Module) -> None:
    (height, width), (rows, columns) = module.patch_embed.img_size, module.patch_embed.patch_size
    if height % rows or width % columns:
        raise UserError(f"image size must be whole patches of {rows} x {columns}, not {height} x "
                        f"{width}")


@contextlib.contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Draw random numbers from a seed, and leave torch's own sequence as it was."""
    with torch.random.fork_rng(devices=[], enabled=seed is not None):
        if seed is not None:
            torch.manual_seed(seed)
        yield


def _of_timm(name: str, pretrained: bool, image_size: tuple[int, int] | None,
             classes: int | None) -> nn.Module:
    if not timm.is_model(name):
        raise UserError(f"model must be {', '.join(SHIPPED)} or a name of timm.list_models(), "
                        f"not {name!r}")
    if classes is not None and classes < 1:
        raise UserError(f"classes must be at least 1, not {classes}")
    changes = {} if image_size is None else {"img_size": tuple(image_size)}
    changes |= {} if classes is None else {"num_classes": classes}
    try:
        return timm.create_model(name, pretrained=pretrained, **changes)
    except (OSError, RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"timm could not make {name}: {reason}") from None
