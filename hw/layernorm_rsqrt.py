"""LayerNorm without a division or a mean, golden model `vitrtl.sw.golden.layernorm_rsqrt`."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.operand_affine import AFFINE_STAGES, operand_affine
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowEmit, RowIntake
from vitrtl.hw.row_statistics import (
    SQUARE_STAGES,
    RowSums,
    element_terms,
    row_sums,
)
from vitrtl.hw.running_sums import sum_stages
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.layernorm_rsqrt import (
    BIAS_FRACTION,
    CURVE,
    CURVE_PLACES,
    MANTISSA_FORMAT,
    OFFSET_BITS,
    OPERAND_WIDTH,
    ROOT_FORMAT,
    RsqrtSpec,
)

__all__ = ["GATES", "RsqrtLayerNorm", "SpreadNormaliser"]

WORD = OPERAND_WIDTH - 1
"""Bits of a product's unsigned words."""


class RsqrtLayerNorm(wiring.Component):
    """`o = (C*i - T) / sqrt(C*Q - T**2) + bias`, in one pass over the row.

    If the requantizer is merged, `o = saturate(round(z * multiplier + bias))` of that fraction z.

    The row is read twice in all: once as it comes, for its sums, and once as it leaves. What runs
    once a row is the spread and its leading bits; their root, a parabola, is part of the data
    path, which repeats it for each beat of the row.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    One row, then the spread and its shift, then the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the spread takes.
    """

    NORMALISED_STAGES = 7
    """Stages from the buffer to the normalised value."""

    def __init__(self, spec: RsqrtSpec) -> None:
        self.spec = spec
        self._out_stages = self.NORMALISED_STAGES + (AFFINE_STAGES if spec.merged else 1)
        self._normaliser = SpreadNormaliser(spec)
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        once = self._normaliser.cycles
        return Timing(latency_fixed=SQUARE_STAGES + sum_stages(self.spec.lanes) + once
                      + self._out_stages, latency_per_beat=1, interval_min=once)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        width = spec.in_width

        # Take rows; add elements and their squares.
        intake = RowIntake(m, spec, self, slack=self.timing.latency_fixed)
        config = ConfigBank(m, spec, self.c, intake.idle, staged=spec.lanes > 1)
        run = Pipeline(m, Const(1))
        terms = element_terms(run, intake, self.i.payload.data)
        take_sums = Signal()
        ready_sums = row_sums(m, spec, run, intake, terms, take_sums, counted=False)

        # Beside the stream, once a row: the spread, normalised.
        normaliser = m.submodules.normaliser = self._normaliser
        m.d.comb += [
            normaliser.channels.eq(config.scalar("channels")),
            normaliser.i.valid.eq(ready_sums.valid),
            Value.cast(normaliser.i.payload).eq(ready_sums.value),
            take_sums.eq(ready_sums.valid & normaliser.i.ready),
        ]

        # Read the row again: deviation, root, product, bias.
        emit = RowEmit(m, spec, self.o, intake.buffer, normaliser.o.valid)
        pipe = emit.pipe
        row = normaliser.o.payload
        m.d.comb += normaliser.o.ready.eq(emit.ends)
        offset = pipe.reg(row.offset, 3)
        root = self._root(pipe, row.mantissa)
        # Doubled for a mantissa from the lower place.
        weight = Mux(pipe.reg(row.low, 5), Cat(Const(0, 1), root), root)
        stage = self.NORMALISED_STAGES
        if spec.merged:
            multipliers = emit.channel_words(config, "multiplier", stage)
            biases = emit.channel_words(config, "bias", stage + 2)
        else:
            biases = emit.channel_words(config, "bias", stage)

        def lane(index: int) -> Value:
            # Stages 1 to 3: the element times the row's length, shifted. Stage 4: deviation.
            element = emit.fields[index * width:(index + 1) * width].as_signed()
            weighed = pipe.multiply_wide(element, row.gain)
            deviation = Signal(signed(OPERAND_WIDTH))
            m.d.comb += deviation.eq((weighed >> spec.dropped) - offset)
            # Stages 6 and 7: product. Stage 8: bias; or stages 8 to 11: gamma, beta, requantizer.
            product = pipe.multiply(pipe.reg(deviation, 2), weight)
            if spec.merged:
                z = (product >> ROOT_FORMAT.width)[:OPERAND_WIDTH].as_signed()
                return operand_affine(pipe, z, multipliers[index].as_signed(),
                                      biases[index].as_signed(), spec.multiplier_shift,
                                      BIAS_FRACTION)
            z = (product >> (ROOT_FORMAT.width - 1))[:OPERAND_WIDTH + 1].as_signed()
            result = Signal(shape_of(spec.out_format))
            m.d.comb += result.eq(z + biases[index].as_signed())
            return pipe.reg(result)

        emit.finish(self._out_stages, lane)
        return m

    @staticmethod
    def _root(pipe: Pipeline, mantissa: Value) -> Value:
        """Return the reciprocal root.  Latency: 5 stages."""
        index, place = mantissa[OFFSET_BITS:], mantissa[:OFFSET_BITS]
        # From the middle of the step.
        place = Cat(place[:-1], ~place[-1]).as_signed()
        value, slope, curve = (
            Array(Const(int(word), signed(int(abs(column).max()).bit_length() + 1))
                  for word in column) for column in CURVE.T)
        # Stages 1 and 2, 3 and 4: products, each less a few places.
        bent = pipe.multiply(curve[index], place) >> (OFFSET_BITS - 1 - CURVE_PLACES)
        steep = Signal(signed(slope[0].shape().width + 1))
        pipe.m.d.comb += steep.eq(pipe.reg(slope[pipe.reg(index)]) + bent)
        rise = pipe.multiply(steep, pipe.reg(place, 2)) >> (OFFSET_BITS - 1)
        root = Signal(shape_of(ROOT_FORMAT))
        # Stage 5: their sum.
        pipe.m.d.comb += root.eq(pipe.reg(value[pipe.reg(index, 3)]) + rise)
        return pipe.reg(root)


class SpreadNormaliser(wiring.Component):
    """The spread `C*Q - T**2` of a row, shifted until it is normalised, and what goes with it.

    Three words of `C*Q` and of the square come from a multiplier each, one word a cycle; then the
    spread goes up by four places a cycle, and C and T by two.

    Members
    -------
    channels : C, a run-time constant.
    i : sums of a row.
    o : what the data path needs of a row: `gain`, `offset`, C and T shifted; `mantissa`, `low`,
        the leading bits of the spread and the place that they come from.

    Latency
    -------
    `cycles - 1` from the edge that takes the sums to the one that makes the result valid.

    Throughput
    ----------
    One row per `cycles`.
    """

    SUM_STEPS = 6
    """Steps until the spread is complete: three words, three stages behind each other."""

    def __init__(self, spec: RsqrtSpec) -> None:
        self.spec = spec
        row = data.StructLayout({
            "gain": unsigned(spec.shifted_format.width),
            "offset": signed(OPERAND_WIDTH),
            "mantissa": shape_of(MANTISSA_FORMAT),
            "low": 1,
        })
        super().__init__({
            "channels": In(shape_of(spec.count_format)),
            "i": In(stream.Signature(RowSums(spec, counted=False))),
            "o": Out(stream.Signature(row)),
        })

    @property
    def cycles(self) -> int:
        """Cycles from one row to the next."""
        return self.SUM_STEPS + self.spec.most_steps + 2

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        width = spec.spread_format.width
        gain = Signal(spec.shifted_format.width, reset_less=True)
        total = Signal(shape_of(spec.shifted_format), reset_less=True)
        squares = Signal(shape_of(spec.square_sum_format), reset_less=True)
        spread = Signal(signed(2 * WORD + 2 * OPERAND_WIDTH + 1), reset_less=True)
        busy, move = Signal(), Signal()
        # In which cycle of its row the unit is; it stays in the last until the result moves on.
        phase = Signal(self.cycles - 1)
        done = phase[-1]

        # Word by word: C times the squares, less the square of T = high * 2**17 + low, which is
        # low * low, then 2 * high * low, then high * high.
        run = Pipeline(m, Const(1))
        low = Cat(total[:WORD], Const(0, 1)).as_signed()
        high = total[WORD:max(spec.sum_format.width, WORD + 1)].as_signed()
        first = Mux(phase[0], low, Mux(phase[1], high << 1, high))
        second = Mux(phase[2], high, low)
        word = run.reg(run.multiply(self.channels, squares[:WORD])
                       - run.multiply(first[:OPERAND_WIDTH].as_signed(), second))

        with m.If(phase[2]):
            m.d.sync += spread.eq(0)
        with m.Elif(phase[3:self.SUM_STEPS].any()):
            m.d.sync += spread.eq((spread >> WORD) + (word << 2 * WORD))
        with m.Elif(~phase[:2].any() & ~spread[width - 4:width].any()):
            # A spread of 0 goes on for ever; T and C times its elements remain equal.
            m.d.sync += [spread[:width].eq(spread << 4), gain.eq(gain << 2), total.eq(total << 2)]

        # A result moves on as soon as the last is gone. That the next row waits a cycle more
        # keeps the handshake of the output out of that of the input.
        taken = self.i.valid & self.i.ready
        m.d.comb += [
            self.i.ready.eq(~busy),
            move.eq(done & (~self.o.valid | self.o.ready)),
        ]
        m.d.sync += [
            phase.eq(Cat(taken, phase[:-2], phase[-2] | (done & ~move))),
            busy.eq(Mux(busy, ~move, self.i.valid)),
            squares.eq(squares >> WORD),
        ]
        with m.If(~busy):
            m.d.sync += [
                gain.eq(self.channels),
                total.eq(self.i.payload.total),
                squares.eq(self.i.payload.squares),
            ]
        leading = spread[width - MANTISSA_FORMAT.width - 2:width]
        in_low = ~leading[-2:].any()
        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        with m.If(move):
            m.d.sync += [
                self.o.valid.eq(1),
                self.o.payload.gain.eq(gain),
                self.o.payload.offset.eq(total >> spec.dropped),
                self.o.payload.mantissa.eq(Mux(in_low, leading, leading[2:])),
                self.o.payload.low.eq(in_low),
            ]
        return m


GATES = RsqrtLayerNorm
