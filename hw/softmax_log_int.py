"""Log-int-softmax of FQ-ViT, golden model `vitrtl.sw.golden.softmax_log_int`."""

from amaranth.hdl import Cat, Const, Mux, Signal, Value

from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.softmax_iexp import IexpSoftmax
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.log2_code import CODE_FORMAT

__all__ = ["GATES", "LogIntSoftmax"]


class LogIntSoftmax(IexpSoftmax):
    """`o = round(log2(round(sum E / E)))` by a search, with neither division nor product.

    With `W = 2 * sum E + E`, o is one more than the largest l up to 15 with `W >> l >= 3*E`, from
    l = 2 on.
    """

    OUT_STAGES = 6
    NUMERATOR = None

    def normalise(self, pipe: Pipeline, kept: Value, factor: Value) -> Value:
        m = pipe.m
        # Stage 1: both sides.
        triple = pipe.reg((kept << 1) + kept)
        ratio = pipe.reg((factor << 1) + kept)
        kept = pipe.reg(kept)

        # Stages 2 to 4: a binary search for l, most significant bit first.
        found = Const(0, 0)
        for places in (8, 4, 2):
            fits = Signal()
            m.d.comb += fits.eq((ratio >> places) >= triple)
            ratio = pipe.reg(Mux(fits, ratio >> places, ratio)[:len(triple) + places])
            small = pipe.reg(~(found.any() | fits))
            found, kept, triple = (pipe.reg(v) for v in (Cat(fits, found), kept, triple))

        # Stages 5 and 6: the last bit. For l below 2 the code is 2 where R is 3 or more, which half
        # way from 2 it is not, and 1 where R is 2.
        two = pipe.reg(ratio >= kept << 2)
        odd = pipe.reg(ratio >= Cat(small, triple))
        found, small = pipe.reg(found), pipe.reg(small)
        code = Signal(shape_of(CODE_FORMAT))
        m.d.comb += code.eq(Mux(small, two + odd, Cat(odd, found) + 1))
        return pipe.reg(code)


GATES = LogIntSoftmax
