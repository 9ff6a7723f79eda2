"""Which networks of timm are described, and by what."""

import dataclasses
import functools
from collections.abc import Callable

import torch
from timm.models import swin_transformer, vision_transformer
from timm.models.deit import VisionTransformerDistilled
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.architectures import swin, vit
from vitrtl.sw.ptq.architectures.graph import Graph

__all__ = ["FAMILIES", "Family", "check_structure", "describe"]


@dataclasses.dataclass(frozen=True, slots=True)
class Family:
    """What describes the networks of one class of timm.

    Parameters
    ----------
    describe : `describe(module) -> graph`.
    check : `check(module) -> refusals`: what of it cannot be described, in words.
    adapt : `adapt(state, module) -> state`: timm's own changes to tensors from a file.
    """

    describe: Callable[..., Graph]
    check: Callable[..., list[str]]
    adapt: Callable[..., dict[str, torch.Tensor]]


_VIT = Family(vit.describe, vit.check,
              functools.partial(vision_transformer.checkpoint_filter_fn, adapt_layer_scale=True))

FAMILIES: dict[type[nn.Module], Family] = {
    VisionTransformer: _VIT,
    VisionTransformerDistilled: _VIT,
    SwinTransformer: Family(swin.describe, swin.check, swin_transformer.checkpoint_filter_fn),
}
"""By class: a subclass may have a forward pass of its own."""


def describe(module: nn.Module) -> Graph:
    """Return the graph of a network, which refers to its parameters as they are now."""
    return FAMILIES[type(module)].describe(module)


def check_structure(name: str, module: nn.Module) -> None:
    """Refuse what the integer network cannot express, naming it.

    Raises
    ------
    UserError
        Naming the first thing that no description covers.
    """
    if type(module) not in FAMILIES:
        known = ", ".join(family.__name__ for family in FAMILIES)
        raise UserError(f"model must be one of timm's {known}, but {name} is a "
                        f"{type(module).__name__}")
    if wrong := FAMILIES[type(module)].check(module):
        raise UserError(f"{name} has {wrong[0]}, which the integer network cannot express")
