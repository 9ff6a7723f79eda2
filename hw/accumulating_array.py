"""The systolic array with accumulators behind it, fed pass by pass."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowGate
from vitrtl.hw.stream import shape_of
from vitrtl.hw.systolic import SystolicArray
from vitrtl.sw.golden.matmul import MatMulSpec

__all__ = ["AccumulatingArray", "PairedSumBeat", "PassBeat", "SumBeat", "TileBeat"]


class TileBeat(data.StructLayout):
    """One row of a weight tile, or one column of it if it is `transposed`, all beats alike.

    If `paired`, which only an array that splits weights can be told, a weight is two of half its
    bits: of columns c and, in the upper half, c + `columns`.
    """

    def __init__(self, spec: MatMulSpec, *, splits: bool = False) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.weight_format), spec.columns),
                          "transposed": 1, **({"paired": 1} if splits else {})})


class PassBeat(data.StructLayout):
    """A slice of one output row along the inner dimension.

    Members
    -------
    last : ends the pass.
    opening, closing : the pass is the first, or last, over the inner dimension; the same in
        all beats of a pass.
    """

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.in_format), spec.rows),
                          "last": 1, "opening": 1, "closing": 1})


class SumBeat(data.StructLayout):
    """A slice of one output row along the columns; `last` ends the pass."""

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.out_format), spec.columns),
                          "last": 1})


class PairedSumBeat(data.StructLayout):
    """A slice of one output row, or two of them side by side if `paired`.

    Members
    -------
    data : the slice, or the first of the two.
    upper : the second one, if `paired`.
    last : ends the pass.
    paired : the same in all beats of a pass.
    """

    def __init__(self, spec: MatMulSpec, summed: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.out_format), spec.columns),
                          "upper": data.ArrayLayout(shape_of(summed.out_format), spec.columns),
                          "last": 1, "paired": 1})


class AccumulatingArray(wiring.Component):
    """A pass streams activation rows past one tile of weights.

    Results accumulate from an opening pass to the next closing one, and leave during that. Weight
    beats of the next pass are taken during this one. Nothing behind the entrance ever stops.

    Parameters
    ----------
    spec : its numbers.
    distributed : the accumulators are not in block memory.
    splits : multipliers take weights as halves, so that tiles can be paired.

    Members
    -------
    w : weight beats, `rows` to a tile.
    a : activation beats, up to `longest_pass` to a pass.
    hold : no tile is begun, and no opening pass.
    o : result beats, which cannot wait; `PairedSumBeat` if the array `splits` weights.
    busy : something is in flight, or loaded.

    Latency
    -------
    `latency` cycles from an activation beat of a closing pass to its result beat.

    Throughput
    ----------
    One activation beat per cycle, sustained from pass to pass, for passes no shorter than
    `shortest_pass`: loading a tile takes a cycle per beat, and waits until the wave that puts
    the last one to use has passed.
    """

    ACCUMULATE_STAGES = 4

    def __init__(self, spec: MatMulSpec, *, distributed: bool = False,
                 splits: bool = False) -> None:
        self.spec, self.splits = spec, splits
        self.distributed = distributed
        self._array = SystolicArray(spec, splits=splits)
        result = PairedSumBeat(spec, self._array.summed) if splits else SumBeat(spec)
        super().__init__({
            "w": In(stream.Signature(TileBeat(spec, splits=splits))),
            "a": In(stream.Signature(PassBeat(spec))),
            "hold": In(1),
            "o": Out(stream.Signature(result, always_ready=True)),
            "busy": Out(1),
        })

    @property
    def latency(self) -> int:
        """Cycles from an activation beat of a closing pass to its result beat."""
        return self._array.latency + self.ACCUMULATE_STAGES + self.splits

    @property
    def summed(self) -> MatMulSpec:
        """Numbers of what is accumulated."""
        return self._array.summed

    @property
    def shortest_pass(self) -> int:
        """Beats of the shortest pass that keeps the array busy."""
        return self._array.wave + self.spec.rows + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, summed = self.spec, self.summed
        m.submodules.array = array = self._array
        pipe = Pipeline(m, Const(1))
        width = summed.out_format.width
        beat = self.a.payload
        transfer = Signal()
        gate = RowGate(m, transfer, beat.last)

        # Load the next tile; once its pass has begun, wait until the wave is through.
        loaded = Signal()
        index = Signal(range(spec.rows))
        wave = Signal(range(array.wave + 1))
        m.d.comb += [
            self.w.ready.eq(~loaded & (wave == 0) & ~(self.hold & (index == 0))),
            array.load.eq(self.w.valid & self.w.ready),
            array.load_index.eq(index),
            array.weights.eq(self.w.payload.data),
        ]
        if spec.transposable:
            m.d.comb += array.transposed.eq(self.w.payload.transposed)
        if self.splits:
            m.d.comb += array.paired.eq(self.w.payload.paired)
        with m.If(array.load):
            m.d.sync += index.eq(index + 1)
            with m.If(index == spec.rows - 1):
                m.d.sync += [index.eq(0), loaded.eq(1)]
        with m.If(wave != 0):
            m.d.sync += wave.eq(wave - 1)
        with m.If(gate.starts):
            m.d.sync += [loaded.eq(0), wave.eq(array.wave)]

        # Activations enter the array with the number of their row.
        row = Signal(range(spec.longest_pass))
        with m.If(transfer):
            m.d.sync += row.eq(Mux(beat.last, 0, row + 1))

        # Sums of a short pass must be stored before the next one reads them. Without pauses the
        # tile's wave sees to that; a pause inside the pass brings its end nearer to the next.
        unsettled = Signal(range(self.ACCUMULATE_STAGES + 1))
        with m.If(unsettled != 0):
            m.d.sync += unsettled.eq(unsettled - 1)
        # Whether it is zero comes from a register of its own.
        settled = Signal(init=1)
        m.d.sync += settled.eq(unsettled <= 1)
        with m.If(gate.ends & (row < self.ACCUMULATE_STAGES)):
            m.d.sync += [unsettled.eq(self.ACCUMULATE_STAGES - row), settled.eq(0)]
        may_start = loaded & settled & ~(beat.opening & self.hold)
        m.d.comb += [
            self.a.ready.eq(gate.in_row | may_start),
            transfer.eq(self.a.valid & self.a.ready),
            array.swap.eq(gate.starts),
            array.activations.eq(beat.data),
        ]

        # What belongs to a row travels beside the array.
        tag = Cat(row, beat.opening, beat.closing, beat.last)
        valid = [transfer]
        for _ in range(self.latency):
            valid.append(pipe.reg(valid[-1], reset_less=False))
        tag_summed = pipe.reg(tag, array.latency)
        m.d.comb += self.busy.eq(
            gate.in_row | Cat(*valid).any() | loaded | array.load | (index != 0))

        # Accumulate: memory (2), choice of what to add to, adder.
        store = BlockMemory(width * summed.columns, spec.longest_pass,
                            distributed=self.distributed)
        m.submodules.accumulators = store
        m.d.comb += [store.r_en.eq(1), store.o_en.eq(1), store.r_addr.eq(tag_summed[:len(row)])]
        fresh = pipe.reg(tag_summed, 2)[-3]
        before = pipe.reg(Mux(fresh, 0, store.o_data))
        sums = pipe.reg(array.sums, 3)
        tag_out = pipe.reg(tag_summed, 3)
        totals = []
        for column in range(summed.columns):
            addend = sums[column * summed.sum_format.width:(column + 1) * summed.sum_format.width]
            total = Signal(shape_of(summed.out_format), name=f"total_{column}")
            m.d.comb += total.eq(before[column * width:(column + 1) * width] + addend.as_signed())
            totals.append(pipe.reg(total))
        stored = valid[array.latency + self.ACCUMULATE_STAGES]
        closing, last = tag_out[-2], tag_out[-1]
        m.d.comb += [
            store.w_en.eq(stored),
            store.w_addr.eq(pipe.reg(tag_out[:len(row)])),
            store.w_data.eq(Cat(*totals)),
        ]
        out, stages = self.o.payload, 1 + self.splits
        m.d.comb += [
            self.o.valid.eq(valid[-1] & pipe.reg(closing, stages)),
            out.last.eq(pipe.reg(last, stages)),
        ]
        if self.splits:
            m.d.comb += out.paired.eq(self._join(m, pipe, gate, totals))
        else:
            m.d.comb += [out.data[column].eq(total) for column, total in enumerate(totals)]
        return m

    def _join(self, m: Module, pipe: Pipeline, gate: RowGate, totals: list[Value]) -> Value:
        """Make whole sums of halves where weights are whole; return whether they are not.

        As long as no inner dimension is longer than `spec.longest_inner`, no half overflows its
        format, nor the whole, which is the sum over whole weights.
        """
        # Of the tile that is loaded, and of the one that is in use.
        loaded, paired = Signal(reset_less=True), Signal(reset_less=True)
        with m.If(self._array.load):
            m.d.sync += loaded.eq(self.w.payload.paired)
        with m.If(gate.starts):
            m.d.sync += paired.eq(loaded)
        # It is a cycle late, and comes before what it decides.
        joins = pipe.reg(~paired, self._array.latency + self.ACCUMULATE_STAGES - 1)
        out, half = self.o.payload, self.spec.weight_width // 2
        for column in range(self.spec.columns):
            low, high = totals[2 * column:2 * column + 2]
            whole = Signal(shape_of(self.spec.out_format), name=f"whole_{column}")
            upper = Mux(joins, high, 0).as_signed()
            m.d.comb += [whole.eq(low + (upper << half)),
                         out.data[column].eq(pipe.reg(whole)),
                         out.upper[column].eq(pipe.reg(high))]
        return pipe.reg(~joins)
