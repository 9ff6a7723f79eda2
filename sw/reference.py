"""The operators in float64, and what codes stand for: what the integer methods approximate."""

import numpy as np
from scipy.special import erf

from vitrtl.sw.golden.log2_code import FRACTION_BITS, log2_value

__all__ = ["REFERENCES", "gelu", "layernorm", "real", "requantize", "softmax"]


def softmax(x: np.ndarray) -> np.ndarray:
    """Softmax along the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def gelu(x: np.ndarray) -> np.ndarray:
    """GELU with the exact error function."""
    return x / 2 * (1 + erf(x / np.sqrt(2)))


def layernorm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """LayerNorm along the last axis, without the small constant under the root.

    A row of equal elements gives `beta`.
    """
    y = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((y * y).mean(axis=-1, keepdims=True))
    return y / np.where(deviation > 0, deviation, 1) * gamma + beta


def requantize(x: np.ndarray) -> np.ndarray:
    """Identity: a requantizer changes the scale, not the value."""
    return x


def real(codes: np.ndarray, scale: np.ndarray | float, operand: str = "linear") -> np.ndarray:
    """Return the float64 numbers that codes stand for.

    Parameters
    ----------
    scale : what a code of 1 stands for: one, or one per element of the last axis.
    operand : see `vitrtl.sw.golden.unit.VectorSpec`.
    """
    if operand == "log2":
        return log2_value(codes) * 2.0**-FRACTION_BITS
    return codes * scale


REFERENCES = {"softmax": softmax, "gelu": gelu, "layernorm": layernorm, "requantize": requantize}
"""Operator name to function."""
