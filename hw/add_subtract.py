"""A sum or a difference, as a bit says, on one carry chain."""

from amaranth.hdl import Const, Instance, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["AddSubtract"]

SUM = 0b1001_0110_1010_1010
"""CCU2C, A plus or minus B: what is added is B xor C with D, nothing without; A is the carry where
none passes."""
CARRY = 0b0000_0000_1111_1010
"""CCU2C, the first carry: A with D, none without."""


class AddSubtract(wiring.Component):
    """`o = a - b` or `o = a + b`, or `o = a` where neither is wanted.

    Yosys builds the choice from a gate for each bit in front of the chain. On ECP5 the tables of
    the chain have inputs to spare for it; so on `ecp5` they are instanced. Elsewhere synthesis
    finds as much by itself.

    Parameters
    ----------
    width : bits of the operands and of the result, which wraps around.

    Members
    -------
    en : anything is added or subtracted; where it is low, `subtract` must be high.
    subtract : the difference, and not the sum.
    a, b : operands.
    o : result.

    Latency
    -------
    None: there is no register.
    """

    def __init__(self, width: int) -> None:
        super().__init__({
            "en": In(1),
            "subtract": In(1),
            "a": In(width),
            "b": In(width),
            "o": Out(width),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = len(self.o)
        if getattr(platform, "name", None) != "ecp5":
            addend = (self.b ^ self.subtract.replicate(width)) & self.en.replicate(width)
            m.d.comb += self.o.eq(self.a + addend + (self.subtract & self.en))
            return m

        # Half a block for each bit, and one in front that makes the first carry.
        halves = [(CARRY, self.subtract, Const(0), Const(1), Signal(name="unused"))]
        halves += [(SUM, self.a[i], self.b[i], self.subtract, self.o[i]) for i in range(width)]
        if len(halves) % 2:
            halves.append((SUM, Const(0), Const(0), self.subtract, Signal(name="padding")))
        carry: Value = Const(0)
        for low, high in zip(halves[::2], halves[1::2], strict=True):
            carry_out = Signal(name="carry")
            ports = {"i_CIN": carry, "o_COUT": carry_out}
            for half, (table, a, b, c, s) in enumerate((low, high)):
                ports |= {f"p_INIT{half}": Const(table, 16), f"p_INJECT1_{half}": "NO",
                          f"i_A{half}": a, f"i_B{half}": b, f"i_C{half}": c,
                          f"i_D{half}": self.en, f"o_S{half}": s}
            m.submodules += Instance("CCU2C", **ports)
            carry = carry_out
        return m
