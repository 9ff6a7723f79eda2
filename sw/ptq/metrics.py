"""Measures of a quantized value's error, and the metric that weighs error against cost."""

from collections.abc import Sequence

import numpy as np

__all__ = ["NoiseMeter", "normalized", "omega", "softplus"]

LARGEST_RATIO = 1e30
"""Signal over noise of an exact result, so that every measure stays a finite number: 300 dB."""


class NoiseMeter:
    """Signal and noise power of a quantized value, gathered batch by batch.

    The signal is the float value `x`, the noise `x - q`, `q` being what the codes stand for.
    """

    def __init__(self) -> None:
        self.images = 0
        self._elements = 0
        self._signal = 0.0
        self._noise = 0.0
        self._ratios = 0.0

    def update(self, x: np.ndarray, q: np.ndarray) -> None:
        """Count a batch.  Shape: (images, ...), the same for both."""
        if x.shape != q.shape:
            raise ValueError(f"both values must have one shape, not {x.shape} and {q.shape}")
        axes = tuple(range(1, x.ndim))
        signal = np.square(x, dtype=np.float64).sum(axis=axes)
        noise = np.square(np.subtract(x, q, dtype=np.float64)).sum(axis=axes)
        self.images += len(x)
        self._elements += x.size
        self._signal += float(signal.sum())
        self._noise += float(noise.sum())
        self._ratios += float(_ratio(signal, noise).sum())

    @property
    def asqnr(self) -> float:
        """Average SQNR of the Mixed paper, eq. 10: `20 log10 mean_i(E[x_i**2] / E[(x_i-q_i)**2])`.

        `i` counts images. As published it takes 20 logarithms of a ratio of powers, so its
        numbers are twice the usual decibels.
        """
        return 20 * float(np.log10(self._ratios / self.images))

    @property
    def sqnr(self) -> float:
        """Ratio of the powers over all images, in decibels: Q of IPTQ-ViT."""
        return 10 * float(np.log10(_ratio(self._signal, self._noise)))

    @property
    def perturbation_sum(self) -> float:
        """Squared error of one image, summed over its elements: P of IPTQ-ViT, `|x - q|**2`."""
        return self._noise / self.images

    @property
    def perturbation_mean(self) -> float:
        """Squared error of one element."""
        return self._noise / self._elements


def softplus(x: float) -> float:
    """Return `ln(1 + e**x)`."""
    return float(np.logaddexp(0, x))


def omega(sqnr: float, perturbation: float, cost: float) -> float:
    """Unified metric of IPTQ-ViT, eq. 16: `3 / (1/N(Q) + N(P) + N(C))`, N the softplus.

    The more the better. Softplus of a number far above one is the number itself, so raw
    operation counts or areas would leave nothing but the cost; P and C come `normalized`.

    Parameters
    ----------
    sqnr : Q, decibels.
    perturbation : P, 0..1.
    cost : C, 0..1.
    """
    return 3 / (1 / softplus(sqnr) + softplus(perturbation) + softplus(cost))


def normalized(values: Sequence[float]) -> list[float]:
    """Divide non-negative numbers by the largest of them; all zero stay so.

    A division keeps the ratios: candidates that cost nearly the same stay nearly the same, which
    stretching them over 0..1 would not.
    """
    largest = max(values)
    return [value / largest if largest else 0.0 for value in values]


def _ratio(signal: np.ndarray | float, noise: np.ndarray | float) -> np.ndarray:
    """Return signal over noise within `1 / LARGEST_RATIO` and `LARGEST_RATIO`."""
    smallest = np.maximum(signal / LARGEST_RATIO, np.finfo(np.float64).tiny)
    return np.maximum(signal / np.maximum(noise, smallest), 1 / LARGEST_RATIO)
