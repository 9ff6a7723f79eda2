"""Two products of one operand in one multiplier block, used by `vitrtl.hw.systolic`."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.multiplier import Multiplier, product_shape

__all__ = ["PairedMultiplier"]


class PairedMultiplier(wiring.Component):
    """`a * b.low` and `a * b.high` per cycle, through an input register and an output register.

    The block multiplies `a * (b.high * 2**k + b.low)`, with k bits for any product of the low one.
    The low k bits are `a * b.low`. Where that is negative it has borrowed one from the bits above,
    so `a * b.high` is those plus the sign below them: half of `o_high + 1`, rounded down. A sum
    that comes next can have the 1 as its first carry, for nothing.

    Parameters
    ----------
    a_shape : one operand, signed.
    low_shape, high_shape : the other two, signed.

    Members
    -------
    en : a's register and the outputs' advance.
    en_b : b's register advances.
    a, b : operands.
    o_low : `a * b.low`.
    o_high : `(o_high + 1) >> 1` is `a * b.high`.

    Latency
    -------
    2 cycles in which the enables are high.

    Source
    ------
    Fu et al., Deep Learning with INT8 Optimization on Xilinx Devices, WP486, 2017; there the
    correction stands behind the sum.
    """

    LATENCY = Multiplier.LATENCY

    def __init__(self, a_shape: Shape, low_shape: Shape, high_shape: Shape) -> None:
        shapes = a, low, high = tuple(map(Shape.cast, (a_shape, low_shape, high_shape)))
        if not all(shape.signed for shape in shapes):
            raise ValueError(f"paired operands must be signed, not {a!r} with {low!r} and {high!r}")
        if not self.fits(*shapes):
            raise ValueError(f"paired operands must pack into {Multiplier.LONGEST} bits, which "
                             f"{a!r} with {low!r} and {high!r} do not")
        super().__init__({
            "en": In(1),
            "en_b": In(1),
            "a": In(a),
            "b": In(data.StructLayout({"low": low, "high": high})),
            "o_low": Out(product_shape(a, low)),
            "o_high": Out(Shape(product_shape(a, high).width + 1, signed=True)),
        })

    @staticmethod
    def fits(a_shape: Shape, low_shape: Shape, high_shape: Shape) -> bool:
        """Whether both products of such operands come out of one block."""
        a, low, high = map(Shape.cast, (a_shape, low_shape, high_shape))
        return max(a.width, _packed_shape(a, low, high).width) <= Multiplier.LONGEST

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a, low, high = self.a.shape(), self.b.low.shape(), self.b.high.shape()
        k = product_shape(a, low).width

        packed = Signal(_packed_shape(a, low, high))
        m.submodules.block = block = Multiplier(a, packed.shape())
        m.d.comb += [
            packed.eq((self.b.high << k) + self.b.low),
            block.en.eq(self.en), block.a.eq(self.a),
            block.en_b.eq(self.en_b), block.b.eq(packed),
            self.o_low.eq(block.o[:k]),
            self.o_high.eq(block.o[k - 1:]),
        ]
        return m


def _packed_shape(a: Shape, low: Shape, high: Shape) -> Shape:
    """Return the shape of `high * 2**k + low`; below zero in both it takes one bit more."""
    return Shape(product_shape(a, low).width + high.width + 1, signed=True)
