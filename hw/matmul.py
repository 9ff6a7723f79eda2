"""Matrix multiplication on a systolic array, golden model `vitrtl.sw.golden.matmul`."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.config import ConfigBank
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowBuffer, RowGate
from vitrtl.hw.stream import ConfigWord, shape_of
from vitrtl.hw.systolic import SystolicArray
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.matmul import MatMulSpec

__all__ = ["GATES", "ActivationBeat", "MatMul", "ResultBeat", "WeightBeat"]


class WeightBeat(data.StructLayout):
    """One row of a weight tile, or one column of it for a transposed operand."""

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.weight_format), spec.columns)})


class ActivationBeat(data.StructLayout):
    """A slice of one output row along the inner dimension; `last` ends the pass."""

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.in_format), spec.rows),
                          "first": 1, "last": 1})


class ResultBeat(data.StructLayout):
    """A slice of one output row along the columns; `last` ends a block of rows."""

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.out_format), spec.columns),
                          "first": 1, "last": 1})


class MatMul(wiring.Component):
    """`o = a @ w` by passes: a pass streams activation rows past one tile of weights.

    Results accumulate over `inner_tiles` passes and leave during the last of them. Weight beats
    of the next pass are taken during this one. A driver keeps the order: the constants of a
    multiplication after all beats of the one before, and before its own weights.
    `vitrtl.sw.golden.matmul.tile` cuts matrices into beats.

    Members
    -------
    c : configuration words, taken while nothing is in flight.
    w : weight beats, `rows` to a tile.
    a : activation beats, up to `longest_pass` to a pass.
    o : result beats.

    Latency
    -------
    `latency` cycles from an activation beat of the last pass to its result beat.

    Throughput
    ----------
    One activation beat per cycle, sustained from pass to pass, for passes no shorter than
    `shortest_pass`: loading a tile takes a cycle per beat, and waits until the wave that puts
    the last one to use has passed.
    """

    ACCUMULATE_STAGES = 4

    def __init__(self, spec: MatMulSpec) -> None:
        self.spec = spec
        self._array = SystolicArray(spec)
        super().__init__({
            "c": In(stream.Signature(ConfigWord(spec))),
            "w": In(stream.Signature(WeightBeat(spec))),
            "a": In(stream.Signature(ActivationBeat(spec))),
            "o": Out(stream.Signature(ResultBeat(spec))),
        })

    @property
    def latency(self) -> int:
        """Cycles from an activation beat of the last pass to its result beat, without stalls."""
        return self._array.latency + self.ACCUMULATE_STAGES + RowBuffer.LATENCY

    @property
    def shortest_pass(self) -> int:
        """Beats of the shortest pass that keeps the array busy."""
        return self._array.wave + self.spec.rows + 1

    @property
    def timing(self) -> Timing:
        """Cycles, with a pass for a row and an activation beat for a beat."""
        return Timing(latency_fixed=self.latency, interval_min=self.shortest_pass)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.array = array = self._array
        pipe = Pipeline(m, Const(1))
        stages = array.latency + self.ACCUMULATE_STAGES

        # Results queue up at the end. Activations are taken while there is room for what is in
        # the array, so that the array itself never stops.
        width = spec.out_format.width
        queue = m.submodules.results = RowBuffer(width * spec.columns + 1, stages)
        room = Signal()
        m.d.sync += room.eq(queue.level < queue.depth - stages - 4)

        # Which pass over the inner dimension this is, and whether anything is in flight.
        transfer, idle = Signal(), Signal(init=1)
        gate = RowGate(m, transfer, self.a.payload.last)
        config = ConfigBank(m, spec, self.c, idle)
        inner_tiles = config.scalar("inner_tiles")
        # Passes left of this round over the inner dimension, this one included.
        left = Signal.like(inner_tiles)
        opening, closing = Signal(init=1), Signal()
        m.d.comb += closing.eq(left == 1)
        with m.If(gate.ends):
            m.d.sync += [left.eq(Mux(closing, inner_tiles, left - 1)), opening.eq(closing)]
        with m.Elif(opening & ~gate.in_row):
            m.d.sync += left.eq(inner_tiles)

        # Load the next tile; once its pass has begun, wait until the wave is through. No tile is
        # begun while a configuration word waits.
        loaded = Signal()
        index = Signal(range(spec.rows))
        wave = Signal(range(array.wave + 1))
        m.d.comb += [
            self.w.ready.eq(~loaded & (wave == 0) & ~(self.c.valid & (index == 0))),
            array.load.eq(self.w.valid & self.w.ready),
            array.load_index.eq(index),
            array.weights.eq(self.w.payload.data),
        ]
        if spec.transposable:
            m.d.comb += array.transposed.eq(config.scalar("transposed"))
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
            m.d.sync += row.eq(Mux(self.a.payload.last, 0, row + 1))

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
        may_start = loaded & settled & ~(opening & self.c.valid)
        m.d.comb += [
            self.a.ready.eq(room & (gate.in_row | may_start)),
            transfer.eq(self.a.valid & self.a.ready),
            array.swap.eq(gate.starts),
            array.activations.eq(self.a.payload.data),
        ]

        # What belongs to a row travels beside the array.
        tag = Cat(row, opening, closing, self.a.payload.last)
        valid = [transfer]
        for _ in range(stages):
            valid.append(pipe.reg(valid[-1], reset_less=False))
        summed = pipe.reg(tag, array.latency)
        busy = gate.in_row | Cat(*valid).any() | loaded | array.load | (index != 0)
        m.d.sync += idle.eq(opening & ~busy)

        # Accumulate: memory (2), choice of what to add to, adder.
        store = BlockMemory(width * spec.columns, spec.longest_pass)
        m.submodules.accumulators = store
        m.d.comb += [store.r_en.eq(1), store.o_en.eq(1), store.r_addr.eq(summed[:len(row)])]
        fresh = pipe.reg(summed, 2)[-3]
        before = pipe.reg(Mux(fresh, 0, store.o_data))
        sums = pipe.reg(array.sums, 3)
        tag_out = pipe.reg(summed, 3)
        emits, last = tag_out[-2], tag_out[-1]
        totals = []
        for column in range(spec.columns):
            addend = sums[column * spec.sum_format.width:(column + 1) * spec.sum_format.width]
            total = Signal(shape_of(spec.out_format), name=f"total_{column}")
            m.d.comb += total.eq(before[column * width:(column + 1) * width] + addend.as_signed())
            totals.append(pipe.reg(total))
        m.d.comb += [
            store.w_en.eq(valid[-1]),
            store.w_addr.eq(pipe.reg(tag_out[:len(row)])),
            store.w_data.eq(Cat(*totals)),
        ]

        # Results leave during the last pass.
        leaving = RowGate(m, self.o.valid & self.o.ready, self.o.payload.last)
        m.d.comb += [
            queue.w_en.eq(valid[-1] & pipe.reg(emits)),
            queue.w_data.eq(Cat(*totals, pipe.reg(last))),
            queue.r_en.eq(self.o.ready),
            self.o.valid.eq(queue.r_rdy),
            Value.cast(self.o.payload.data).eq(queue.r_data[:-1]),
            self.o.payload.first.eq(~leaving.in_row),
            self.o.payload.last.eq(queue.r_data[-1]),
        ]
        return m


GATES = MatMul
