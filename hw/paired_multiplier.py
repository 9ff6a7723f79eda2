"""Two products of one operand in one multiplier block, used by `vitrtl.hw.systolic`."""

from amaranth.hdl import Module, Shape, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.multiplier import Multiplier, product_shape

__all__ = ["PairedMultiplier"]


class PairedMultiplier(wiring.Component):
    """`a * b[0]` and `a * b[1]` per cycle, through an input register and an output register.

    The block multiplies `a * (b[1] * 2**k + b[0])`, with k bits for any product. The low k bits
    are `a * b[0]`. Where that is negative it has borrowed one from the bits above, so `a * b[1]`
    is those plus the sign below them: half of `o_high + 1`, rounded down. A sum that comes next
    can have the 1 as its first carry, for nothing.

    Parameters
    ----------
    a_shape : one operand, signed.
    b_shape : the other two, signed.

    Members
    -------
    en : a's register and the outputs' advance.
    en_b : b's register advances.
    a, b : operands.
    o_low : `a * b[0]`.
    o_high : `(o_high + 1) >> 1` is `a * b[1]`.

    Latency
    -------
    2 cycles in which the enables are high.

    Source
    ------
    Fu et al., Deep Learning with INT8 Optimization on Xilinx Devices, WP486, 2017; there the
    correction stands behind the sum.
    """

    LATENCY = Multiplier.LATENCY

    def __init__(self, a_shape: Shape, b_shape: Shape) -> None:
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        if not (a_shape.signed and b_shape.signed):
            raise ValueError(f"paired operands must be signed, not {a_shape!r} and {b_shape!r}")
        if not self.fits(a_shape, b_shape):
            raise ValueError(f"paired operands must pack into {Multiplier.LONGEST} bits, which "
                             f"{a_shape!r} and twice {b_shape!r} do not")
        product = product_shape(a_shape, b_shape)
        super().__init__({
            "en": In(1),
            "en_b": In(1),
            "a": In(a_shape),
            "b": In(data.ArrayLayout(b_shape, 2)),
            "o_low": Out(product),
            "o_high": Out(Shape(product.width + 1, signed=True)),
        })

    @staticmethod
    def fits(a_shape: Shape, b_shape: Shape) -> bool:
        """Whether both products of such operands come out of one block."""
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        return max(a_shape.width, _packed_shape(a_shape, b_shape).width) <= Multiplier.LONGEST

    def elaborate(self, platform: object) -> Module:
        m = Module()
        a_shape, b_shape = self.a.shape(), self.b[0].shape()
        k = product_shape(a_shape, b_shape).width

        packed = Signal(_packed_shape(a_shape, b_shape))
        m.submodules.block = block = Multiplier(a_shape, packed.shape())
        m.d.comb += [
            packed.eq((self.b[1] << k) + self.b[0]),
            block.en.eq(self.en), block.a.eq(self.a),
            block.en_b.eq(self.en_b), block.b.eq(packed),
            self.o_low.eq(block.o[:k]),
            self.o_high.eq(block.o[k - 1:]),
        ]
        return m


def _packed_shape(a: Shape, b: Shape) -> Shape:
    """Return the shape of `b[1] * 2**k + b[0]`; below zero in both it takes one bit more."""
    return Shape(product_shape(a, b).width + b.width + 1, signed=True)
