"""What the blocks of all architectures share."""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from vitrtl.sw.ptq.architectures.graph import Graph
from vitrtl.sw.ptq.architectures.operations import (
    Add,
    Gelu,
    Linear,
    Move,
    Norm,
    Product,
    Softmax,
)

__all__ = ["attention", "mlp", "refusals"]


def attention(graph: Graph, at: str, attn: nn.Module, x: str, gain: torch.Tensor | None = None,
              placed: Callable[[str], str] = lambda scores: scores) -> str:
    """Add multi-head self-attention, from normalised tokens to the projection.

    Parameters
    ----------
    graph : that the operations are added to.
    at : name of the block.
    attn : timm's module.
    x : name of the normalised tokens.
    gain : LayerScale that follows.
    placed : adds what happens to the scores before the softmax.
    """
    parts = tuple(f"{at}.attn.{part}" for part in "qkv")
    x = graph.add(Linear(f"{at}.attn.qkv", (x,), (attn.qkv,), parts=parts))
    q, k, v = (graph.add(Move(name, (x,), "heads",
                              {"heads": attn.num_heads, "parts": 3, "part": part}))
               for part, name in enumerate(parts))
    x = graph.add(Product(f"{at}.attn.scores", (q, k), attn.scale, transposed=True))
    x = graph.add(Softmax(f"{at}.attn.softmax", (placed(x),)))
    x = graph.add(Product(f"{at}.attn.context", (x, v)))
    x = graph.add(Move(f"{at}.attn.merge", (x,), "merge"))
    return graph.add(Linear(f"{at}.attn.proj", (x,), (attn.proj,), gain))


def mlp(graph: Graph, at: str, block: nn.Module, stream: str,
        gain: torch.Tensor | None = None) -> str:
    """Add the MLP branch to the residual stream; return its new value."""
    x = graph.add(Norm(f"{at}.norm2", (stream,), block.norm2))
    x = graph.add(Linear(f"{at}.mlp.fc1", (x,), (block.mlp.fc1,)))
    x = graph.add(Gelu(f"{at}.mlp.gelu", (x,)))
    x = graph.add(Linear(f"{at}.mlp.fc2", (x,), (block.mlp.fc2,), gain))
    return graph.add(Add(f"{at}.mlp.add", (stream, x)))


def refusals(norms: Mapping[str, nn.Module], activations: Mapping[str, nn.Module],
             identities: Mapping[str, nn.Module | None] | None = None) -> list[str]:
    """Return in words which modules are not what the descriptions take them for.

    Parameters
    ----------
    norms : that must be LayerNorms with weight and bias, by name.
    activations : that must be the exact GELU.
    identities : that must do nothing.
    """
    wrong = [f"{where} {part} (only GELU)" for where, part in activations.items()
             if not isinstance(part, nn.GELU) or part.approximate != "none"]
    wrong += [f"{where} ({type(part).__name__})" for where, part in (identities or {}).items()
              if part is not None and not isinstance(part, nn.Identity)]
    return wrong + [f"{where} ({type(part).__name__}, only LayerNorm with weight and bias)"
                    for where, part in norms.items()
                    if not isinstance(part, nn.LayerNorm) or part.weight is None
                    or part.bias is None]
