"""ViT and DeiT: a class token, and in a distilled network one for distillation beside it."""

import torch
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vitrtl.sw.ptq.architectures.blocks import attention, mlp, refusals
from vitrtl.sw.ptq.architectures.graph import IMAGE, Graph
from vitrtl.sw.ptq.architectures.operations import (
    Add,
    Concat,
    Constant,
    Linear,
    Move,
    Norm,
    PatchEmbed,
)

__all__ = ["check", "describe"]


def describe(module: VisionTransformer) -> Graph:
    """Return what a vision transformer computes, image to logits.

    The mean of a distilled network's two heads is one linear layer on both tokens side by side.
    """
    distilled = isinstance(module, VisionTransformerDistilled)
    graph = Graph()
    x = graph.add(PatchEmbed("patch_embed", (IMAGE,), module.patch_embed.proj))
    if distilled:
        token = graph.add(Constant("distillation_token.constant", (), module.dist_token))
        x = graph.add(Concat("patches", (x, token)))
    token = graph.add(Constant("class_token.constant", (), module.cls_token))
    x = graph.add(Concat("tokens", (x, token)))
    position = graph.add(Constant("position", (), module.pos_embed))
    x = graph.add(Add("embed", (x, position)))
    for i, block in enumerate(module.blocks):
        at = f"blocks.{i}"
        y = graph.add(Norm(f"{at}.norm1", (x,), block.norm1))
        y = attention(graph, at, block.attn, y, _layer_scale(block.ls1))
        x = graph.add(Add(f"{at}.attn.add", (x, y)))
        x = mlp(graph, at, block, x, _layer_scale(block.ls2))
    # Each token is normalised by itself, so the others need not be.
    kept = {"token": 0, "count": 2} if distilled else {"token": 0}
    x = graph.add(Move("class_token", (x,), "select", kept))
    x = graph.add(Norm("norm", (x,), module.norm))
    if distilled:
        x = graph.add(Move("both_tokens", (x,), "flatten"))
        graph.add(Linear("head", (x,), (module.head, module.head_dist), torch.tensor(0.5)))
    else:
        graph.add(Linear("head", (x,), (module.head,)))
    return graph


def check(module: VisionTransformer) -> list[str]:
    """Return what the integer network cannot express, in words."""
    wrong = []
    tokens = 2 if isinstance(module, VisionTransformerDistilled) else 1
    if module.global_pool != "token" or module.num_prefix_tokens != tokens or module.attn_pool:
        wrong.append(f"pooling {module.global_pool!r} with {module.num_prefix_tokens} prefix "
                     "tokens (only one class token)")
    if module.pos_embed is None or module.no_embed_class or module.dynamic_img_size:
        wrong.append("a position embedding other than one learnt vector per token")
    if not isinstance(module.head, nn.Linear):
        wrong.append("no linear classifier head")
    identities = {"norm_pre": module.norm_pre, "fc_norm": module.fc_norm,
                  "patch_drop": module.patch_drop, "patch_embed.norm": module.patch_embed.norm}
    norms, activations = {"norm": module.norm}, {}
    for i, block in enumerate(module.blocks):
        at = f"blocks.{i}"
        attn, part = getattr(block, "attn", None), getattr(block, "mlp", None)
        if not isinstance(getattr(attn, "qkv", None), nn.Linear) or not hasattr(part, "fc1"):
            wrong.append(f"{at} of kind {type(block).__name__}")
            break
        identities |= {f"{at}.attn.{name}": getattr(attn, name, None)
                       for name in ("q_norm", "k_norm", "norm")}
        identities[f"{at}.mlp.norm"] = getattr(part, "norm", None)
        norms |= {f"{at}.norm1": block.norm1, f"{at}.norm2": block.norm2}
        activations[f"{at}.mlp.act"] = part.act
        if getattr(attn, "gate", None) is not None:
            wrong.append(f"{at}.attn.gate")
    return wrong + refusals(norms, activations, identities)


def _layer_scale(module: nn.Module) -> torch.Tensor | None:
    """Return the factors of the LayerScale that may follow a branch's last linear layer."""
    return getattr(module, "gamma", None)
