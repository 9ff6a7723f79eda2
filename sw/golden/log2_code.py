"""Powers of two as codes: the probabilities that log-int-softmax of FQ-ViT hands on."""

import numpy as np

from vitrtl.sw.golden.fixed_point import Format, require

__all__ = ["CODE_FORMAT", "FRACTION_BITS", "log2_value"]

CODE_FORMAT = Format(5, False)
"""Code c from 0 to 15 stands for `2**-c`, any above it for zero."""

FRACTION_BITS = 15
"""Fraction bits of the integers that codes stand for."""


def log2_value(codes: np.ndarray) -> np.ndarray:
    """Return what each code stands for, as an integer at scale `2**-15`.

    A unit writes 16 for zero; 17 to 31 mean zero too, so that every bit pattern has a meaning.

    Shape
    -----
    Any, kept.
    """
    codes = require(codes, CODE_FORMAT, "log2 code").astype(np.int64)
    return (1 << FRACTION_BITS) >> codes
