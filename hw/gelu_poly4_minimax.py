"""Poly-GELU with minimax coefficients, which are run-time constants: the gates of `gelu_poly4`."""

from vitrtl.hw.gelu_poly4 import Poly4Gelu

__all__ = ["GATES"]

GATES = Poly4Gelu
