"""Swin transformers: attention within windows that move from block to block."""

from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock
from torch import nn

from vitrtl.sw.ptq.architectures.blocks import attention, mlp, refusals
from vitrtl.sw.ptq.architectures.graph import IMAGE, Graph
from vitrtl.sw.ptq.architectures.operations import (
    Add,
    Average,
    Linear,
    Mask,
    Move,
    Norm,
    Pad,
    PatchEmbed,
    PositionBias,
)

__all__ = ["check", "describe"]


def describe(module: SwinTransformer) -> Graph:
    """Return what a Swin transformer computes, image to logits.

    Tokens lie in rows and columns: (rows, columns, width).
    """
    graph = Graph()
    x = graph.add(PatchEmbed("patch_embed", (IMAGE,), module.patch_embed.proj))
    x = graph.add(Norm("patch_embed.norm", (x,), module.patch_embed.norm))
    rows, columns = module.patch_embed.grid_size
    x = graph.add(Move("grid", (x,), "grid", {"rows": rows, "columns": columns}))
    for i, stage in enumerate(module.layers):
        at = f"layers.{i}"
        if not isinstance(stage.downsample, nn.Identity):
            x = _pad(graph, f"{at}.downsample.pad", x, (rows, columns), (2, 2))
            rows, columns = (rows + 1) // 2, (columns + 1) // 2
            x = graph.add(Move(f"{at}.downsample.merge", (x,), "merge_patches"))
            x = graph.add(Norm(f"{at}.downsample.norm", (x,), stage.downsample.norm))
            x = graph.add(Linear(f"{at}.downsample.reduction", (x,),
                                 (stage.downsample.reduction,)))
        for j, block in enumerate(stage.blocks):
            x = _window_attention(graph, f"{at}.blocks.{j}", block, x, (rows, columns))
            x = mlp(graph, f"{at}.blocks.{j}", block, x)
    x = graph.add(Norm("norm", (x,), module.norm))
    x = graph.add(Average("pool", (x,)))
    graph.add(Linear("head", (x,), (module.head.fc,)))
    return graph


def check(module: SwinTransformer) -> list[str]:
    """Return what the integer network cannot express, in words."""
    wrong = []
    if module.dynamic_img_size:
        wrong.append("an input size that may change")
    if module.global_pool != "avg":
        wrong.append(f"pooling {module.global_pool!r} (only 'avg')")
    if not isinstance(module.head.fc, nn.Linear):
        wrong.append("no linear classifier head")
    norms = {"patch_embed.norm": module.patch_embed.norm, "norm": module.norm}
    activations = {}
    for i, stage in enumerate(module.layers):
        if not isinstance(stage.downsample, nn.Identity):
            norms[f"layers.{i}.downsample.norm"] = stage.downsample.norm
        for j, block in enumerate(stage.blocks):
            at = f"layers.{i}.blocks.{j}"
            if type(block) is not SwinTransformerBlock:
                return [*wrong, f"{at} of kind {type(block).__name__}"]
            norms |= {f"{at}.norm1": block.norm1, f"{at}.norm2": block.norm2}
            activations[f"{at}.mlp.act"] = block.mlp.act
    return wrong + refusals(norms=norms, activations=activations)


def _window_attention(graph: Graph, at: str, block: SwinTransformerBlock, stream: str,
                      size: tuple[int, int]) -> str:
    """Add the attention branch to the residual stream; return its new value."""
    (rows, columns), (high, wide) = size, block.window_size
    shift_rows, shift_columns = block.shift_size
    shifted = bool(shift_rows or shift_columns)
    padded = (-(-rows // high) * high, -(-columns // wide) * wide)
    window = {"height": high, "width": wide}

    x = graph.add(Norm(f"{at}.norm1", (stream,), block.norm1))
    if shifted:
        x = graph.add(Move(f"{at}.attn.shift", (x,), "roll",
                           {"rows": -shift_rows, "columns": -shift_columns}))
    x = _pad(graph, f"{at}.attn.pad", x, size, (high, wide))
    x = graph.add(Move(f"{at}.attn.windows", (x,), "windows", window))

    def placed(scores: str) -> str:
        y = graph.add(PositionBias(f"{at}.attn.bias", (scores,),
                                   block.attn.relative_position_bias_table,
                                   block.attn.relative_position_index))
        if block.attn_mask is not None:
            y = graph.add(Mask(f"{at}.attn.mask", (y,), block.attn_mask == 0))
        return y

    x = attention(graph, at, block.attn, x, placed=placed)
    x = graph.add(Move(f"{at}.attn.join", (x,), "join_windows",
                       {"rows": padded[0], "columns": padded[1], **window}))
    if padded != size:
        x = graph.add(Move(f"{at}.attn.crop", (x,), "crop", {"rows": rows, "columns": columns}))
    if shifted:
        x = graph.add(Move(f"{at}.attn.unshift", (x,), "roll",
                           {"rows": shift_rows, "columns": shift_columns}))
    return graph.add(Add(f"{at}.attn.add", (stream, x)))


def _pad(graph: Graph, name: str, x: str, size: tuple[int, int], unit: tuple[int, int]) -> str:
    """Pad a grid to whole units of rows and columns, if it is not so already."""
    rows, columns = (-(-length // step) * step for length, step in zip(size, unit, strict=True))
    return x if (rows, columns) == size else graph.add(Pad(name, (x,), rows, columns))
