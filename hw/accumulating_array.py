"""The systolic array with accumulators behind it, fed pass by pass."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.block_memory import BlockMemory
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import RowGate
from vitrtl.hw.stream import shape_of
from vitrtl.hw.systolic import SystolicArray
from vitrtl.sw.golden.matmul import MatMulSpec

__all__ = ["AccumulatingArray", "PassBeat", "SumBeat", "TileBeat"]


class TileBeat(data.StructLayout):
    """One row of a weight tile, or one column of it if it is `transposed`, all beats alike."""

    def __init__(self, spec: MatMulSpec) -> None:
        super().__init__({"data": data.ArrayLayout(shape_of(spec.weight_format), spec.columns),
                          "transposed": 1})


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


class AccumulatingArray(wiring.Component):
    """A pass streams activation rows past one tile of weights.

    Results accumulate from an opening pass to the next closing one, and leave during that. Weight
    beats of the next pass are taken during this one. Nothing behind the entrance ever stops.

    Parameters
    ----------
    spec : its numbers.
    distributed : the accumulators are not in block memory.

    Members
    -------
    w : weight beats, `rows` to a tile.
    a : activation beats, up to `longest_pass` to a pass.
    hold : no tile is begun, and no opening pass.
    o : result beats, which cannot wait.
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

    def __init__(self, spec: MatMulSpec, *, distributed: bool = False) -> None:
        self.spec = spec
        self.distributed = distributed
        self._array = SystolicArray(spec)
        super().__init__({
            "w": In(stream.Signature(TileBeat(spec))),
            "a": In(stream.Signature(PassBeat(spec))),
            "hold": In(1),
            "o": Out(stream.Signature(SumBeat(spec), always_ready=True)),
            "busy": Out(1),
        })

    @property
    def latency(self) -> int:
        """Cycles from an activation beat of a closing pass to its result beat."""
        return self._array.latency + self.ACCUMULATE_STAGES

    @property
    def shortest_pass(self) -> int:
        """Beats of the shortest pass that keeps the array busy."""
        return self._array.wave + self.spec.rows + 1

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.array = array = self._array
        pipe = Pipeline(m, Const(1))
        width = spec.out_format.width
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
        summed = pipe.reg(tag, array.latency)
        m.d.comb += self.busy.eq(
            gate.in_row | Cat(*valid).any() | loaded | array.load | (index != 0))

        # Accumulate: memory (2), choice of what to add to, adder.
        store = BlockMemory(width * spec.columns, spec.longest_pass, distributed=self.distributed)
        m.submodules.accumulators = store
        m.d.comb += [store.r_en.eq(1), store.o_en.eq(1), store.r_addr.eq(summed[:len(row)])]
        fresh = pipe.reg(summed, 2)[-3]
        before = pipe.reg(Mux(fresh, 0, store.o_data))
        sums = pipe.reg(array.sums, 3)
        tag_out = pipe.reg(summed, 3)
        closing, last = tag_out[-2], tag_out[-1]
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
            self.o.valid.eq(valid[-1] & pipe.reg(closing)),
            self.o.payload.last.eq(pipe.reg(last)),
        ]
        m.d.comb += [self.o.payload.data[column].eq(total) for column, total in enumerate(totals)]
        return m
