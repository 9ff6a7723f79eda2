"""Operations that a float vision transformer is described by.

An operation names the value that it computes and the values that it reads, and holds the timm
modules whose parameters it uses. What it does to a value is the interpreter's affair.
"""

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import nn

__all__ = ["Add", "Average", "Concat", "Constant", "Gelu", "Linear", "Mask", "Move", "Norm",
           "Operation", "Pad", "PatchEmbed", "PositionBias", "Product", "Softmax"]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation.

    Parameters
    ----------
    name : of the value that it computes.
    inputs : names of the values that it reads.
    """

    method: ClassVar[str]
    """Name of the interpreter's method."""

    name: str
    inputs: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PatchEmbed(Operation):
    """Image to one token per patch, row by row: a convolution whose stride is its size.

    Parameters
    ----------
    module : with the weights.

    Shape
    -----
    (channels, height, width) to (tokens, width).
    """

    method = "patch_embed"

    module: nn.Conv2d


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Constant(Operation):
    """A parameter that is added to a value or put beside it; it reads nothing.

    Parameters
    ----------
    parameter : with a batch axis of one.
    """

    method = "constant"

    parameter: nn.Parameter


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Linear(Operation):
    """Linear layer on the last axis.

    Parameters
    ----------
    modules : with the weights; of several, each takes its share of the input channels in turn,
        and their results are added.
    gain : factor of each output channel, or of all: the LayerScale that follows.
    parts : names of the values that equal shares of the output channels become, where each has a
        range of its own (queries, keys and values); none for a single value.
    """

    method = "linear"

    modules: tuple[nn.Linear, ...]
    gain: torch.Tensor | None = None
    parts: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Output channels."""
        return self.modules[0].out_features

    def parameters(self, dtype: torch.dtype | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return weight and bias with the gain multiplied in; gradients pass.

        Shape
        -----
        (out, in) and (out,).
        """
        weight = torch.cat([module.weight.to(dtype) for module in self.modules], dim=1)
        biases = [module.bias.to(dtype) for module in self.modules if module.bias is not None]
        bias = sum(biases, start=weight.new_zeros(len(weight)))
        if self.gain is None:
            return weight, bias
        gain = self.gain.to(dtype).expand(len(weight))
        return weight * gain[:, None], bias * gain


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Norm(Operation):
    """LayerNorm of the last axis.

    Parameters
    ----------
    module : with gamma and beta.
    """

    method = "norm"

    module: nn.LayerNorm


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Softmax(Operation):
    """Softmax of the last axis."""

    method = "softmax"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Gelu(Operation):
    """GELU of each element, the exact one."""

    method = "gelu"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Product(Operation):
    """Matrix product of two values, times a factor.

    Parameters
    ----------
    factor : such as `1 / sqrt(head width)`.
    transposed : whether the second value's last two axes are swapped first.
    """

    method = "product"

    factor: float = 1.0
    transposed: bool = False


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class PositionBias(Operation):
    """Attention scores plus what their head has learnt for the distance of query and key.

    Parameters
    ----------
    table : (distances, heads), the learnt numbers.
    index : (queries, keys), which of the distances.
    """

    method = "position_bias"

    table: nn.Parameter
    index: torch.Tensor

    def bias(self) -> torch.Tensor:
        """Return what is added; gradients pass.  Shape: (heads, queries, keys)."""
        return self.table[self.index.flatten()].reshape(*self.index.shape, -1).permute(2, 0, 1)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Mask(Operation):
    """Attention scores of which some must not count.

    Parameters
    ----------
    allowed : (windows, queries, keys), which of them count.
    """

    method = "mask"

    allowed: torch.Tensor


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Add(Operation):
    """Sum of two values of one shape: what a stream gains."""

    method = "add"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Concat(Operation):
    """Tokens of the second value, a constant, before those of the first."""

    method = "concat"


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Move(Operation):
    """Elements in another order, or some of them.

    Parameters
    ----------
    operation : name in `vitrtl.sw.structure.MOVES`.
    attributes : integers that it needs.
    """

    method = "move"

    operation: str
    attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Pad(Operation):
    """Zeros after the last row and the last column of a grid of tokens.

    Parameters
    ----------
    rows, columns : of the result.
    """

    method = "pad"

    rows: int
    columns: int


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Average(Operation):
    """Mean of all tokens, as one token."""

    method = "average"
