"""Networks that ship with their weights: what they look like, and the images they are for."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from timm.models.vision_transformer import VisionTransformer

from vitrtl.sw.ptq.hardening import harden, norm_outliers

__all__ = ["DEFAULT", "SHIPPED", "ShippedModel", "untrained_digits_vit",
           "untrained_shapes_vit"]

DEFAULT = "digits_vit"
"""Name of the default network."""

FOLDER = Path(__file__).with_name("weights")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShippedModel:
    """A network by name, whose weights come with the package.

    Parameters
    ----------
    untrained : makes the network, its weights not yet those that ship.
    weights_of : name of the network whose weights it takes: its own, or, for a harder variant,
        the one that was trained.
    images : data set that it was trained on.
    mean, std : per input channel; the network sees `(pixel / 255 - mean) / std`.
    harden : changes the weights in place after they are loaded, and the function not at all.
    """

    untrained: Callable[[], VisionTransformer]
    weights_of: str
    images: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    harden: Callable[[VisionTransformer], None] = lambda module: None

    @property
    def weights(self) -> Path:
        """Weights as `vitrtl train` wrote them."""
        return FOLDER / f"{self.weights_of}.safetensors"


def untrained_digits_vit() -> VisionTransformer:
    """Return the default network: 16x16 grey pixels, patch 2, width 64, depth 4, 10 classes.

    Of timm's initializations, `jax` starts to learn at once at this size.
    """
    return VisionTransformer(img_size=16, patch_size=2, in_chans=1, num_classes=10, embed_dim=64,
                             depth=4, num_heads=4, mlp_ratio=4, weight_init="jax")


def untrained_shapes_vit() -> VisionTransformer:
    """Return the deeper network: 64x64 colours, patch 8, width 64, depth 8, 20 classes.

    The hidden layers leave room for what `wide_gelu` adds within 256 units.
    """
    return VisionTransformer(img_size=64, patch_size=8, num_classes=20, embed_dim=64, depth=8,
                             num_heads=4, mlp_ratio=3.75, weight_init="jax")


_DIGITS = ShippedModel(untrained=untrained_digits_vit, weights_of=DEFAULT, images="digits",
                       mean=(0.5,), std=(0.5,))
_SHAPES = ShippedModel(untrained=untrained_shapes_vit, weights_of="shapes_vit", images="shapes",
                       mean=(0.5,) * 3, std=(0.25,) * 3)

SHIPPED = {
    DEFAULT: _DIGITS,
    "digits_vit_outliers": dataclasses.replace(_DIGITS, harden=norm_outliers),
    "digits_vit_hard": dataclasses.replace(_DIGITS, harden=harden),
    "shapes_vit": _SHAPES,
    "shapes_vit_hard": dataclasses.replace(_SHAPES, harden=harden),
}
"""Networks by name. Outliers are those of the LayerNorms alone; hard has all of `HARDENINGS`."""
