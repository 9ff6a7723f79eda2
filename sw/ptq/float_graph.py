"""The float network written out node by node, under the names of the integer network.

It computes what timm's forward pass computes, from the same parameters; `FloatGraph.check` and
the tests compare the two. What an integer value stands for is the float value of the same name.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.models import FloatModel

__all__ = ["FloatGraph", "FloatLayer", "FloatObserver", "layers_of"]

FloatObserver = Callable[[str, torch.Tensor], None]
"""`observe(name, value)`: called for each value, with a batch axis."""

BATCH = 32
TOLERANCE = 1e-3
"""Largest difference from timm's own logits, relative to their largest; rounding gives 1e-6."""


@dataclasses.dataclass(frozen=True, slots=True)
class FloatLayer:
    """A layer that offers a choice of method.

    Parameters
    ----------
    name : of the node, and of the value that it computes.
    operator : `softmax`, `gelu` or `layernorm`.
    source : name of the value that it reads.
    gamma, beta : of a LayerNorm, one per channel; empty for the others.
    """

    name: str
    operator: str
    source: str
    gamma: tuple[float, ...] = ()
    beta: tuple[float, ...] = ()


def layers_of(model: FloatModel) -> list[FloatLayer]:
    """Return the layers that offer a choice of method, in the order in which they run."""
    def norm(name: str, part: torch.nn.LayerNorm, source: str) -> FloatLayer:
        return FloatLayer(name, "layernorm", source, tuple(part.weight.tolist()),
                          tuple(part.bias.tolist()))

    layers, stream = [], "embed"
    for i, block in enumerate(model.module.blocks):
        at = f"blocks.{i}"
        layers += [norm(f"{at}.norm1", block.norm1, stream),
                   FloatLayer(f"{at}.attn.softmax", "softmax", f"{at}.attn.scores"),
                   norm(f"{at}.norm2", block.norm2, f"{at}.attn.add"),
                   FloatLayer(f"{at}.mlp.gelu", "gelu", f"{at}.mlp.fc1")]
        stream = f"{at}.mlp.add"
    return [*layers, norm("norm", model.module.norm, "class_token")]


class FloatGraph:
    """The float network, observable at every value."""

    def __init__(self, model: FloatModel) -> None:
        self.model = model

    def run(self, pixels: np.ndarray, observe: FloatObserver | None = None) -> torch.Tensor:
        """Return the logits of u8 images, batch by batch."""
        observe = observe or (lambda name, value: None)
        with torch.inference_mode():
            return torch.cat([self._forward(torch.from_numpy(pixels[i:i + BATCH]), observe)
                              for i in range(0, len(pixels), BATCH)])

    def check(self, pixels: np.ndarray) -> None:
        """Refuse a network whose own forward pass gives other logits: it does more than we know."""
        with torch.inference_mode():
            wanted = self.model.module(self.model.normalize(torch.from_numpy(pixels)))
        difference = (self.run(pixels) - wanted).abs().max() / wanted.abs().max()
        if not difference <= TOLERANCE:
            raise UserError(f"{self.model.name} computes more than a plain vision transformer: its "
                            f"logits differ by {float(difference):.3g} of the largest")

    def layer_values(self, pixels: np.ndarray) -> Iterator[
            tuple[FloatLayer, torch.Tensor, torch.Tensor]]:
        """Yield each layer that offers a choice, with its float input and output on `pixels`."""
        layers = layers_of(self.model)
        wanted = {name for layer in layers for name in (layer.source, layer.name)}
        seen: dict[str, list[torch.Tensor]] = {name: [] for name in wanted}

        def observe(name: str, value: torch.Tensor) -> None:
            if name in wanted:
                seen[name].append(value)

        self.run(pixels, observe)
        for layer in layers:
            yield layer, torch.cat(seen[layer.source]), torch.cat(seen[layer.name])

    def _forward(self, pixels: torch.Tensor, observe: FloatObserver) -> torch.Tensor:
        def seen(name: str, value: torch.Tensor) -> torch.Tensor:
            observe(name, value)
            return value

        module = self.model.module
        x = module.patch_embed.proj(self.model.normalize(pixels)).flatten(2).transpose(1, 2)
        x = seen("patch_embed", x)
        x = seen("tokens", torch.cat([module.cls_token.expand(len(x), -1, -1), x], dim=1))
        x = seen("embed", x + module.pos_embed)
        for i, block in enumerate(module.blocks):
            at = f"blocks.{i}"
            attn, mlp = block.attn, block.mlp
            h = seen(f"{at}.norm1", block.norm1(x))
            qkv = seen(f"{at}.attn.qkv", attn.qkv(h))
            n, tokens, _ = qkv.shape
            parts = qkv.reshape(n, tokens, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
            q, k, v = (seen(f"{at}.attn.{name}", part)
                       for name, part in zip("qkv", parts, strict=True))
            scores = seen(f"{at}.attn.scores", q @ k.transpose(-1, -2) * attn.scale)
            weights = seen(f"{at}.attn.softmax", scores.softmax(dim=-1))
            context = seen(f"{at}.attn.context", weights @ v)
            h = seen(f"{at}.attn.merge", context.transpose(1, 2).reshape(n, tokens, -1))
            h = seen(f"{at}.attn.proj", _scaled(attn.proj(h), block.ls1))
            x = seen(f"{at}.attn.add", x + h)
            h = seen(f"{at}.norm2", block.norm2(x))
            h = seen(f"{at}.mlp.fc1", mlp.fc1(h))
            h = seen(f"{at}.mlp.gelu", functional.gelu(h))
            h = seen(f"{at}.mlp.fc2", _scaled(mlp.fc2(h), block.ls2))
            x = seen(f"{at}.mlp.add", x + h)
        x = seen("class_token", x[:, :1])
        x = seen("norm", module.norm(x))
        return seen("head", module.head(x))[:, 0]


def _scaled(x: torch.Tensor, layer_scale: torch.nn.Module) -> torch.Tensor:
    """Apply the LayerScale that may follow a branch's last linear layer."""
    return x * layer_scale.gamma if hasattr(layer_scale, "gamma") else x
