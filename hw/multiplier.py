"""A multiplier with the registers that the device's multiplier block has inside."""

from amaranth.hdl import Cat, ClockSignal, Const, Instance, Module, Shape, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Multiplier", "product_shape"]


def product_shape(a: Shape, b: Shape) -> Shape:
    """Return the shape that holds every product."""
    return Shape(a.width + b.width, a.signed or b.signed)


class Multiplier(wiring.Component):
    """One product per cycle through an input register and an output register.

    Yosys never uses the registers inside ECP5's MULT18X18D, and a product without them is the
    slowest path of any unit; so on `ecp5` the block is instanced. Elsewhere plain registers
    stand around a plain product, which synthesis draws into its block.

    Parameters
    ----------
    a_shape, b_shape : operands, at most `LONGEST` bits each.

    Members
    -------
    en : a's register and the output's advance.
    en_b : b's register advances.
    a, b : operands.
    o : product.

    Latency
    -------
    2 cycles in which the enables are high.
    """

    LATENCY = 2
    LONGEST = 18
    """Bits of the longest operand."""

    def __init__(self, a_shape: Shape, b_shape: Shape) -> None:
        a_shape, b_shape = Shape.cast(a_shape), Shape.cast(b_shape)
        for name, shape in (("a", a_shape), ("b", b_shape)):
            if not 1 <= shape.width <= self.LONGEST:
                raise ValueError(f"multiplier operand {name} must be 1..{self.LONGEST} bits, "
                                 f"not {shape.width}")
        super().__init__({
            "en": In(1),
            "en_b": In(1),
            "a": In(a_shape),
            "b": In(b_shape),
            "o": Out(product_shape(a_shape, b_shape)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if getattr(platform, "name", None) == "ecp5":
            product = [Signal(name=f"p{i}") for i in range(36)]
            m.submodules.block = self._mult18x18d(product)
            m.d.comb += self.o.eq(Cat(*product))
            return m

        a_reg = Signal.like(self.a, reset_less=True)
        b_reg = Signal.like(self.b, reset_less=True)
        o_reg = Signal.like(self.o, reset_less=True)
        with m.If(self.en):
            m.d.sync += [a_reg.eq(self.a), o_reg.eq(a_reg * b_reg)]
        with m.If(self.en_b):
            m.d.sync += b_reg.eq(self.b)
        m.d.comb += self.o.eq(o_reg)
        return m

    def _mult18x18d(self, product: list[Signal]) -> Instance:
        """Instance the block with its input and output registers on."""
        parameters = {}
        for register, enable in (("INPUTA", "CE0"), ("INPUTB", "CE1"), ("OUTPUT", "CE0")):
            parameters |= {f"p_REG_{register}_CLK": "CLK0", f"p_REG_{register}_CE": enable,
                           f"p_REG_{register}_RST": "RST0"}
        ports = {"i_CLK0": ClockSignal("sync"), "i_CE0": self.en, "i_CE1": self.en_b,
                 "i_RST0": Const(0),
                 "i_SIGNEDA": Const(int(self.a.shape().signed)),
                 "i_SIGNEDB": Const(int(self.b.shape().signed)),
                 "i_SOURCEA": Const(0), "i_SOURCEB": Const(0)}
        for i in range(18):
            ports[f"i_A{i}"] = _bit(self.a, i)
            ports[f"i_B{i}"] = _bit(self.b, i)
        for i in range(36):
            ports[f"o_P{i}"] = product[i]
        return Instance("MULT18X18D", **parameters, **ports)


def _bit(value: Value, index: int) -> Value:
    """Return one bit of an operand, extended by its sign where it has one."""
    if index < len(value):
        return value[index]
    return value[-1] if value.shape().signed else Const(0)

