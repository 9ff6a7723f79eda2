"""Float networks made easier to quantize, their function unchanged.

Each change moves a factor or an offset from a value's channels into the parameters before and
behind it. The network computes the same logits; its values have fewer outliers and lie around
zero, so that one scale for all channels wastes fewer codes. Nothing is left to do at run time.
"""

import copy
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from vitrtl.sw.fast.float_kernels import add_channels
from vitrtl.sw.ptq.architectures.families import describe
from vitrtl.sw.ptq.architectures.graph import Graph, Shape
from vitrtl.sw.ptq.architectures.operations import (
    Average,
    Linear,
    Move,
    Norm,
    Product,
    Softmax,
)
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.scheme import Scheme

__all__ = ["ChannelRange", "equalized", "fold_factors", "observed_values"]

STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Candidate powers of the ranges' ratio that is folded away."""
SMALLEST_RANGE = 1 / 64
"""Smallest range of a channel, as a share of the median: a silent channel is not blown up."""

class ChannelRange:
    """Mean, mean square and extremes of each channel of a value, gathered batch by batch."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: np.ndarray | float = 0.0
        self._squares: np.ndarray | float = 0.0
        self.low: np.ndarray | float = np.inf
        self.high: np.ndarray | float = -np.inf

    def update(self, value: torch.Tensor) -> None:
        """Count a batch.  Shape: (..., channels)."""
        rows = value.detach().reshape(-1, value.shape[-1]).contiguous().numpy()
        sums, squares = np.zeros((2, rows.shape[1]))
        low, high = np.full_like(sums, np.inf), np.full_like(sums, -np.inf)
        add_channels(rows, sums, squares, low, high)
        self.count += len(rows)
        self._sum = self._sum + sums
        self._squares = self._squares + squares
        self.low = np.minimum(self.low, low)
        self.high = np.maximum(self.high, high)

    @property
    def mean(self) -> np.ndarray:
        """Mean of each channel."""
        return self._sum / self.count

    def reach(self, center: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the largest distance of each channel from its centre."""
        return np.maximum(self.high - center, center - self.low)

    def square(self, center: np.ndarray | float = 0.0) -> np.ndarray:
        """Return the mean squared distance of each channel from its centre."""
        return self._squares / self.count - 2 * center * self.mean + np.square(center)


def observed_values(model: FloatModel) -> set[str]:
    """Return the values whose `ChannelRange` `equalized` needs."""
    graph = describe(model.module)
    return {operation.name for operation in graph.operations
            if isinstance(operation, Norm) or isinstance(operation, Linear) and operation.parts}


def fold_factors(reach: np.ndarray, square: np.ndarray, weight: np.ndarray, weight_bits: int,
                 activation_bits: int) -> np.ndarray:
    """Return what to divide a value's channels by, and multiply its readers' weights with.

    A factor in proportion to a channel's range makes the activation's codes as fine as they can
    be. The weights of that channel then decide the scale of all others, so some power of the
    ratio between none and all may be better. Each is judged by the squared error that both
    roundings, taken as uniform noise, make in the layer's output.

    Parameters
    ----------
    reach : largest magnitude of each channel.
    square : mean square of each channel.
    weight : of all layers that read the value.
    weight_bits, activation_bits : of the codes.

    Shape
    -----
    `reach`, `square` and the factors (channels,), `weight` (channels, out).

    Source
    ------
    Li et al., RepQ-ViT, arXiv:2212.08254, section 3.2, which folds all; the power is that of
    SmoothQuant, arXiv:2211.10438, eq. 4.
    """
    median = float(np.median(reach))
    if not median:
        return np.ones_like(reach)
    relative = np.maximum(reach / median, SMALLEST_RANGE)
    rows = np.square(weight).sum(axis=1)
    best = (np.inf, np.ones_like(reach))
    for strength in STRENGTHS:
        factor = relative**strength
        step = (reach / factor).max() / ((1 << (activation_bits - 1)) - 1)
        noise = float((np.square(factor * step) * rows).sum())
        steps = np.abs(weight * factor[:, None]).max(axis=0) / ((1 << (weight_bits - 1)) - 1)
        noise += float((square / np.square(factor)).sum() * np.square(steps).sum())
        best = min(best, (noise, factor), key=lambda candidate: candidate[0])
    return best[1]


def equalized(model: FloatModel, ranges: Mapping[str, ChannelRange],
              scheme: Scheme) -> FloatModel:
    """Return a network of the same function whose values are easier to quantize.

    Parameters
    ----------
    model : the float network, left as it is.
    ranges : of `observed_values(model)`.
    scheme : which techniques, and bits that decide how much is folded.
    """
    model = dataclasses.replace(model, module=copy.deepcopy(model.module))
    graph = describe(model.module)
    shapes = graph.shapes(model.input_shape)
    with torch.no_grad():
        for operation in graph.operations:
            if isinstance(operation, Norm):
                _equalize_norm(graph, shapes, operation, ranges[operation.name], scheme)
            elif isinstance(operation, Linear) and operation.parts:
                _equalize_attention(graph, operation, ranges[operation.name], scheme)
    return model


def _equalize_norm(graph: Graph, shapes: Mapping[str, Shape], norm: Norm, seen: ChannelRange,
                   scheme: Scheme) -> None:
    """Centre a LayerNorm's output and fold its channels' ranges into the layers that read it."""
    linears = _linear_readers(graph, shapes, norm.name)
    if not linears:
        return
    center = seen.mean if scheme.uses("zero_points") else np.zeros_like(seen.mean)
    factor = np.ones_like(center)
    if scheme.uses("layernorm_fold"):
        edge = any(linear.name == graph.output for linear in linears)
        precision = scheme.edges if edge else scheme.precision
        weight = np.concatenate([_weight(linear) for linear in linears]).T
        factor = fold_factors(seen.reach(center), seen.square(center), weight,
                              precision.weight_bits, precision.activation_bits)
    for linear in linears:
        _shift_input(linear, center)
        _scale_input(linear, factor)
    norm.module.weight /= _like(factor, norm.module.weight)
    norm.module.bias.copy_(_like((_array(norm.module.bias) - center) / factor, norm.module.bias))


def _equalize_attention(graph: Graph, linear: Linear, seen: ChannelRange,
                        scheme: Scheme) -> None:
    """Balance queries and keys, centre keys, centre and fold values.

    A constant that all keys have adds the same to all scores of a row, which the softmax does not
    feel; one that all values have passes the attention as it is, since its weights sum to one.
    """
    projection = _attention(graph, linear)
    if projection is None:
        return
    share = linear.width // 3
    query, key, value = (slice(i * share, (i + 1) * share) for i in range(3))
    (module,) = linear.modules
    center = np.zeros(linear.width)
    if scheme.uses("zero_points"):
        center[share:] = seen.mean[share:]
        _bias(module).sub_(_like(center, module.weight))
        _shift_input(projection, center[value])
    if scheme.uses("attention_fold"):
        reach = seen.reach(center)
        floor = np.maximum(reach, SMALLEST_RANGE * np.median(reach))
        factor = np.ones(linear.width)
        factor[query] = np.sqrt(floor[query] / floor[key])
        factor[key] = 1 / factor[query]
        precision = scheme.precision
        factor[value] = fold_factors(reach[value], seen.square(center)[value],
                                     _weight(projection).T, precision.weight_bits,
                                     precision.activation_bits)
        module.weight /= _like(factor, module.weight)[:, None]
        _bias(module).div_(_like(factor, module.weight))
        _scale_input(projection, factor[value])


def _linear_readers(graph: Graph, shapes: Mapping[str, Shape], name: str) -> list[Linear]:
    """Return the linear layers that read a value's channels; none if anything else does."""
    found: list[Linear] = []
    for reader in graph.readers(name):
        if isinstance(reader, Linear):
            found.append(reader)
        elif (isinstance(reader, (Average, Move))
              and shapes[reader.name][-1] == shapes[name][-1]):
            behind = _linear_readers(graph, shapes, reader.name)
            if not behind:
                return []
            found += behind
        else:
            return []
    return found


def _attention(graph: Graph, linear: Linear) -> Linear | None:
    """Return the projection behind the attention that a joint layer feeds, if it is the usual one.

    That is: three parts; the scores' product of the first two; a softmax; its product with the
    third; and one linear layer that alone reads the result.
    """
    if len(linear.parts) != 3 or len(linear.modules) != 1:
        return None
    readers = [graph.readers(part) for part in linear.parts]
    if any(len(of_part) != 1 or not isinstance(of_part[0], Product) for of_part in readers):
        return None
    scores, also, context = (of_part[0] for of_part in readers)
    if (scores is not also or not scores.transposed or scores.inputs != linear.parts[:2]
            or context.inputs[1] != linear.parts[2]
            or not isinstance(graph.operation(context.inputs[0]), Softmax)):
        return None
    behind: list = graph.readers(context.name)
    while len(behind) == 1 and isinstance(behind[0], Move):
        behind = graph.readers(behind[0].name)
    if len(behind) != 1 or not isinstance(behind[0], Linear) or len(behind[0].modules) != 1:
        return None
    return behind[0]


def _weight(linear: Linear) -> np.ndarray:
    """Return the weight with its gain.  Shape: (out, in)."""
    return _array(linear.parameters(torch.float64)[0])


def _shift_input(linear: Linear, center: np.ndarray) -> None:
    """Let a layer add what its input lacks from now on."""
    for module, part in zip(linear.modules, np.split(center, len(linear.modules)), strict=True):
        bias = _array(_bias(module)) + _array(module.weight) @ part
        _bias(module).copy_(_like(bias, module.weight))


def _scale_input(linear: Linear, factor: np.ndarray) -> None:
    """Let a layer multiply what its input is divided by from now on."""
    for module, part in zip(linear.modules, np.split(factor, len(linear.modules)), strict=True):
        module.weight *= _like(part, module.weight)


def _bias(module: nn.Linear) -> torch.Tensor:
    """Return the bias of a layer, made first where it has none."""
    if module.bias is None:
        module.bias = nn.Parameter(module.weight.new_zeros(module.out_features))
    return module.bias


def _like(values: np.ndarray | Sequence[float], parameter: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(values, dtype=parameter.dtype)


def _array(parameter: torch.Tensor) -> np.ndarray:
    return parameter.detach().double().numpy()
