"""Build-time numbers of an accelerator that suit a network."""

import itertools
from typing import Any

from vitrtl.sw.accelerator.allocation import fits
from vitrtl.sw.accelerator.engines import engine_spec, same_results
from vitrtl.sw.accelerator.lowering import Attention, Linear, Mlp, Transformer, Vector, lower
from vitrtl.sw.accelerator.schedule import blocks_of, buffers_of, even_parts
from vitrtl.sw.accelerator.spec import AcceleratorSpec, EngineSpec
from vitrtl.sw.errors import UserError
from vitrtl.sw.network import IntegerNetwork

__all__ = ["size_accelerator"]

COLUMNS_AT_ONCE = 2
"""Columns of tiles of the longest multiplication that half of the weight buffer holds."""
LANES = (1, 2, 4, 8)


def size_accelerator(network: IntegerNetwork, **fields: Any) -> AcceleratorSpec:
    """Return an accelerator that runs a network, with memories as large as it needs.

    A vector engine has as few lanes as keep it from holding up the array: a softmax within the
    time of a head's products, a GELU within that of the layer before it, a LayerNorm within what
    the array does beside it. It has no fewer than its unit has in the network. Weights are paired
    if those of any layer can be.

    Parameters
    ----------
    fields : of the spec that are given; the others follow from them and the network.

    Raises
    ------
    UserError
        If the accelerator cannot run the network, or a field cannot have its value.
    """
    transformer = lower(network)
    try:
        return _sized(transformer, fields)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None


def _sized(transformer: Transformer, fields: dict[str, Any]) -> AcceleratorSpec:
    size = fields.get("size", AcceleratorSpec.size)
    linears = _linears(transformer)
    inner = [-(-linear.weight.shape[0] // size) for linear in linears]
    chosen: dict[str, Any] = {
        "longest_pass": 4 * size,
        "requantize_lanes": size // 2,
        "paired": any(linear.can_pair(size) for linear in linears),
        "activation_width": transformer.activation_width,
        "residual_words": _power_of_two(transformer.tokens * -(-transformer.width // size)),
        "weight_words": _power_of_two(2 * COLUMNS_AT_ONCE * max(inner) * size),
    } | fields
    if "constant_groups" not in fields:
        half = chosen["weight_words"] // 2
        # Half of them are of a load, which has at most two for each tile.
        most = max(min(-(-linear.weight.shape[1] // size), half // (tiles * size))
                   for linear, tiles in zip(linears, inner, strict=True))
        chosen["constant_groups"] = _power_of_two(4 * max(1, most))
    if "bank_words" not in fields:
        for bits in itertools.count(6):
            spec = AcceleratorSpec(**chosen, bank_words=1 << bits)
            if fits(buffers_of(transformer, spec), spec):
                break
        chosen["bank_words"] = 1 << bits
    if "engines" not in fields:
        chosen["engines"] = _engines(transformer, AcceleratorSpec(**chosen))
    return AcceleratorSpec(**chosen)


def _linears(transformer: Transformer) -> list[Linear]:
    """Return every multiplication by constant weights."""
    found = [transformer.embedding.linear, transformer.classifier.head]
    for layer in transformer.layers:
        found += ([layer.qkv, layer.proj] if isinstance(layer, Attention)
                  else [layer.fc1, layer.fc2])
    return found


def _engines(transformer: Transformer, spec: AcceleratorSpec) -> tuple[EngineSpec, ...]:
    """Return an engine for each unit of the network, in the order of their first use."""
    groups: list[list[Vector]] = []
    for vector in transformer.vectors:
        for group in groups:
            if same_results(vector, engine_spec([*group, vector], 1)):
                group.append(vector)
                break
        else:
            groups.append([vector])
    lanes = _lanes(transformer, spec)
    for vector in transformer.vectors:
        lanes[vector.label] = max(lanes[vector.label], vector.unit.spec.lanes)
    parts = {layer.gelu.label: (max(_columns(layer.fc1, spec)) * spec.size
                                * layer.fc1.tile_words(spec))
             for layer in transformer.layers
             if isinstance(layer, Mlp) and not layer.gelu.unit.spec.rowwise}
    return tuple(engine_spec(group, max(lanes[vector.label] for vector in group),
                             max(min(vector.channels, parts.get(vector.label, vector.channels))
                                 for vector in group)) for group in groups)


def _lanes(transformer: Transformer, spec: AcceleratorSpec) -> dict[str, int]:
    """Return the lanes that each vector operation should have, by its label."""
    size, tokens = spec.size, transformer.tokens
    lanes = {transformer.classifier.norm.label: 1}
    before: Linear | None = None
    for layer in transformer.layers:
        if isinstance(layer, Attention):
            dim = -(-layer.qkv.weight.shape[1] // (3 * layer.heads * size))
            inner, tiles = -(-layer.qkv.weight.shape[0] // size), dim // layer.qkv.tile_words(spec)
            own = 3 * tiles * inner + 2 * dim * -(-tokens // size)
            lanes[layer.softmax.label] = _fewest(tokens, own)
            # Keys, queries and values of the first head, as many of them as are loaded at once.
            after = min(3, max(1, _limit(layer.qkv, spec) // tiles)) * tiles * inner
        else:
            first = _columns(layer.fc1, spec)[0]
            own = -(-layer.fc1.weight.shape[0] // size)
            lanes[layer.gelu.label] = _fewest(size * layer.fc1.tile_words(spec), own)
            after = first * own
        # A block is normalized while the array is at the last columns of the layer before, or
        # at the first of this one, and at other blocks.
        blocks = len(blocks_of(tokens, spec))
        beside = after + (_columns(before, spec)[-1] * -(-before.weight.shape[0] // size)
                          if before is not None else after)
        lanes[layer.norm.label] = _fewest(transformer.width, beside * max(1, blocks - 1) // blocks)
        before = layer.fc2 if isinstance(layer, Mlp) else layer.proj
    return lanes


def _fewest(elements: int, cycles: int) -> int:
    """Return the fewest lanes that take a row's elements in the cycles that the array has."""
    return next((lanes for lanes in LANES if -(-elements // lanes) <= cycles), LANES[-1])


def _limit(linear: Linear, spec: AcceleratorSpec) -> int:
    words = -(-linear.weight.shape[0] // spec.size) * spec.size
    return max(1, spec.weight_words // 2 // words)


def _columns(linear: Linear, spec: AcceleratorSpec) -> list[int]:
    """Return how many columns of tiles are loaded at once."""
    tiles = -(-linear.weight.shape[1] // (spec.size * linear.tile_words(spec)))
    return [high - low for low, high in even_parts(tiles, _limit(linear, spec))]


def _power_of_two(value: int) -> int:
    return 1 << (value - 1).bit_length()
