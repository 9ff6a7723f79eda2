"""GELU by table, golden model `vitrtl.sw.golden.gelu_lut`."""

from collections.abc import Callable

from amaranth.hdl import Module, Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.elementwise import Elementwise
from vitrtl.hw.pipeline import Pipeline

__all__ = ["GATES", "LutGelu"]


class LutGelu(Elementwise):
    """`o = table[i]`.

    Latency
    -------
    2 cycles of a block memory.
    """

    STAGES = 2

    def datapath(self, m: Module, pipe: Pipeline, config: ConfigBank,
                 row_start: Value) -> Callable[[int, Value], Value]:
        def lane(index: int, x: Value) -> Value:
            table = config.table("table")
            m.d.comb += [table.r_addr.eq(x.as_unsigned()), table.r_en.eq(pipe.advance),
                         table.o_en.eq(pipe.advance)]
            return table.o_data.as_signed()

        return lane


GATES = LutGelu
