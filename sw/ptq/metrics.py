"""Measures of a quantized value's error, and the metric that weighs error against cost."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["NORMALIZATIONS", "ErrorMeter", "NoiseMeter", "Normalization", "omega", "softplus"]

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


class ErrorMeter:
    """Error of logits, gathered batch by batch."""

    def __init__(self) -> None:
        self._count = 0
        self._sum = 0.0
        self._square = 0.0
        self._error = 0.0

    def update(self, wanted: np.ndarray, found: np.ndarray) -> None:
        """Count a batch of float logits and of those that stand for them."""
        self._count += wanted.size
        self._sum += float(wanted.sum())
        self._square += float(np.square(wanted, dtype=np.float64).sum())
        self._error += float(np.square(found - wanted, dtype=np.float64).sum())

    @property
    def variance(self) -> float:
        """Of the float logits."""
        return self._square / self._count - (self._sum / self._count) ** 2

    @property
    def relative_error(self) -> float:
        """Root mean square of the error, over the deviation of the float logits."""
        return float(np.sqrt(self._error / self._count / self.variance))


def softplus(x: float) -> float:
    """Return `ln(1 + e**x)`."""
    return float(np.logaddexp(0, x))


def omega(sqnr: float, perturbation: float, cost: float) -> float:
    """Unified metric of IPTQ-ViT, eq. 16: `3 / (1/N(Q) + N(P) + N(C))`, N the softplus.

    The more the better. Softplus of a number far above one is the number itself, so raw
    operation counts or areas would leave nothing but the cost; P and C come normalized.

    Parameters
    ----------
    sqnr : Q, decibels.
    perturbation : P, 0..1.
    cost : C, 0..1.
    """
    return 3 / (1 / softplus(sqnr) + softplus(perturbation) + softplus(cost))


@dataclasses.dataclass(frozen=True, slots=True)
class Normalization:
    """A way to bring numbers of different sizes near one.

    Parameters
    ----------
    doc : what is done, for people.
    rule : of some non-negative numbers that are normalized together.
    together : whether all numbers are, instead of those of each layer.
    """

    doc: str
    rule: Callable[[np.ndarray], np.ndarray]
    together: bool = False

    def apply(self, values: Sequence[float], layers: Sequence[str]) -> list[float]:
        """Return the numbers normalized; `layers` says whose each is."""
        numbers, groups = np.array(values, float), np.array(layers)
        result = np.empty_like(numbers)
        for group in dict.fromkeys([""] if self.together else layers):
            of_group = np.full(len(groups), True) if self.together else groups == group
            result[of_group] = self.rule(numbers[of_group])
        return result.tolist()


def _over(values: np.ndarray, by: float) -> np.ndarray:
    """Divide; all zero stay so."""
    return values / by if by else np.zeros_like(values)


NORMALIZATIONS = {
    "largest": Normalization("over the largest of the layer", lambda v: _over(v, v.max())),
    "sum": Normalization("over the sum of the layer", lambda v: _over(v, v.sum())),
    "range": Normalization("least of the layer 0, largest 1",
                           lambda v: _over(v - v.min(), v.max() - v.min())),
    "smallest": Normalization("over the smallest of the layer that is not zero",
                              lambda v: _over(v, v[v > 0].min(initial=np.inf))),
    "global": Normalization("over the largest of all layers", lambda v: _over(v, v.max()), True),
    "logarithm": Normalization("ln(1 + x), not normalized", np.log1p),
    "none": Normalization("not normalized", lambda v: v),
}
"""What IPTQ-ViT leaves open: how P and C are made comparable with the other terms of Omega."""


def _ratio(signal: np.ndarray | float, noise: np.ndarray | float) -> np.ndarray:
    """Return signal over noise within `1 / LARGEST_RATIO` and `LARGEST_RATIO`."""
    smallest = np.maximum(signal / LARGEST_RATIO, np.finfo(np.float64).tiny)
    return np.maximum(signal / np.maximum(noise, smallest), 1 / LARGEST_RATIO)
