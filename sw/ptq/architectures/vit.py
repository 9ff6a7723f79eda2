"""ViT and DeiT with a class token."""

from timm.models.vision_transformer import Block, VisionTransformer

from vitrtl.sw.ptq.architectures.graph import IMAGE, Graph
from vitrtl.sw.ptq.architectures.operations import (
    Add,
    Concat,
    Constant,
    Gelu,
    Linear,
    Move,
    Norm,
    PatchEmbed,
    Product,
    Softmax,
)

__all__ = ["describe"]


def describe(module: VisionTransformer) -> Graph:
    """Return what a vision transformer computes, image to logits."""
    graph = Graph()
    x = graph.add(PatchEmbed("patch_embed", (IMAGE,), module.patch_embed.proj))
    token = graph.add(Constant("class_token.constant", (), module.cls_token))
    x = graph.add(Concat("tokens", (x, token)))
    position = graph.add(Constant("position", (), module.pos_embed))
    x = graph.add(Add("embed", (x, position)))
    for i, block in enumerate(module.blocks):
        x = _block(graph, f"blocks.{i}", block, x)
    # Each token is normalised by itself, so the others need not be.
    x = graph.add(Move("class_token", (x,), "select", {"token": 0}))
    x = graph.add(Norm("norm", (x,), module.norm))
    graph.add(Linear("head", (x,), (module.head,)))
    return graph


def _block(graph: Graph, at: str, block: Block, stream: str) -> str:
    """Add a block's two branches to the residual stream; return its new value."""
    attn, mlp = block.attn, block.mlp
    x = graph.add(Norm(f"{at}.norm1", (stream,), block.norm1))
    parts = tuple(f"{at}.attn.{part}" for part in "qkv")
    x = graph.add(Linear(f"{at}.attn.qkv", (x,), (attn.qkv,), parts=parts))
    q, k, v = (graph.add(Move(name, (x,), "heads",
                              {"heads": attn.num_heads, "parts": 3, "part": part}))
               for part, name in enumerate(parts))
    x = graph.add(Product(f"{at}.attn.scores", (q, k), attn.scale, transposed=True))
    x = graph.add(Softmax(f"{at}.attn.softmax", (x,)))
    x = graph.add(Product(f"{at}.attn.context", (x, v)))
    x = graph.add(Move(f"{at}.attn.merge", (x,), "merge"))
    x = graph.add(Linear(f"{at}.attn.proj", (x,), (attn.proj,), getattr(block.ls1, "gamma", None)))
    stream = graph.add(Add(f"{at}.attn.add", (stream, x)))
    x = graph.add(Norm(f"{at}.norm2", (stream,), block.norm2))
    x = graph.add(Linear(f"{at}.mlp.fc1", (x,), (mlp.fc1,)))
    x = graph.add(Gelu(f"{at}.mlp.gelu", (x,)))
    x = graph.add(Linear(f"{at}.mlp.fc2", (x,), (mlp.fc2,), getattr(block.ls2, "gamma", None)))
    return graph.add(Add(f"{at}.mlp.add", (stream, x)))
