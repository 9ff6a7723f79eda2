"""Calibration: what ranges a float network's values take on some images."""

import dataclasses
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np
import torch

from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.float_graph import BATCH, FloatGraph, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.observers import OBSERVERS, MagnitudeHistogram, round_scale

__all__ = ["Calibration", "calibrate"]

SAMPLE_ROWS = 512
"""Rows of a layer's input that are kept, evenly from the first batch of images."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Histograms of every value of a float network, and samples of what its layers read.

    Parameters
    ----------
    observer : name in `OBSERVERS` of the rule that turns a histogram into a range.
    histograms : by value name.
    samples : rows of the inputs of the layers that offer a choice, by value name.
    """

    observer: str
    histograms: Mapping[str, MagnitudeHistogram]
    samples: Mapping[str, np.ndarray]

    def scale(self, name: str, bits: int = 8) -> Fraction:
        """Return the scale of a symmetric signed code for a value."""
        steps = (1 << (bits - 1)) - 1
        return _named_scale(name, OBSERVERS[self.observer](self.histograms[name], steps) / steps)

    def scale_of_largest(self, names: list[str], bits: int, headroom: float) -> Fraction:
        """Return one scale at which `headroom` times the largest of all these values fits."""
        largest = max(self.histograms[name].largest for name in names)
        return _named_scale(names[0], largest * headroom / ((1 << (bits - 1)) - 1))


def calibrate(model: FloatModel, pixels: np.ndarray, observer: str,
              progress: Callable[[int], None] = lambda images: None) -> Calibration:
    """Run the float network on images and keep a histogram of each of its values.

    Parameters
    ----------
    model : the float network.
    pixels : calibration images, u8.
    observer : name in `OBSERVERS`.
    progress : called with the number of images done, batch by batch.
    """
    if observer not in OBSERVERS:
        raise UserError(f"observer must be one of {', '.join(OBSERVERS)}, not {observer!r}")
    if pixels.shape[1:] != model.input_shape:
        raise UserError(f"images of {model.name} must have shape {model.input_shape}, "
                        f"not {pixels.shape[1:]}")
    graph = FloatGraph(model)
    graph.check(pixels[:1])
    histograms: dict[str, MagnitudeHistogram] = {}
    samples: dict[str, np.ndarray] = {}
    read = {layer.source for layer in layers_of(model)}

    def observe(name: str, value: torch.Tensor) -> None:
        histograms.setdefault(name, MagnitudeHistogram()).update(value)
        if name in read and name not in samples:
            rows = value.reshape(-1, value.shape[-1])
            samples[name] = rows[::max(1, len(rows) // SAMPLE_ROWS)].double().numpy()

    for i in range(0, len(pixels), BATCH):
        graph.run(pixels[i:i + BATCH], observe)
        progress(len(pixels[i:i + BATCH]))
    return Calibration(observer=observer, histograms=histograms, samples=samples)


def _named_scale(name: str, scale: float) -> Fraction:
    try:
        return round_scale(scale)
    except UserError as error:
        raise UserError(f"calibration of {name}: {error}") from None
