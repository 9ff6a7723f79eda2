"""Codes of GELU's output with a scale and a centre for each channel.

GELU gives values from -0.17 up, so that symmetric codes of one scale leave half of themselves
unused, and in most channels more. The requantizer behind the unit has a bias and a factor for each
channel, and the linear layer behind that takes back what they change: factors in its weights,
centres in its bias. LayerNorm needs none of this, since its own gamma and beta do it.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
import torch

from vitrtl.sw.ptq.architectures.families import describe
from vitrtl.sw.ptq.architectures.operations import Gelu, Linear
from vitrtl.sw.ptq.equalization import ChannelRange, fold_factors
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.precision import Precision

__all__ = ["ChannelCodes", "channel_codes", "gelu_outputs", "input_factors"]


@dataclasses.dataclass(frozen=True, eq=False)
class ChannelCodes:
    """How the channels of a value are coded: `code = (value - center) / scales`.

    Parameters
    ----------
    mean : of each channel over the calibration images.
    center : what code zero stands for.
    scales : what a step of the code stands for.

    Shape
    -----
    (channels,) each.
    """

    mean: np.ndarray
    center: np.ndarray
    scales: np.ndarray

    @property
    def factors(self) -> np.ndarray:
        """What the rows of the layer behind are multiplied with: scales over the largest."""
        return input_factors(self.scales)

    def moment(self, moment: np.ndarray) -> np.ndarray:
        """Return `E[y y^T]` of what the folded weights meet, y the codes times the largest scale.

        Parameters
        ----------
        moment : `E[x x^T]` of the value.

        Shape
        -----
        (channels, channels) both.
        """
        crossed = np.outer(self.mean, self.center)
        centered = moment - crossed - crossed.T + np.outer(self.center, self.center)
        return centered / np.outer(self.factors, self.factors)


def input_factors(scales: np.ndarray) -> np.ndarray:
    """Return what a linear layer's rows are multiplied with, so that its input has one scale.

    Shape
    -----
    (channels,), or (1,) where there is one scale anyway.
    """
    return scales / scales.max()


def gelu_outputs(model: FloatModel) -> dict[str, str]:
    """Return the linear layer behind each GELU that is read by nothing else, by GELU's name."""
    graph = describe(model.module)
    readers = {gelu.name: graph.readers(gelu.name) for gelu in graph.of(Gelu)}
    return {name: of_gelu[0].name for name, of_gelu in readers.items()
            if len(of_gelu) == 1 and isinstance(of_gelu[0], Linear)}


def channel_codes(model: FloatModel, ranges: Mapping[str, ChannelRange],
                  precision: Precision) -> dict[str, ChannelCodes]:
    """Return the codes of each GELU's output, by its name.

    The centre of a channel is that of its range, and how far its scale follows its range
    `fold_factors` decides.

    Parameters
    ----------
    model : the float network.
    ranges : of `gelu_outputs(model)`.
    precision : of the layers behind.
    """
    graph = describe(model.module)
    found = {}
    for name, reader in gelu_outputs(model).items():
        seen = ranges[name]
        center = (seen.high + seen.low) / 2
        reach = seen.reach(center)
        weight = graph.operation(reader).parameters(torch.float64)[0].detach().numpy().T
        factors = fold_factors(reach, seen.square(center), weight, precision.weight_bits,
                               precision.activation_bits)
        step = float((reach / factors).max()) / precision.activation_format.hi
        if step:
            found[name] = ChannelCodes(seen.mean, center, factors * step)
    return found
