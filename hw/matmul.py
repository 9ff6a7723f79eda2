"""Matrix multiplication on a systolic array, golden model `vitrtl.sw.golden.matmul`."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from vitrtl.hw.accumulating_array import AccumulatingArray
from vitrtl.hw.config import ConfigBank
from vitrtl.hw.row import RowBuffer, RowGate
from vitrtl.hw.stream import ConfigWord, shape_of
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

    def __init__(self, spec: MatMulSpec) -> None:
        self.spec = spec
        self._array = AccumulatingArray(spec)
        super().__init__({
            "c": In(stream.Signature(ConfigWord(spec))),
            "w": In(stream.Signature(WeightBeat(spec))),
            "a": In(stream.Signature(ActivationBeat(spec))),
            "o": Out(stream.Signature(ResultBeat(spec))),
        })

    @property
    def latency(self) -> int:
        """Cycles from an activation beat of the last pass to its result beat, without stalls."""
        return self._array.latency + RowBuffer.LATENCY

    @property
    def shortest_pass(self) -> int:
        """Beats of the shortest pass that keeps the array busy."""
        return self._array.shortest_pass

    @property
    def timing(self) -> Timing:
        """Cycles, with a pass for a row and an activation beat for a beat."""
        return Timing(latency_fixed=self.latency, interval_min=self.shortest_pass)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.array = array = self._array

        # Results queue up at the end. Activations are taken while there is room for what is in
        # the array, which itself never stops.
        width = spec.out_format.width
        queue = m.submodules.results = RowBuffer(width * spec.columns + 1, array.latency)
        room = Signal()
        m.d.sync += room.eq(queue.level < queue.depth - array.latency - 4)

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
        m.d.sync += idle.eq(opening & ~array.busy)

        # No tile and no round is begun while a configuration word waits.
        m.d.comb += [
            array.hold.eq(self.c.valid),
            array.w.valid.eq(self.w.valid),
            array.w.payload.data.eq(self.w.payload.data),
            self.w.ready.eq(array.w.ready),
            array.a.valid.eq(self.a.valid & room),
            array.a.payload.data.eq(self.a.payload.data),
            array.a.payload.last.eq(self.a.payload.last),
            array.a.payload.opening.eq(opening),
            array.a.payload.closing.eq(closing),
            self.a.ready.eq(array.a.ready & room),
            transfer.eq(self.a.valid & self.a.ready),
        ]
        if spec.transposable:
            m.d.comb += array.w.payload.transposed.eq(config.scalar("transposed"))

        # Results leave during the last pass.
        leaving = RowGate(m, self.o.valid & self.o.ready, self.o.payload.last)
        m.d.comb += [
            queue.w_en.eq(array.o.valid),
            queue.w_data.eq(Value.cast(array.o.payload)),
            queue.r_en.eq(self.o.ready),
            self.o.valid.eq(queue.r_rdy),
            Value.cast(self.o.payload.data).eq(queue.r_data[:-1]),
            self.o.payload.first.eq(~leaving.in_row),
            self.o.payload.last.eq(queue.r_data[-1]),
        ]
        return m


GATES = MatMul
