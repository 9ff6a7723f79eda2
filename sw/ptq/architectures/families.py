"""Which description a timm network takes."""

from collections.abc import Callable

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitrtl.sw.ptq.architectures import vit
from vitrtl.sw.ptq.architectures.graph import Graph

__all__ = ["DESCRIPTIONS", "describe"]

DESCRIPTIONS: dict[type[nn.Module], Callable[..., Graph]] = {VisionTransformer: vit.describe}
"""Description of each class of timm."""


def describe(module: nn.Module) -> Graph:
    """Return the graph of a network, which refers to its parameters as they are now."""
    return DESCRIPTIONS[type(module)](module)
