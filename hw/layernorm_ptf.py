"""LayerNorm of FQ-ViT, golden model `vitrtl.sw.golden.layernorm_ptf`."""

from collections.abc import Callable

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.one_pass_layernorm import OnePassLayerNorm
from vitrtl.hw.operand_affine import AFFINE_STAGES, operand_affine, saturate
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowIntake
from vitrtl.hw.row_statistics import ReciprocalRoot
from vitrtl.hw.stream import shape_of
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.ptf import BIAS_FRACTION, CODE_FORMAT, Z_FORMAT

__all__ = ["GATES", "PtfLayerNorm"]


class PtfLayerNorm(OnePassLayerNorm):
    """`o = affine((X - mean) * reciprocal_root(V))`, `X = q << alpha`, `q` the code of `i`.

    The codes are made before the buffer, which keeps `X`. Shifting down by base and alpha is a
    product with a power of two: a multiplier block where a barrel shifter would be.
    """

    ELEMENT_STAGES = 7
    OUT_STAGES = 8

    def once_a_row(self) -> list[wiring.Component]:
        return [ReciprocalRoot(self.spec.variance_format.width)]

    def terms(self, m: Module, pipe: Pipeline, config: ConfigBank,
              intake: RowIntake) -> list[tuple[Value, Value]]:
        spec = self.spec
        alphas = config.memory("alpha", spec.lanes)
        channel = Signal.like(alphas[0].r_addr)
        with m.If(intake.transfer):
            m.d.sync += channel.eq(Mux(intake.gate.ends, 0, channel + 1))
        # The base is the layer's: its power of two stands still while rows pass.
        unit = pipe.reg((Const(1) << spec.largest_shift) >> config.scalar("base"))

        terms = []
        for store, x, keep in zip(alphas, self.i.payload.data, intake.keep, strict=True):
            # Stages 1 and 2: alpha from its memory. Stages 3 and 4: twice the input, shifted down.
            m.d.comb += [store.r_addr.eq(channel), store.r_en.eq(1), store.o_en.eq(1)]
            alpha = store.o_data
            product = pipe.multiply(pipe.reg(x, 2), unit >> alpha)
            # Stage 5: out of the block. Stage 6: saturate to what rounds to a code. Stage 7: round.
            doubled = pipe.reg(product >> spec.largest_shift - 1)
            # The last value of nine bits would round beyond the codes: it loses its last bit.
            doubled = saturate(doubled, Format(CODE_FORMAT.width + 1, True))
            highest = doubled[:-1].all() & ~doubled[-1]
            doubled = pipe.reg(Cat(doubled[0] & ~highest, doubled[1:]).as_signed())
            code = pipe.reg(((doubled + 1) >> 1)[:CODE_FORMAT.width].as_signed())
            alpha = pipe.reg(alpha, 5)
            keep = pipe.reg(keep, self.ELEMENT_STAGES)
            element = Signal(shape_of(spec.element_format))
            m.d.comb += element.eq(Mux(keep, code << alpha, 0))
            terms.append((element, self.square(pipe, code, alpha, keep, element)))
        return terms

    def square(self, pipe: Pipeline, code: Value, alpha: Value, keep: Value,
               element: Value) -> Value:
        """Return the square of `code << alpha`, zero for padding, two stages later.

        Parameters
        ----------
        element : `code << alpha`, or zero, behind a register and a choice.
        """
        return pipe.multiply(element, element)

    def narrow(self, pipe: Pipeline, z: Value) -> Value:
        """Return the normalised value in its format; it never leaves it."""
        return z[:Z_FORMAT.width].as_signed()

    def result(self, pipe: Pipeline, deviation: Value, factor: Value,
               constant: Callable[[str, int], Value]) -> Value:
        # Stages 2 to 4: normalised value, and what narrowing it takes.
        z = self.narrow(pipe, pipe.multiply_wide(deviation, factor) >> 15)
        # Stages 5 and 6: times gamma. Stage 7: plus beta. Stage 8: round.
        return operand_affine(pipe, z, constant("multiplier", self.OUT_STAGES - AFFINE_STAGES),
                              constant("bias", self.OUT_STAGES - AFFINE_STAGES + 2),
                              self.spec.multiplier_shift, BIAS_FRACTION)


GATES = PtfLayerNorm
