"""AILayerNorm of SOLE, golden model `vitrtl.sw.golden.layernorm_ailn`."""

from amaranth.hdl import Array, Cat, Const, Mux, Value

from vitrtl.hw.layernorm_ptf import PtfLayerNorm
from vitrtl.hw.operand_affine import saturate
from vitrtl.hw.pipeline import Pipeline
from vitrtl.sw.golden.layernorm_ailn import SQUARES
from vitrtl.sw.golden.ptf import Z_FORMAT

__all__ = ["GATES", "AiLayerNorm"]


class AiLayerNorm(PtfLayerNorm):
    """`PtfLayerNorm` with squares from a table of 16 words in place of a multiplier."""

    OUT_STAGES = 9

    def square(self, pipe: Pipeline, code: Value, alpha: Value, keep: Value,
               element: Value) -> Value:
        # Stage 1: a table of four bits, one gate for each bit of its words.
        magnitude = Mux(code[-1], -code, code)[:8]
        coarse = magnitude[6:].any()
        table = Array(Const(int(word), 10) for word in SQUARES)
        word = pipe.reg(Mux(keep, table[Mux(coarse, magnitude[4:], magnitude[2:6])], 0))
        # Stage 2: shifted by 2 or 6, and by alpha twice.
        places = pipe.reg(Cat(Const(0, 1), coarse) + alpha)
        return pipe.reg(word << (places << 1) << 2)

    def narrow(self, pipe: Pipeline, z: Value) -> Value:
        """Return the normalised value in its format, a stage later."""
        return pipe.reg(saturate(z, Z_FORMAT))


GATES = AiLayerNorm
