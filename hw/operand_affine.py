"""Gamma, beta and requantizer in one product, golden model `vitrtl.sw.golden.operand_affine`."""

from amaranth.hdl import Mux, Value

from vitrtl.hw.pipeline import Pipeline
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.operand_affine import OPERAND_FORMAT

__all__ = ["AFFINE_STAGES", "operand_affine", "saturate"]

AFFINE_STAGES = 4
"""Stages from the normalised value to the result."""


def operand_affine(pipe: Pipeline, z: Value, multiplier: Value, bias: Value, shift: int,
                   bias_fraction: int) -> Value:
    """Return the s8 result: times the channel's multiplier, plus its bias, saturated.

    Parameters
    ----------
    z, multiplier : operands of at most 18 bits, at the same stage.
    bias : two stages later.
    shift, bias_fraction : places below the result, of the product and of the bias.
    """
    product = pipe.multiply(z, multiplier) >> shift - bias_fraction
    total = pipe.reg(product + bias)
    return pipe.reg(saturate(total >> bias_fraction, OPERAND_FORMAT))


def saturate(value: Value, fmt: Format) -> Value:
    """Return a signed value clamped to a narrower signed format."""
    sign = value[-1]
    fits = (value[fmt.width - 1:-1] == sign.replicate(len(value) - fmt.width))
    ends = Mux(sign, fmt.lo, fmt.hi)
    return Mux(fits, value[:fmt.width].as_signed(), ends)[:fmt.width].as_signed()
