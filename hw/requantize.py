"""Dyadic requantizer, golden model `vitrtl.sw.golden.requantize`."""

from collections.abc import Callable

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.requantize import RequantizeSpec

__all__ = ["GATES", "Requantize", "requantized"]


class Requantize(Elementwise):
    """`o = saturate(((i + bias) * b + 2**(c-1)) >> c)`, with bias, b and c of the channel.

    The channel is the place of the element in its row. Constants of a channel sit in block
    memories of one word per channel.

    Parameters
    ----------
    spec : its numbers.
    distributed : constants are not in block memories.

    Latency
    -------
    7 cycles: memory (2), bias and product (3), shift, rounding with saturation.
    """

    STAGES = 7

    def __init__(self, spec: RequantizeSpec, *, distributed: bool = False) -> None:
        self.distributed = distributed
        super().__init__(spec)

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        spec = self.spec
        bias = config.memory("bias", spec.lanes, distributed=self.distributed)
        factor = config.memory("factor", spec.lanes, distributed=self.distributed)
        per_channel = config.scalar("per_channel")

        # The beat's place in its row addresses the constants.
        address = Signal(len(bias[0].r_addr))
        place = Signal.like(address)
        m.d.comb += place.eq(Mux(row_start | ~per_channel, 0, address))
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += address.eq(place + 1)
        for store in (*bias, *factor):
            m.d.comb += [store.r_addr.eq(place), store.r_en.eq(pipe.advance),
                         store.o_en.eq(pipe.advance)]

        return lambda index, x: requantized(pipe, spec, x, bias[index].o_data.as_signed(),
                                            factor[index].o_data)


def requantized(pipe: Pipeline, spec: RequantizeSpec, x: Value, bias_reg: Value,
                factor_reg: Value) -> Value:
    """Return one lane's result, `Requantize.STAGES` after its element.

    Parameters
    ----------
    x : element.
    bias_reg, factor_reg : its constants, two stages later, as a block memory gives them.
    """
    m = pipe.m

    # Stages 1 and 2: constants out of the memory.
    x_reg = pipe.reg(x, 2)

    # Stages 3 to 5: the adder feeds the multiplier's input registers.
    biased = Signal(shape_of(spec.biased_format))
    m.d.comb += biased.eq(x_reg + bias_reg)
    multiplier = factor_reg[spec.code_width:].as_signed()
    product = pipe.multiply_wide(multiplier, biased)
    code = pipe.reg(factor_reg[:spec.code_width], 3)

    # Stage 6: one of the shifts on offer, down to one bit below the result's last. What does not
    # fit is clamped to where rounding still ends at the same end of the range.
    kept = spec.out_width + 1
    sign = product[-1]
    bodies = Array(_bits(product, shift - 1, kept - 1) for shift in spec.shifts)
    overflow = Array(_overflows(product, shift + kept - 2) for shift in spec.shifts)
    body = Mux(overflow[code], (~sign).replicate(kept - 1), bodies[code])
    shifted = pipe.reg(Cat(body, sign))

    # Stage 7: round on the bit below; only the largest value can overflow by it.
    rounded = Signal(shape_of(spec.out_format))
    largest = Const((1 << spec.out_width) - 1, kept)
    m.d.comb += rounded.eq(Mux(shifted == largest, spec.out_format.hi,
                               shifted[1:].as_signed() + shifted[0]))
    return pipe.reg(rounded)


def _bits(value: Value, start: int, width: int) -> Value:
    """Return `width` bits of a signed value from bit `start` on."""
    bits = value[start:start + width]
    return Cat(bits, value[-1].replicate(width - len(bits)))


def _overflows(value: Value, start: int) -> Value:
    """Return whether a signed value has bits that matter from bit `start` on."""
    above = value[min(start, len(value) - 1):]
    return (above ^ value[-1].replicate(len(above))).any()


GATES = Requantize
