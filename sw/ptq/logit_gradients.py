"""Gradients of a float network's logits by the results of some of its layers."""

from collections.abc import Sequence

import numpy as np
import torch

from vitrtl.sw.ptq.architectures.operations import Operation
from vitrtl.sw.ptq.float_graph import FloatGraph, FloatInterpreter

__all__ = ["LogitGradients"]

EACH = 16
"""Up to so many classes, every logit has its gradient."""

PROBES = 4
"""Random sums of logits whose gradients stand for those of more classes."""

SEED = 0


class LogitGradients:
    """What an error of a layer's result does to the logits, to first order.

    For an error e of one image, `sum over probes of (gradient . e)**2` is the squared error of a
    logit, the mean over all classes. With more than `EACH` classes it is an estimate without bias:
    for random signs v, the mean of `(v . J e)**2` is `|J e|**2` (Hutchinson).

    Parameters
    ----------
    graph : the float network.
    layers : names of the values.
    """

    def __init__(self, graph: FloatGraph, layers: Sequence[str]) -> None:
        self.graph = graph
        self.layers = frozenset(layers)
        self._signs = torch.Generator().manual_seed(SEED)

    def of(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Return the gradients for a batch of u8 images.  Shape: (probes, images, ...)."""
        keeper = _Keeper(self.layers)
        with torch.enable_grad():
            logits = self.graph.logits(keeper, pixels)
            probes = self._draw(logits.shape[-1])
            found = torch.autograd.grad(
                logits, list(keeper.kept.values()), is_grads_batched=True,
                grad_outputs=probes[:, None].expand(-1, *logits.shape))
        return dict(zip(keeper.kept, (gradient.numpy() for gradient in found), strict=True))

    @staticmethod
    def probes(classes: int) -> int:
        """Return how many gradients of each value there are."""
        return classes if classes <= EACH else PROBES

    def _draw(self, classes: int) -> torch.Tensor:
        """Return weights of the logits, each row scaled as the class says."""
        if classes <= EACH:
            return torch.eye(classes) / classes ** 0.5
        signs = torch.randint(2, (PROBES, classes), generator=self._signs) * 2.0 - 1
        return signs / (PROBES * classes) ** 0.5


class _Keeper(FloatInterpreter):
    """Keeps the values of some layers where the gradients can find them."""

    def __init__(self, layers: frozenset[str]) -> None:
        self.layers = layers
        self.kept: dict[str, torch.Tensor] = {}

    def seen(self, operation: Operation, value: torch.Tensor) -> torch.Tensor:
        if operation.name in self.layers:
            # The first one is where the gradients end.
            value = value if self.kept else value.detach().requires_grad_()
            self.kept[operation.name] = value
        return value
