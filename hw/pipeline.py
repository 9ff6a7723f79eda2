"""Registers that advance together, and products among them."""

from amaranth.hdl import Cat, Module, Shape, Signal, Value

from vitrtl.hw.multiplier import Multiplier, product_shape

__all__ = ["Pipeline"]


class Pipeline:
    """Stages of one data path inside a module.

    Parameters
    ----------
    m : module that holds the registers.
    advance : high in the cycles in which every stage takes its next value.
    """

    def __init__(self, m: Module, advance: Value) -> None:
        self.m = m
        self.advance = advance

    def reg(self, value: Value, stages: int = 1, *, reset_less: bool = True) -> Value:
        """Return `value` as it was `stages` advances ago."""
        value = Value.cast(value)
        for _ in range(stages if len(value) else 0):
            register = Signal(value.shape(), reset_less=reset_less)
            with self.m.If(self.advance):
                self.m.d.sync += register.eq(value)
            value = register
        return value

    def multiply(self, a: Value, b: Value) -> Value:
        """Return `a * b` of operands of at most 18 bits.  Latency: 2 stages."""
        a, b = Value.cast(a), Value.cast(b)
        multiplier = Multiplier(a.shape(), b.shape())
        self.m.submodules += multiplier
        self.m.d.comb += [
            multiplier.en.eq(self.advance), multiplier.a.eq(a),
            multiplier.en_b.eq(self.advance), multiplier.b.eq(b),
        ]
        return multiplier.o

    def multiply_wide(self, a: Value, b: Value) -> Value:
        """Return `a * b` for an `a` of at most 18 bits and a `b` of at most 35.

        The low 17 bits of `b` and the rest go through a block each.  Latency: 3 stages.
        """
        a, b = Value.cast(a), Value.cast(b)
        if len(b) <= 18:
            return self.reg(self.multiply(a, b))
        low = self.multiply(a, b[:17])
        high_bits = b[17:]
        high = self.multiply(a, high_bits.as_signed() if b.shape().signed else high_bits)
        # The low 17 bits of the low product pass by the adder.
        shape = product_shape(a.shape(), b.shape())
        upper = Signal(Shape(shape.width - 17, shape.signed))
        self.m.d.comb += upper.eq(high + (low >> 17))
        whole = Cat(low[:17], upper)
        return self.reg(whole.as_signed() if shape.signed else whole)

    def shift_right(self, value: Value, amount: Value, width: int) -> Value:
        """Return the low `width` bits of `value >> amount`.  Latency: 2 stages.

        The coarse half of the shift goes first, so that no stage holds more than four choices of
        a bit for amounts of up to four bits.
        """
        value, amount = Value.cast(value), Value.cast(amount)
        fine_bits = len(amount) // 2
        coarse = Signal(value.shape())
        self.m.d.comb += coarse.eq(value >> (amount[fine_bits:] << fine_bits))
        coarse_reg, fine_reg = self.reg(coarse), self.reg(amount[:fine_bits])
        out = Signal(width)
        self.m.d.comb += out.eq(coarse_reg >> fine_reg)
        return self.reg(out)

    def shift_right_sparse(self, value: Value, amount: Value, width: int) -> Value:
        """Return the low `width` bits of `value >> amount`.  Latency: 2 stages.

        The fine half goes first: a value with many zeros below takes fewer gates this way, since
        after it they are still zeros.
        """
        value, amount = Value.cast(value), Value.cast(amount)
        fine_bits = len(amount) // 2
        fine = Signal(value.shape())
        self.m.d.comb += fine.eq(value >> amount[:fine_bits])
        fine_reg, coarse_reg = self.reg(fine), self.reg(amount[fine_bits:])
        out = Signal(width)
        self.m.d.comb += out.eq(fine_reg >> (coarse_reg << fine_bits))
        return self.reg(out)
