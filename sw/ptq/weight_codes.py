"""A linear layer's weights as integers: scale of each output channel, and codes."""

import functools

import numpy as np

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.ptq.rounding import gptq, to_nearest
from vitrtl.sw.ptq.scheme import Scheme
from vitrtl.sw.ptq.weight_scales import least_error_scales

__all__ = ["weight_codes", "weight_scales"]


def weight_scales(weight: np.ndarray, fmt: Format, scheme: Scheme,
                  moment: np.ndarray | None) -> np.ndarray:
    """Return the scale that a scheme wants for each output channel; zero for one of no weights.

    Parameters
    ----------
    weight : float weights.
    fmt : of a code.
    scheme : whether the largest weight decides, or the error of the output.
    moment : `E[x x^T]` of the layer's input; None where that is not known, as for the patch
        embedding.

    Shape
    -----
    `weight` (in, out), `moment` (in, in); (out,).
    """
    scales = np.abs(weight).max(axis=0) / fmt.hi
    used = scales > 0
    if scheme.uses("weight_search") and moment is not None and used.any():
        # Coordinate descent would change little of which scale is best.
        rounding = _rounding(fmt, scheme, moment, sweeps=0)
        scales[used] = least_error_scales(weight[:, used], scales[used], moment, rounding)
    return scales


def weight_codes(weight: np.ndarray, scales: np.ndarray, fmt: Format, scheme: Scheme,
                 moment: np.ndarray | None) -> np.ndarray:
    """Return the codes that a scheme wants at some scales; see `weight_scales`."""
    return _rounding(fmt, scheme, moment)(weight, scales)


def _rounding(fmt: Format, scheme: Scheme, moment: np.ndarray | None, **options: int):
    if scheme.uses("gptq") and moment is not None:
        return functools.partial(gptq, moment=moment, fmt=fmt, **options)
    return functools.partial(to_nearest, fmt=fmt)
