"""Networks made harder to quantize, their function unchanged by construction.

A small network is easy: its values are small and alike. Large vision transformers have channels,
tokens and hidden units that are tens of times larger than the rest, and parts of their values that
mean nothing. Each function here gives a trained network one such property, changing the weights in
place by an identity that holds for every input. Float logits stay what they were but for rounding;
integer networks see other ranges.

Factors are integers, offsets powers of two, and sums are rounded once, so that equal seeds give
equal weights on every machine.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

__all__ = ["HARDENINGS", "harden", "key_offset", "norm_outliers", "query_key_imbalance",
           "token_offset", "value_offset", "wide_gelu"]

@torch.no_grad()
def norm_outliers(module: VisionTransformer, seed: int = 0, channels: int = 3,
                  low: int = 12, high: int = 48) -> None:
    """Scale a few channels of each LayerNorm's output, and unscale what reads them.

        W (gamma n + beta) = (W / f) (f gamma n + f beta)

    The outlier channels of ViT-B and DeiT that RepQ-ViT folds away again.

    Parameters
    ----------
    module : changed in place.
    seed : of the channels and their factors.
    channels : of each LayerNorm that become outliers.
    low, high : range of their factors.
    """
    random = np.random.RandomState(seed)
    for norm, linear in _norms(module):
        chosen = random.permutation(norm.weight.numel())[:channels]
        factor = torch.ones_like(norm.weight)
        factor[chosen] = _integers(random, low, high, len(chosen))
        norm.weight *= factor
        norm.bias *= factor
        linear.weight /= factor


@torch.no_grad()
def query_key_imbalance(module: VisionTransformer, seed: int = 0, channels: int = 2,
                        low: int = 4, high: int = 8) -> None:
    """Scale a few channels of each head's queries or keys, and unscale the other side's.

        q . k = sum_c (f_c q_c) (k_c / f_c)

    Parameters
    ----------
    module : changed in place.
    seed : of the channels and their factors.
    channels : of each head that grow in the queries, and as many others in the keys.
    low, high : range of their factors.
    """
    random = np.random.RandomState(seed)
    for block in module.blocks:
        heads = block.attn.num_heads
        factor = torch.ones(heads, block.attn.attn_dim // heads)
        for row in factor:
            chosen = random.permutation(len(row))
            row[chosen[:channels]] = _integers(random, low, high, channels)
            row[chosen[channels:2 * channels]] = 1 / _integers(random, low, high, channels)
        query, key, _ = _parts(block.attn)
        _scale_rows(block.attn.qkv, query, factor.flatten())
        _scale_rows(block.attn.qkv, key, 1 / factor.flatten())


@torch.no_grad()
def key_offset(module: VisionTransformer, seed: int = 0, deviations: int = 6) -> None:
    """Add a constant to each head's keys, which moves each row of scores as a whole.

        softmax_j(q . (k_j + b)) = softmax_j(q . k_j + q . b) = softmax_j(q . k_j)

    Scores then span several times what the softmax cares for, and an 8-bit code of them is as
    much coarser. Trained networks have such key biases, since nothing holds them back.

    Parameters
    ----------
    module : changed in place.
    seed : of the signs.
    deviations : size of the constant, in standard deviations of each channel of the keys, about.
    """
    random = np.random.RandomState(seed)
    for block in module.blocks:
        _, key, _ = _parts(block.attn)
        _bias(block.attn.qkv)[key] += _offset(block.norm1, block.attn.qkv.weight[key], random,
                                              deviations)


@torch.no_grad()
def value_offset(module: VisionTransformer, seed: int = 0, deviations: int = 3) -> None:
    """Add a constant to the values, and take its projection off the next bias.

        sum_j a_j (v_j + c) = sum_j a_j v_j + c,  because sum_j a_j = 1

    A softmax whose rounded probabilities do not sum to one loses as much of the constant: what
    tokens have in common is large in trained networks too.

    Parameters
    ----------
    module : changed in place.
    seed : of the signs.
    deviations : size of the constant, in standard deviations of each channel of the values, about.
    """
    random = np.random.RandomState(seed)
    for block in module.blocks:
        _, _, value = _parts(block.attn)
        offset = _offset(block.norm1, block.attn.qkv.weight[value], random, deviations)
        _bias(block.attn.qkv)[value] += offset
        products = block.attn.proj.weight.double() * offset.double()
        _bias(block.attn.proj).sub_(torch.tensor([math.fsum(row) for row in products.tolist()]))


@torch.no_grad()
def wide_gelu(module: VisionTransformer, seed: int = 0, units: int = 2, factor: int = 8) -> None:
    """Give GELU's inputs long tails, which carry what the hidden units have to say.

        GELU(u) = GELU(-u) + (GELU(f u) - GELU(-f u)) / f,  because GELU(x) - GELU(-x) = x

    A hidden unit becomes three; clipping the two wide ones loses their message. GELU itself is
    not homogeneous, so that a unit cannot simply be scaled and unscaled.

    Parameters
    ----------
    module : changed in place; each MLP's hidden layer grows by `2 * units`.
    seed : of the units.
    units : hidden units of each block that are widened.
    factor : how far.
    """
    random = np.random.RandomState(seed)
    for block in module.blocks:
        mlp = block.mlp
        chosen = random.permutation(mlp.fc1.out_features)[:units]
        into, bias = mlp.fc1.weight[chosen], _bias(mlp.fc1)[chosen]
        out = mlp.fc2.weight[:, chosen]
        fc1 = nn.Linear(mlp.fc1.in_features, mlp.fc1.out_features + 2 * units)
        fc2 = nn.Linear(fc1.out_features, mlp.fc2.out_features)
        sign = torch.ones(mlp.fc1.out_features)
        sign[chosen] = -1
        fc1.weight.copy_(torch.cat([mlp.fc1.weight * sign[:, None], into * factor,
                                    into * -factor]))
        fc1.bias.copy_(torch.cat([mlp.fc1.bias * sign, bias * factor, bias * -factor]))
        fc2.weight.copy_(torch.cat([mlp.fc2.weight, out / factor, out / -factor], dim=1))
        fc2.bias.copy_(_bias(mlp.fc2))
        mlp.fc1, mlp.fc2 = fc1, fc2


@torch.no_grad()
def token_offset(module: VisionTransformer, seed: int = 0, tokens: int = 2,
                 times: int = 128) -> None:
    """Lift all channels of a few tokens of the residual stream by a constant.

        LayerNorm(x + t 1) = LayerNorm(x)

    Every reader of the stream is a LayerNorm, which takes off the mean; the skips carry the
    constant to the end. Stands for the massive activations of a few tokens of large networks.

    Parameters
    ----------
    module : changed in place.
    seed : of the tokens and signs.
    tokens : how many patches are lifted; the class token always is.
    times : size of the constant, in root mean squares of the position embedding, about.
    """
    random = np.random.RandomState(seed)
    chosen = [0, *(1 + random.permutation(module.patch_embed.num_patches)[:tokens])]
    size = _power_of_two(times * module.pos_embed.double().square().mean().sqrt())
    module.pos_embed[0, chosen] += size * _signs(random, len(chosen))[:, None]


HARDENINGS: dict[str, Callable[[VisionTransformer], None]] = {
    "norm_outliers": norm_outliers, "query_key_imbalance": query_key_imbalance,
    "key_offset": key_offset, "value_offset": value_offset, "wide_gelu": wide_gelu,
    "token_offset": token_offset,
}
"""Every way to make a network harder, in the order in which `harden` takes them."""


def harden(module: VisionTransformer) -> None:
    """Do all of it."""
    for change in HARDENINGS.values():
        change(module)


def _norms(module: VisionTransformer) -> Iterator[tuple[nn.LayerNorm, nn.Linear]]:
    """Yield each LayerNorm with the linear layer that alone reads it."""
    for block in module.blocks:
        yield block.norm1, block.attn.qkv
        yield block.norm2, block.mlp.fc1
    yield module.norm, module.head


def _parts(attn: nn.Module) -> list[slice]:
    """Return the rows of the joint projection that give queries, keys and values."""
    return [slice(i * attn.attn_dim, (i + 1) * attn.attn_dim) for i in range(3)]


def _scale_rows(linear: nn.Linear, rows: slice, factor: torch.Tensor) -> None:
    linear.weight[rows] *= factor[:, None]
    _bias(linear)[rows] *= factor


def _offset(norm: nn.LayerNorm, weight: torch.Tensor, random: np.random.RandomState,
            deviations: int) -> torch.Tensor:
    """Return some deviations of what rows of weights make of normalized values, either sign."""
    deviation = (weight.double() * norm.weight.double()).square().sum(dim=1).sqrt()
    return _power_of_two(deviation * deviations) * _signs(random, len(weight))


def _bias(linear: nn.Linear) -> torch.Tensor:
    """Return the bias of a linear layer, made first where it has none."""
    if linear.bias is None:
        linear.bias = nn.Parameter(torch.zeros(linear.out_features))
    return linear.bias


def _power_of_two(x: torch.Tensor) -> torch.Tensor:
    """Return the nearest power of two, which does not hang on the last bit of a square root."""
    return torch.exp2(torch.log2(x).round()).float()


def _integers(random: np.random.RandomState, low: int, high: int, count: int) -> torch.Tensor:
    return torch.from_numpy(random.randint(low, high + 1, count)).float()


def _signs(random: np.random.RandomState, count: int) -> torch.Tensor:
    return torch.from_numpy(2 * random.randint(0, 2, count) - 1).float()
