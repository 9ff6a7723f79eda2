"""I-LayerNorm of I-ViT, golden model `vitrtl.sw.golden.layernorm_newton`."""

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import Reciprocal
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import Handover, RowEmit, RowGate, RowIntake
from vitrtl.hw.row_statistics import MeanVariance, RowSums, SquareRoot
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.layernorm_newton import NewtonSpec

__all__ = ["GATES", "NewtonLayerNorm"]


class NewtonLayerNorm(wiring.Component):
    """`o = (((i - mean) * floor((2**31 - 1) / sqrt(V))) >> 1) + bias`, in one pass over the row.

    The sum and the sum of squares give mean and V exactly, so the row is read twice in all: once
    as it comes, once as it leaves. Mean, root and reciprocal run beside the stream, each on a row
    of its own.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    One row, then mean, root and reciprocal one after the other, then the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the reciprocal takes.
    """

    OUT_STAGES = 5

    def __init__(self, spec: NewtonSpec) -> None:
        self.spec = spec
        self._mean_variance = MeanVariance(spec)
        self._root = SquareRoot(spec.square_sum_format.width)
        self._reciprocal = Reciprocal(2**31 - 1, spec.root_format.width, 31)
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        tree = (self.spec.lanes - 1).bit_length()
        stages = (self._mean_variance.cycles, self._root.cycles, self._reciprocal.cycles)
        return Timing(latency_fixed=2 + tree + sum(stages) + self.OUT_STAGES,
                      latency_per_beat=1, interval_min=max(stages))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes, width = spec.lanes, spec.in_width

        # Take rows; add elements and their squares.
        intake = RowIntake(m, spec, self, slack=self.timing.latency_fixed)
        config = ConfigBank(m, spec, self.c, intake.idle)
        run = Pipeline(m, Const(1))
        kept = [Mux(keep, x, 0).as_signed()
                for keep, x in zip(intake.keep, self.i.payload.data, strict=True)]
        elements = [run.reg(x, 2) for x in kept]
        squares = [run.multiply(x, x)[:2 * width - 1] for x in kept]
        tree = (lanes - 1).bit_length()
        for _ in range(tree):
            elements = [run.reg(a + b) for a, b in zip(elements[::2], elements[1::2], strict=True)]
            squares = [run.reg(a + b) for a, b in zip(squares[::2], squares[1::2], strict=True)]
        valid = run.reg(intake.transfer, 2 + tree, reset_less=False)
        adding = RowGate(m, valid, run.reg(self.i.payload.last, 2 + tree))
        held = 1 if lanes == 1 else run.reg(sum(intake.keep[1:], intake.keep[0]), 2 + tree)
        sums = Signal(RowSums(spec), reset_less=True)
        with m.If(valid):
            m.d.sync += [
                sums.total.eq(Mux(adding.in_row, sums.total, 0) + elements[0]),
                sums.squares.eq(Mux(adding.in_row, sums.squares, 0) + squares[0]),
                sums.count.eq(Mux(adding.in_row, sums.count, 0) + held),
            ]
        take_sums = Signal()
        ready_sums = Handover(m, Value.cast(sums), intake.gate.starts, adding.ends, take_sums)
        m.d.comb += intake.may_start.eq(ready_sums.may_start)

        # Beside the stream, once a row: mean and V, root, reciprocal. Means wait in a queue of
        # one place for each row that can be under way.
        m.submodules.mean_variance = statistics = self._mean_variance
        m.submodules.root = root = self._root
        m.submodules.reciprocal = factors = self._reciprocal
        m.submodules.means = means = SyncFIFO(width=width + 1, depth=4)
        m.d.comb += [
            statistics.i.valid.eq(ready_sums.valid),
            Value.cast(statistics.i.payload).eq(ready_sums.value),
            take_sums.eq(ready_sums.valid & statistics.i.ready),
            root.i.valid.eq(statistics.o.valid & means.w_rdy),
            root.i.payload.eq(statistics.o.payload.variance),
            statistics.o.ready.eq(root.i.ready & means.w_rdy),
            means.w_en.eq(statistics.o.valid & root.i.ready),
            means.w_data.eq(statistics.o.payload.mean),
        ]
        wiring.connect(m, root.o, factors.i)

        # Read the row again: deviation, product, bias.
        emit = RowEmit(m, spec, self.o, intake.buffer, factors.o.valid)
        pipe = emit.pipe
        m.d.comb += [factors.o.ready.eq(emit.ends), means.r_en.eq(emit.ends)]
        mean = pipe.reg(means.r_data).as_signed()
        factor = pipe.reg(factors.o.payload)
        biases = config.memory("bias", lanes)
        address = Signal(len(biases[0].r_addr))
        with m.If(emit.takes):
            m.d.sync += address.eq(Mux(emit.ends, 0, address + 1))
        for store in biases:
            m.d.comb += [store.r_addr.eq(pipe.reg(address, 2)), store.r_en.eq(pipe.advance),
                         store.o_en.eq(pipe.advance)]

        def lane(index: int) -> Value:
            # Stage 1: element, mean and factor into registers.
            element = pipe.reg(emit.fields[index * width:(index + 1) * width].as_signed())
            deviation = Signal(signed(width + 1))
            m.d.comb += deviation.eq(element - mean)
            # Stages 2 to 4: product; its last bit is dropped.
            z = (pipe.multiply_wide(deviation, factor) >> 1)[:31].as_signed()
            # Stage 5: bias.
            total = Signal(shape_of(spec.out_format))
            m.d.comb += total.eq(z + biases[index].o_data.as_signed())
            return pipe.reg(total)

        emit.finish(self.OUT_STAGES, lane)
        return m


GATES = NewtonLayerNorm
