"""Softermax, golden model `vitrtl.sw.golden.softmax_softermax`."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring

from vitrtl.hw.config import ConfigBank
from vitrtl.hw.divider import Reciprocal
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import Handover, RowEmit, RowGate, RowIntake, RowRegister
from vitrtl.hw.stream import shape_of, vector_signature
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.softmax_softermax import KNOTS, SoftermaxSpec

__all__ = ["GATES", "Softermax"]


class Softermax(wiring.Component):
    """`o = ((2**r >> (m - n)) * floor((2**31 - 1) / sum)) >> (32 - k)`, in one pass over the row.

    The sum counts from a running maximum of whole octaves; a new maximum shifts it. Here it counts
    from the next of every fourth octave, with three bits more, so that it is shifted by multiples
    of four; what those bits hold is below the published sum's last one, and dropped with the row's
    end. The buffer keeps `(2**r, n)` of each element, and what is left to do as the row leaves is
    a shift by its distance from the maximum, and the product.

    Members
    -------
    c : configuration words, taken while no row is in flight.
    i, o : rows.

    Latency
    -------
    One row, the stages of the sum, the reciprocal, then the data path.

    Throughput
    ----------
    One beat per cycle, sustained from row to row, for rows no shorter than the reciprocal takes.
    """

    ENCODER_STAGES = 4
    OUT_STAGES = 5

    def __init__(self, spec: SoftermaxSpec) -> None:
        self.spec = spec
        self._reciprocal = Reciprocal(2**31 - 1, spec.sum_format.width + 3,
                                      spec.factor_format.width, most_longer=3)
        super().__init__(vector_signature(spec))

    @property
    def timing(self) -> Timing:
        """Cycles for a row of B beats."""
        tree = (self.spec.lanes - 1).bit_length()
        once = self._reciprocal.cycles
        return Timing(latency_fixed=8 + 2 * tree + once + self.OUT_STAGES,
                      latency_per_beat=1, interval_min=once)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes, width = spec.lanes, spec.kept_format.width
        tree = (lanes - 1).bit_length()
        intake = RowIntake(m, spec, self, encoder_stages=self.ENCODER_STAGES,
                           element_format=spec.kept_format, most_rows=5 + self.OUT_STAGES)
        config = ConfigBank(m, spec, self.c, intake.idle)
        exponent = config.scalar("exponent")
        run = Pipeline(m, Const(1))

        # Stages 1 and 2: scores in octaves, and one more than the octave above each, then a tree
        # over the lanes; up to stage 4 the mantissas.
        elements = list(self.i.payload.data)
        if lanes > 1:
            elements = [Mux(keep, x, spec.in_format.lo).as_signed()
                        for keep, x in zip(intake.keep, elements, strict=True)]
        wholes, ceilings, mantissas = [], [], []
        for x in elements:
            aligned = Signal(shape_of(spec.aligned_format))
            m.d.comb += aligned.eq((x << spec.finest) >> exponent)
            score = run.reg(aligned)
            whole, fraction = score[spec.finest:].as_signed(), score[:spec.finest]
            wholes.append(whole)
            between = fraction.any()
            ceilings.append(run.reg((whole + Cat(~between, between))[:len(whole) + 1].as_signed()))
            mantissas.append(self._power(run, fraction))
        for _ in range(tree):
            ceilings = [run.reg(Mux((a - b)[-1], b, a))
                        for a, b in zip(ceilings[::2], ceilings[1::2], strict=True)]

        # The leading one of a mantissa goes without saying.
        intake.store(run, [Cat(mantissa[:-1], run.reg(whole, 3))
                           for whole, mantissa in zip(wholes, mantissas, strict=True)])

        # Stage 3: the running maximum plus one, and by how much it rises.
        valid = run.reg(intake.transfer, 2 + tree, reset_less=False)
        last = run.reg(self.i.payload.last, 2 + tree)
        climbing = RowGate(m, valid, last)
        peak = Signal(shape_of(spec.peak_format), reset_less=True)
        delta = Signal(signed(len(peak) + 1))
        m.d.comb += delta.eq(ceilings[0] - peak)
        rises = ~delta[-1]
        with m.If(valid & (rises | climbing.starts)):
            m.d.sync += peak.eq(ceilings[0])
        rise = run.reg(Mux(rises, delta[:4], 0))
        clear = run.reg(climbing.starts | (rises & delta[4:].any()))
        before = run.reg(peak[:2])

        # Stage 4: by how many fourth octaves, each on a line of its own.
        fourths = Signal(3)
        m.d.comb += fourths.eq((rise + before)[2:])
        shifts = [run.reg(~clear & (fourths == k)) for k in range(5)]

        # Stages 4 to 6: exponentials below the fourth octave, which is at or above the maximum;
        # without the bits that are below the last of one below the maximum. Then a tree over the
        # lanes.
        octave = Cat(Const(3, 2), peak[2:]).as_signed()
        kept = run.reg(self._kept(peak[:2]), 2)
        terms = []
        keeps = run.reg(intake.keep, 5 + tree) if lanes > 1 else Const(1, 1)
        for keep, whole, mantissa in zip(keeps, wholes, mantissas, strict=True):
            distance = run.reg(run.reg(whole, 2 + tree) - octave)
            terms.append(self._placed(run, run.reg(mantissa, tree), distance, kept, keep))
        for _ in range(tree):
            terms = [run.reg(a + b) for a, b in zip(terms[::2], terms[1::2], strict=True)]

        # Stage 7: the sum, and beside it the maximum that it counts from.
        valid, last = run.reg(valid, 4 + tree, reset_less=False), run.reg(last, 4 + tree)
        shifts, peak = [run.reg(shift, 2 + tree) for shift in shifts], run.reg(peak, 3 + tree)
        fine_total = Signal(spec.sum_format.width + 3, reset_less=True)
        reached = Signal.like(peak, reset_less=True)
        rescaled = Signal.like(fine_total)
        m.d.comb += rescaled.eq(reduce(or_, (
            Mux(shift, fine_total >> 4 * k, 0) for k, shift in enumerate(shifts))))
        with m.If(valid):
            m.d.sync += [fine_total.eq(rescaled + terms[0]), reached.eq(peak)]
        # The published sum stands this many places to the left, and so will the numerator.
        places = reached[:2]
        total = Cat(fine_total[:3] & self._kept(places), fine_total[3:])
        take = Signal()
        sums = Handover(m, Cat(total, reached), intake.gate.starts, valid & last, take)
        m.d.comb += intake.may_start.eq(sums.may_start)

        # Beside the stream, once a row: the factor. Its row's maximum keeps pace, in a register
        # for the row of the division and one for the row that leaves.
        factors = m.submodules.factors = self._reciprocal
        dividing = m.submodules.dividing = RowRegister(len(reached))
        leaving = m.submodules.leaving = RowRegister(len(reached))
        wiring.connect(m, dividing.o, leaving.i)
        m.d.comb += [
            factors.i.valid.eq(sums.valid), factors.i.payload.eq(sums.value[:len(total)]),
            factors.longer.eq(sums.value[len(total):len(total) + len(places)]),
            take.eq(sums.valid & factors.i.ready),
            dividing.i.valid.eq(take), dividing.i.payload.eq(sums.value[len(total):]),
        ]

        # Read the row again: its elements below its maximum, times the factor.
        emit = RowEmit(m, spec, self.o, intake.buffer, factors.o.valid)
        pipe = emit.pipe
        m.d.comb += [factors.o.ready.eq(emit.ends), leaving.o.ready.eq(emit.ends)]
        factor = pipe.reg(factors.o.payload, 3)

        def lane(index: int) -> Value:
            kept = emit.fields[index * width:(index + 1) * width]
            whole = kept[-spec.in_width:].as_signed()
            # What is registered is one less than the distance's negation: its inversion.
            distance = whole - leaving.o.payload.as_signed()
            amount = ~pipe.reg(Cat(distance[:4], distance[4:].all()))
            mantissa = pipe.reg(Cat(kept[:-spec.in_width], Const(1, 1)))
            e = pipe.shift_right(mantissa, amount, len(mantissa))
            return pipe.multiply(e, factor) >> (32 - spec.out_bits)

        emit.finish(self.OUT_STAGES, lane)
        return m

    def _power(self, pipe: Pipeline, fraction: Value) -> Value:
        """Return `2**(15 + fraction)`, by a line in each quarter.  Latency: 3 stages."""
        places = self.spec.finest - 2
        offset, line = fraction[:places], fraction[places:]
        rises = Array(Const(b - a, 14) for a, b in zip(KNOTS, KNOTS[1:], strict=False))
        product = pipe.multiply(rises[line], offset)
        mantissa = Signal(shape_of(self.spec.mantissa_format))
        pipe.m.d.comb += mantissa.eq(Array(Const(k, 16) for k in KNOTS[:-1])[pipe.reg(line, 2)]
                                     + (product >> places))
        return pipe.reg(mantissa)

    @staticmethod
    def _kept(places: Value) -> Value:
        """Return which of the last three bits are not below a last bit so many places up."""
        return Cat(places <= bit for bit in range(3))

    @staticmethod
    def _placed(pipe: Pipeline, mantissa: Value, distance: Value, kept: Value,
                keep: Value) -> Value:
        """Return `(mantissa << 3) >> ~distance`, of its last bits those kept.  Latency: 2 stages.

        Parameters
        ----------
        distance : negative.
        kept, keep : which of its last bits are kept, and whether it is at all; both in the cycle
            between the stages.
        """
        amount = ~distance
        fine = pipe.reg(((mantissa << 3) >> amount[:2])[:len(mantissa) + 3])
        fours, beyond = pipe.reg(amount[2:5]), pipe.reg(amount[5:].any())
        coarse = (fine >> (fours << 2))[:len(fine)]
        return pipe.reg(Mux(beyond | ~keep, 0, Cat(coarse[:3] & kept, coarse[3:])))


GATES = Softermax
