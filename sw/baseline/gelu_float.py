"""GELU in float64 between integer codes: a baseline without gates."""

from vitrtl.sw import reference
from vitrtl.sw.baseline.frame import float_golden

__all__ = ["GOLDEN"]

GOLDEN = float_golden(reference.gelu, largest=lambda x: x, rowwise=False)
