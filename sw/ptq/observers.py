"""Observers: they watch float values during calibration and give the range to quantize."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import torch

from vitrtl.sw.errors import UserError
from vitrtl.sw.fast.float_kernels import add_magnitudes

__all__ = ["OBSERVERS", "MagnitudeHistogram", "round_scale"]

BINS = 4096
SCALE_BITS = 12
PERCENTILE = 0.9999


class MagnitudeHistogram:
    """Histogram of absolute values whose range doubles as larger values come."""

    def __init__(self) -> None:
        self.largest = 0.0
        self._limit = 0.0
        self._counts = np.zeros(BINS, np.int64)

    def update(self, values: torch.Tensor) -> None:
        """Count the elements of a batch."""
        values = values.detach()
        largest = float(torch.stack(values.aminmax()).abs().max())
        if not np.isfinite(largest):
            raise UserError("activations must be finite numbers, not NaN or infinite")
        self.largest = max(self.largest, largest)
        if not self._limit:
            # A power of two, so that the bins do not depend on which batch came first.
            self._limit = 2.0 ** np.ceil(np.log2(largest)) if largest else 0.0
            if not self._limit:
                return
        while self._limit < largest:
            pairs = self._counts.reshape(-1, 2).sum(axis=1)
            self._counts = np.concatenate([pairs, np.zeros(BINS - BINS // 2, np.int64)])
            self._limit *= 2
        add_magnitudes(values.flatten().numpy(), BINS / self._limit, self._counts)

    def percentile(self, share: float = PERCENTILE) -> float:
        """Return the magnitude that `share` of the elements do not exceed."""
        below = np.cumsum(self._counts)
        place = int(np.searchsorted(below, share * below[-1]))
        return min((place + 1) * self._limit / BINS, self.largest)

    def least_square(self, steps: int) -> float:
        """Return the limit that makes the mean squared error of `steps` positive codes least."""
        centers = (np.arange(BINS) + 0.5) * self._limit / BINS
        used = self._counts > 0
        centers, counts = centers[used], self._counts[used]
        limits = self.largest * np.linspace(0.2, 1.0, 81)
        errors = []
        for limit in limits:
            scale = limit / steps
            rounded = np.minimum(np.rint(centers / scale), steps) * scale
            errors.append(float((counts * (centers - rounded) ** 2).sum()))
        return float(limits[int(np.argmin(errors))])


OBSERVERS: dict[str, Callable[[MagnitudeHistogram, int], float]] = {
    "minmax": lambda histogram, steps: histogram.largest,
    "percentile": lambda histogram, steps: histogram.percentile(),
    "mse": lambda histogram, steps: histogram.least_square(steps),
}
"""Observer name to `limit(histogram, steps)`, the magnitude that the largest code stands for."""


def round_scale(scale: float) -> Fraction:
    """Return a scale not below `scale` and at most 1/2048 above it, with a 12-bit numerator.

    Short scales make short provenance, and what differs in the last places from one machine's
    float arithmetic to another's mostly disappears.
    """
    if not np.isfinite(scale) or scale <= 0:
        raise UserError(f"scale must be a finite positive number, not {scale}")
    mantissa, exponent = np.frexp(scale)
    numerator = int(np.ceil(mantissa * (1 << SCALE_BITS)))
    return Fraction(numerator) * Fraction(2) ** (int(exponent) - SCALE_BITS)
