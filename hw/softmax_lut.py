"""Softmax by a table of exponentials, golden model `vitrtl.sw.golden.softmax_lut`."""

from amaranth.hdl import Value

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.softmax import RowSoftmax

__all__ = ["GATES", "LutSoftmax"]


class LutSoftmax(RowSoftmax):
    """`o = (E * floor((2**32 - 1) / sum E)) >> (32 - k)`, `E = table[i - max i]`.

    Every lane has the whole table.
    """

    EXP_STAGES = 2
    OUT_STAGES = 2
    NUMERATOR = 2**32 - 1

    def exponential(self, pipe: Pipeline, config: ConfigBank,
                    distance: Value) -> tuple[Value, Value]:
        table = config.table("table")
        pipe.m.d.comb += [table.r_addr.eq(distance[:self.spec.in_width]),
                          table.r_en.eq(pipe.advance), table.o_en.eq(pipe.advance)]
        return table.o_data, table.o_data

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        return pipe.multiply(kept, factor) >> (32 - self.spec.out_bits)


GATES = LutSoftmax
