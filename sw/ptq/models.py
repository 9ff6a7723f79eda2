"""Float networks by name: timm vision transformers, with shipped, local or timm's weights."""

import dataclasses
from pathlib import Path

import safetensors
import timm
import torch
from safetensors.torch import load_file
from torch import nn

from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, existing
from vitrtl.sw.ptq.architectures.families import check_structure
from vitrtl.sw.ptq.shipped import DEFAULT, SHIPPED

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
    """

    name: str
    module: nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        height, width = self.module.patch_embed.img_size
        return (self.module.patch_embed.proj.in_channels, height, width)

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


def build(name: str = DEFAULT, checkpoint: Path | None = None,
          pretrained: bool = False) -> FloatModel:
    """Return a network with its weights, ready to be quantized.

    Parameters
    ----------
    name : one of `SHIPPED`, or a ViT or DeiT of timm.
    checkpoint : safetensors file with the weights; without it the shipped ones or timm's
        (`pretrained`).
    pretrained : let timm download its weights.

    Raises
    ------
    UserError
        For an unknown name, a structure that the integer network cannot express, weights that
        are missing, do not fit or are not finite.
    """
    if checkpoint is not None and pretrained:
        raise UserError("weights must come from --checkpoint or from --pretrained, not from both")
    shipped = SHIPPED.get(name)
    if shipped is not None:
        if pretrained:
            raise UserError(f"{name} has shipped weights, which it takes without --pretrained")
        module: nn.Module = shipped.untrained()
        mean, std = shipped.mean, shipped.std
        checkpoint = shipped.weights if checkpoint is None else checkpoint
    else:
        if not timm.is_model(name):
            raise UserError(f"model must be {', '.join(SHIPPED)} or a name of "
                            f"timm.list_models(), not {name!r}")
        if checkpoint is None and not pretrained:
            raise UserError(f"weights of {name} must come from --checkpoint FILE or --pretrained")
        try:
            module = timm.create_model(name, pretrained=pretrained)
        except (OSError, RuntimeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UserError(f"timm could not make {name}: {reason}") from None
        config = timm.data.resolve_model_data_config(module)
        mean, std = tuple(config["mean"]), tuple(config["std"])
    check_structure(name, module)
    if checkpoint is not None:
        _load_weights(module, Path(checkpoint))
    for key, value in module.state_dict().items():
        if not torch.isfinite(value).all():
            raise UserError(f"weights must be finite numbers, but {key} of {name} is not")
    if shipped is not None:
        shipped.harden(module)
    if shipped is not None and checkpoint == shipped.weights:
        weights = "shipped"
    else:
        weights = f"timm {timm.__version__}" if pretrained else Path(checkpoint).name
    return FloatModel(name=name, module=module.eval(), mean=mean, std=std, weights=weights)


def _load_weights(module: nn.Module, path: Path) -> None:
    """Put the tensors of a safetensors file into `module`, all of them and no others."""
    try:
        state = load_file(existing(path))
    except safetensors.SafetensorError as error:
        raise UserError(f"{path} is not a safetensors file: {error}") from None
    wanted = module.state_dict()
    if missing := sorted(set(wanted) - set(state)):
        raise UserError(f"{path} lacks the tensor {missing[0]} ({len(missing)} missing in all)")
    if extra := sorted(set(state) - set(wanted)):
        raise UserError(f"{path} has a tensor {extra[0]} that the network does not know "
                        f"({len(extra)} such in all)")
    for key, value in wanted.items():
        if state[key].shape != value.shape:
            raise UserError(f"{key} of {path} must have shape {tuple(value.shape)}, not "
                            f"{tuple(state[key].shape)}")
    module.load_state_dict(state)
