"""LayerNorm of FQ-ViT on power-of-two factors: numbers and golden model.

Gates: `vitrtl.hw.layernorm_ptf`.
"""

import dataclasses

import numpy as np

from vitrtl.sw.golden.ptf import (
    PtfConstants,
    PtfSpec,
    affine,
    calibrate,
    derive,
    encode,
    normalised,
)
from vitrtl.sw.golden.unit import ErrorLimit, Golden

__all__ = ["GOLDEN", "PtfLayerNormSpec", "layernorm"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class PtfLayerNormSpec(PtfSpec):
    """Numbers of one FQ-ViT LayerNorm.

    Parameters
    ----------
    in_width : residual stream, bits, signed.
    longest_row : channels that the row buffer and the memories hold.
    lanes : elements per beat.
    """


def layernorm(x: np.ndarray, spec: PtfLayerNormSpec, constants: PtfConstants) -> np.ndarray:
    """Normalise each row of 8-bit codes that have a power-of-two factor per channel.

    `q = saturate(round(x / 2**(base + alpha)))`, `X = q << alpha`, `y = 32 * X - mean`, the mean
    rounded, ties to even, `V = sum y**2`, `z = y * reciprocal_root(V) >> 15`, and
    `out = saturate(round(z * multiplier / 2**multiplier_shift + beta / S_out))`. A row of equal
    elements gives the bias alone.

    Shape
    -----
    (..., channels), kept.

    Format
    ------
    s`in_width` to s8 at the scale that `derive` gives.

    Error
    -----
    See `GOLDEN.limits`: half a step of the result, and the error of the codes. Upheld by
    `tests/unit/golden/test_layernorm_ptf.py`.

    Source
    ------
    FQ-ViT (IJCAI 2022), sections 3.2 and 3.4, and its official code, whose root, division, gamma
    and beta are float; here all are integers. The zero point is 0: the residual stream is
    symmetric.
    """
    q = encode(x, spec, constants)
    squares = (q << constants.alpha) ** 2
    return affine(normalised(q, squares, spec, constants), spec, constants)


GOLDEN = Golden(spec=PtfLayerNormSpec, constants=PtfConstants, derive=derive, function=layernorm,
                calibrate=calibrate, limits=(ErrorLimit(0.25, 0.3),))
