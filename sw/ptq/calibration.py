"""Calibration: what ranges a float network's values take on some images."""

import dataclasses
from collections.abc import Callable, Hashable, Mapping
from fractions import Fraction
from typing import TypeVar

import numpy as np
import torch

from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.activation_search import ActivationSearch, LogitSearch
from vitrtl.sw.ptq.architectures.graph import IMAGE, Graph
from vitrtl.sw.ptq.architectures.operations import Average, Linear, Move
from vitrtl.sw.ptq.channel_codes import ChannelCodes, channel_codes, gelu_outputs
from vitrtl.sw.ptq.equalization import ChannelRange, equalized, observed_values
from vitrtl.sw.ptq.float_graph import BATCH, FloatGraph, layers_of
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.observers import OBSERVERS, MagnitudeHistogram, round_scale
from vitrtl.sw.ptq.precision import Precision
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.weight_codes import weight_codes, weight_scales

__all__ = ["Calibration", "calibrate", "calibration_work"]

T = TypeVar("T")

SAMPLE_ROWS = 512
"""Rows of a layer's input that are kept, evenly from the first batch of images."""
CORRECTION_IMAGES = 2 * BATCH
"""Images on which biases are corrected, at most."""
SEARCH_IMAGES = 16
"""Images, evenly from all, on which activation ranges are searched."""
LOGIT_SEARCH_IMAGES = 32
"""The same by what ranges do to the logits, which differs more from image to image."""
SEARCH_BATCH = 8
"""Images that are searched together."""
SEARCH_WORK = 8
"""Passes of the float network that the search on an image takes the time of, about."""
GRADIENT_ELEMENTS = 1 << 26
"""Elements of the gradients of images that are searched together, unless one image has more."""


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Histograms of every value of a float network, and samples of what its layers read.

    Parameters
    ----------
    scheme : what the network is calibrated for.
    model : the float network that is exported, whose values these are: that of the user, or an
        equal one whose values are easier to quantize.
    pixels : the first calibration images, to correct biases on.
    histograms : by value name.
    samples : rows of the inputs of the layers that offer a choice, by value name.
    moments : `E[x x^T]` over the rows that a linear layer reads, by the layer's name; empty
        unless the scheme needs them.
    means : mean of each channel of a linear layer's output over those images, by its name.
    limits : range of the values that were searched; the observer decides the others.
    codes : of the values whose channels have ranges of their own; empty unless the scheme has
        such.
    """

    scheme: Scheme
    model: FloatModel
    pixels: np.ndarray
    histograms: Mapping[str, MagnitudeHistogram]
    samples: Mapping[str, np.ndarray]
    moments: Mapping[str, np.ndarray]
    means: Mapping[str, np.ndarray]
    limits: Mapping[str, float]
    codes: Mapping[str, ChannelCodes]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_graph", FloatGraph(self.model).graph)
        object.__setattr__(self, "_found", {})

    def once(self, key: Hashable, find: Callable[[], T]) -> T:
        """Return what is found under a key, which is sought once.

        Networks of one calibration differ in the methods of some layers, and most of what it
        takes to make one is that of another.

        Parameters
        ----------
        key : all that the answer depends on, beside the calibration.
        find : called if the key is new.
        """
        if key not in self._found:
            self._found[key] = find()
        return self._found[key]

    def weights(self, name: str, weight: np.ndarray, codes: ChannelCodes | None = None
                ) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
        """Return the scale that the scheme wants for each of a layer's output channels.

        And a function from the scales that are taken to the codes. Both are found once, since
        neither depends on the methods of the network's other layers.

        Parameters
        ----------
        name : of the linear layer.
        weight : in float; with the factors of its input's channels, if they have such.
        codes : of the input's channels, if they have scales of their own.

        Shape
        -----
        `weight` and the codes (in, out), the scales (out,).
        """
        fmt = self.precision(name).weight_format
        read = (name, b"" if codes is None else codes.scales.tobytes())

        def moment() -> np.ndarray | None:
            of_input = self.moments.get(name)
            return of_input if codes is None or of_input is None else codes.moment(of_input)

        def round_at(scales: np.ndarray) -> np.ndarray:
            return self.once(("codes", *read, scales.tobytes()), lambda: weight_codes(
                weight, scales, fmt, self.scheme, moment()))

        return self.once(("scales", *read), lambda: weight_scales(
            weight, fmt, self.scheme, moment())), round_at

    def precision(self, name: str) -> Precision:
        """Return the bits of the linear layer or the value of that name."""
        return _precision(self.scheme, self._graph, name)

    def format(self, name: str) -> Format:
        """Return the format of a value's codes."""
        return self.precision(name).activation_format

    def scale(self, name: str) -> Fraction:
        """Return the scale of a symmetric signed code for a value."""
        return self.once(("scale", name), lambda: self._scale(name))

    def _scale(self, name: str) -> Fraction:
        steps = self.format(name).hi
        limit = self.limits.get(name)
        if limit is None:
            limit = OBSERVERS[self.scheme.observer](self.histograms[name], steps)
        return _named_scale(name, limit / steps)

    def scale_of_largest(self, names: list[str], bits: int, headroom: float) -> Fraction:
        """Return one scale at which `headroom` times the largest of all these values fits."""
        largest = max(self.histograms[name].largest for name in names)
        return _named_scale(names[0], largest * headroom / ((1 << (bits - 1)) - 1))


def calibrate(model: FloatModel, pixels: np.ndarray, scheme: Scheme | None = None,
              progress: Callable[[int], None] = lambda images: None) -> Calibration:
    """Run the float network on images and keep what its quantization needs to know.

    Parameters
    ----------
    model : the float network.
    pixels : calibration images, u8.
    scheme : what to calibrate for; the default one if not given.
    progress : called with the number of images done, batch by batch; `calibration_work` tells how
        many that are in all.
    """
    scheme = scheme or Scheme()
    if pixels.shape[1:] != model.input_shape:
        raise UserError(f"images of {model.name} must have shape {model.input_shape}, "
                        f"not {pixels.shape[1:]}")
    FloatGraph(model).check(pixels[:1])
    if scheme.equalizes:
        model = equalized(model, _channel_ranges(model, pixels, progress), scheme)
    graph = FloatGraph(model)
    read = {layer.source for layer in layers_of(model)}
    linears = {operation.name: operation for operation in graph.graph.of(Linear)}
    layers_by_input: dict[str, list[str]] = {}
    for operation in linears.values():
        layers_by_input.setdefault(operation.inputs[0], []).append(operation.name)

    folded = gelu_outputs(model) if scheme.uses("gelu_fold") else {}
    histograms: dict[str, MagnitudeHistogram] = {}
    samples: dict[str, np.ndarray] = {}
    moments: dict[str, torch.Tensor] = {}
    rows_read: dict[str, int] = {}
    ranges: dict[str, ChannelRange] = {}

    def observe(name: str, value: torch.Tensor) -> None:
        histograms.setdefault(name, MagnitudeHistogram()).update(value)
        if name in read and name not in samples:
            rows = value.reshape(-1, value.shape[-1])
            samples[name] = rows[::max(1, len(rows) // SAMPLE_ROWS)].double().numpy()
        if (name in linears and i < CORRECTION_IMAGES) or name in folded:
            ranges.setdefault(name, ChannelRange()).update(value)
        if scheme.needs_moments and name in layers_by_input:
            rows = value.reshape(-1, value.shape[-1]).double()
            moment = rows.T @ rows
            moments[name] = moments[name] + moment if name in moments else moment
            rows_read[name] = rows_read.get(name, 0) + len(rows)

    for i in range(0, len(pixels), BATCH):
        graph.run(pixels[i:i + BATCH], observe)
        progress(len(pixels[i:i + BATCH]))
    limits = {}
    if scheme.searches_ranges:
        limits = _searched(graph, pixels, scheme, histograms, progress)
    return Calibration(
        scheme=scheme, model=model, pixels=pixels[:CORRECTION_IMAGES], histograms=histograms,
        samples=samples,
        moments={layer: moments[name].numpy() / rows_read[name]
                 for name in moments for layer in layers_by_input[name]},
        means={name: ranges[name].mean for name in linears}, limits=limits,
        codes=channel_codes(model, ranges, scheme.precision) if folded else {})


def calibration_work(scheme: Scheme, count: int) -> int:
    """Return how many images `calibrate` reports to have done for `count` calibration images."""
    searched = _search_images(scheme, count) * SEARCH_WORK if scheme.searches_ranges else 0
    return count * (1 + scheme.equalizes) + searched


def _search_images(scheme: Scheme, count: int) -> int:
    """Return on how many of the calibration images ranges are searched."""
    return min(LOGIT_SEARCH_IMAGES if scheme.uses("logit_search") else SEARCH_IMAGES, count)


def _channel_ranges(model: FloatModel, pixels: np.ndarray,
                    progress: Callable[[int], None]) -> dict[str, ChannelRange]:
    wanted = observed_values(model)
    ranges = {name: ChannelRange() for name in wanted}

    def observe(name: str, value: torch.Tensor) -> None:
        if name in wanted:
            ranges[name].update(value)

    graph = FloatGraph(model)
    for i in range(0, len(pixels), BATCH):
        graph.run(pixels[i:i + BATCH], observe)
        progress(len(pixels[i:i + BATCH]))
    return ranges


def _searched(graph: FloatGraph, pixels: np.ndarray, scheme: Scheme,
              histograms: Mapping[str, MagnitudeHistogram],
              progress: Callable[[int], None]) -> dict[str, float]:
    """Return the searched ranges."""
    largest = {name: histogram.largest for name, histogram in histograms.items()}
    by_logits, size = scheme.uses("logit_search"), SEARCH_BATCH

    def bits(name: str) -> int:
        return _precision(scheme, graph.graph, name).activation_bits

    if by_logits:
        search = LogitSearch(graph, largest, bits)
        size = min(size, max(1, GRADIENT_ELEMENTS // search.gradient_elements))
    else:
        search = ActivationSearch(graph.graph, largest, bits)
    count = _search_images(scheme, len(pixels))
    chosen = pixels[np.linspace(0, len(pixels) - 1, count).astype(int)]
    for i in range(0, count, size):
        batch = chosen[i:i + size]
        if by_logits:
            search.prepare(batch)
        with torch.inference_mode():
            graph.logits(search, batch)
        progress(len(batch) * SEARCH_WORK)
    return search.limits


def _precision(scheme: Scheme, graph: Graph, name: str) -> Precision:
    """Return the bits of a linear layer or a value: the edges are what touches image or logits."""
    if name == graph.output or graph.operation(name).inputs == (IMAGE,):
        return scheme.edges
    behind = list(graph.readers(name))
    while behind:
        reader = behind.pop()
        if reader.name == graph.output:
            return scheme.edges
        if isinstance(reader, (Average, Move)):
            behind += graph.readers(reader.name)
    return scheme.precision


def _named_scale(name: str, scale: float) -> Fraction:
    try:
        return round_scale(scale)
    except UserError as error:
        raise UserError(f"calibration of {name}: {error}") from None
