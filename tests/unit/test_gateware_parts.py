"""Parts that several units share, in Amaranth's simulator against plain Python."""

from math import isqrt

import numpy as np
import pytest
from amaranth.hdl import Const, Elaboratable, Module, Signal, signed, unsigned
from amaranth.lib import data
from amaranth.sim import Simulator

from vitrtl.hw.device import Device
from vitrtl.hw.divider import Reciprocal, pipelined_fraction, pipelined_reciprocal
from vitrtl.hw.multiplier import Multiplier
from vitrtl.hw.pipeline import Pipeline
from vitrtl.hw.row import TAPS, RowBuffer
from vitrtl.hw.row_statistics import MeanVariance, ReciprocalRoot, SquareRoot
from vitrtl.hw.running_sums import RunningSums
from vitrtl.hw.timing import Timing
from vitrtl.sw.golden.layernorm_newton import NewtonSpec
from vitrtl.sw.golden.reciprocal_root import reciprocal_root


def pass_through(dut, inputs, read):
    """Send payloads through a component of streams `i` and `o`; return results and cycles."""
    results, cycles = [], []

    async def source(ctx):
        for payload in inputs:
            ctx.set(dut.i.payload, payload)
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        cycle = 0
        ctx.set(dut.o.ready, 1)
        while len(results) < len(inputs):
            _, _, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            cycle += 1
            if valid:
                results.append(read(payload))
                cycles.append(cycle)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    return results, np.diff(cycles)


def pipelined(build, widths, inputs, stages):
    """Return what a pipeline gives for operands, one after the other."""
    m = Module()
    operands = [Signal(width) for width in widths]
    result = build(Pipeline(m, Const(1)), *operands)
    results = []

    async def bench(ctx):
        for values in [*inputs, *inputs[:stages - 1]]:
            for operand, value in zip(operands, values, strict=True):
                ctx.set(operand, value)
            await ctx.tick()
            results.append(ctx.get(result))

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return results[stages - 1:]


def test_pipelined_reciprocal_is_the_floor():
    rng = np.random.default_rng(0)
    divisors = [2, 3, 2**12 - 1, *(2**k + d for k in range(2, 12) for d in (-1, 0, 1)),
                *(2 ** rng.uniform(1, 12, 200)).astype(int).tolist()]
    results = pipelined(lambda pipe, d: pipelined_reciprocal(pipe, d, 11), [12],
                        [(d,) for d in divisors], 11)
    assert results == [(2**12 - 1) // d for d in divisors]


def test_pipelined_fraction_is_the_floor_and_all_ones_for_one():
    pairs = [(n, d) for d in range(1, 32) for n in range(d + 1)]
    results = pipelined(lambda pipe, n, d: pipelined_fraction(pipe, n, d, 7), [5, 5], pairs, 7)
    assert results == [min((n << 7) // d, 127) for n, d in pairs]


@pytest.mark.parametrize("numerator", [2**31 - 1, 2**32])
def test_reciprocal_is_the_floor_and_takes_the_stated_cycles(numerator):
    rng = np.random.default_rng(0)
    lowest = (numerator >> 18) + 1
    divisors = [lowest, lowest + 1, 2**23 - 1, *rng.integers(lowest, 2**23, 40).tolist()]
    dut = Reciprocal(numerator, divisor_width=23, quotient_width=18)
    results, gaps = pass_through(dut, divisors, int)
    assert results == [numerator // d for d in divisors]
    assert set(gaps) == {dut.cycles}


class LongerReciprocal(Elaboratable):
    """A reciprocal whose numerators are all longer by as much."""

    def __init__(self, longer: int) -> None:
        self.unit = Reciprocal(2**21 - 1, divisor_width=20, quotient_width=12, most_longer=3)
        self.i, self.o, self.longer = self.unit.i, self.unit.o, longer

    def elaborate(self, platform):
        m = Module()
        m.submodules.unit = self.unit
        m.d.comb += self.unit.longer.eq(self.longer)
        return m


@pytest.mark.parametrize("longer", range(4))
def test_a_longer_numerator_is_as_good_as_a_shifted_divisor(longer):
    rng = np.random.default_rng(0)
    divisors = [2**9, 2**9 + 1, 2**17 - 1, *rng.integers(2**9, 2**17, 40).tolist()]
    results, gaps = pass_through(LongerReciprocal(longer), [d << longer for d in divisors], int)
    assert results == [(2**21 - 1) // d for d in divisors]
    assert set(gaps) == {13}


def test_reciprocal_refuses_a_numerator_it_cannot_make_longer():
    with pytest.raises(ValueError, match="^a numerator that can be longer must be all ones, "
                                         "not 0x100$"):
        Reciprocal(0x100, divisor_width=8, quotient_width=4, most_longer=1)


def test_reciprocal_refuses_a_numerator_it_cannot_stream():
    with pytest.raises(ValueError, match="^the low 4 bits of the numerator must be all equal, "
                                         "not 0x5$"):
        Reciprocal(0x15, divisor_width=8, quotient_width=4)


def test_square_root_is_the_floor_and_at_least_one():
    values = [0, 1, 2, 3, 4, 2**39 - 1, 2**38, 2**38 - 1, 999**2, 999**2 - 1]
    dut = SquareRoot(39)
    results, gaps = pass_through(dut, values, int)
    assert results == [max(isqrt(v), 1) for v in values]
    assert set(gaps) == {dut.cycles}


@pytest.mark.parametrize("width", [9, 38, 43])
def test_reciprocal_root_is_its_golden_function_in_the_same_time_for_all_values(width):
    values = [0, 1, 2, 3, *(2**n - 1 for n in range(3, width + 1)), *(2**n for n in range(width))]
    dut = ReciprocalRoot(width)
    results, gaps = pass_through(dut, values, int)
    assert results == reciprocal_root(np.array(values), width).tolist()
    assert set(gaps) == {dut.cycles}


def test_mean_and_variance_of_a_row_are_exact():
    spec = NewtonSpec()
    rng = np.random.default_rng(1)
    rows = [rng.integers(-2**15, 2**15, n) for n in (1, 2, 3, 5, 64, 197, 256)]
    rows += [np.full(256, -2**15), np.full(256, 2**15 - 1), np.array([0, 1]), np.array([1, 2]),
             np.array([0, -1]), np.array([-1, -2])]
    inputs = [{"total": int(r.sum()), "squares": int((r * r).sum()), "count": len(r)}
              for r in rows]
    dut = MeanVariance(spec)
    results, gaps = pass_through(dut, inputs, lambda p: (int(p.mean), int(p.variance)))
    expected = []
    for row in rows:
        # Python rounds the exact quotient of small integers to even as well.
        mean = round(int(row.sum()) / len(row))
        expected.append((mean, int(((row - mean) ** 2).sum())))
    assert results == expected
    assert set(gaps) == {dut.cycles}


@pytest.mark.parametrize("distributed", [False, True])
def test_row_buffer_keeps_order_and_capacity_under_pauses(distributed):
    dut = RowBuffer(width=12, longest_beats=20, distributed=distributed)
    rng = np.random.default_rng(2)
    sent, received = rng.integers(0, 2**12, 500).tolist(), []

    async def source(ctx):
        for word in sent:
            while rng.random() < 0.3:
                await ctx.tick()
            ctx.set(dut.w_data, word)
            ctx.set(dut.w_en, 1)
            await ctx.tick().until(dut.w_rdy)
            ctx.set(dut.w_en, 0)

    async def sink(ctx):
        # First let it fill up to the brim.
        for _ in range(300):
            await ctx.tick()
        assert dut.depth - 4 <= ctx.get(dut.level) < dut.depth
        while len(received) < len(sent):
            take = rng.random() < 0.6
            ctx.set(dut.r_en, take)
            _, _, ready, word = await ctx.tick().sample(dut.r_rdy, dut.r_data)
            if take and ready:
                received.append(word)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    assert received == sent


@pytest.mark.parametrize(("width", "taps"), TAPS.items())
def test_row_buffer_addresses_come_round_after_every_place_but_one(width, taps):
    place, passed = 0, 0
    while not passed or place:
        feedback = ~sum(place >> (bit - 1) for bit in taps) & 1
        place = (place << 1 | feedback) & ((1 << width) - 1)
        passed += 1
    assert passed == (1 << width) - 1


def test_multiplier_refuses_operands_wider_than_a_block():
    with pytest.raises(ValueError, match="^multiplier operand b must be 1..18 bits, not 19$"):
        Multiplier(signed(8), unsigned(19))


def test_device_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="^device must be one of generic, ecp5, not 'ice40'$"):
        Device("ice40")


def test_timing_adds_up():
    timing = Timing(latency_fixed=33, latency_per_beat=2, interval_min=17)
    assert (timing.latency(64), timing.cycles(64)) == (161, 225)
    assert (timing.interval(64), timing.interval(3)) == (64, 17)


@pytest.mark.parametrize("waits", [0, 0.5, 0.9], ids="waits {}".format)
@pytest.mark.parametrize("lanes", [1, 2, 4])
def test_running_sums_lose_nothing_while_they_wait(lanes, waits):
    rng = np.random.default_rng(lanes)
    rows = [rng.integers(-128, 128, (beats, lanes)) for beats in rng.integers(1, 6, 25)]
    m = Module()
    elements = [Signal(signed(8)) for _ in range(lanes)]
    comes, last, starts, take = Signal(), Signal(), Signal(), Signal()
    sums = RunningSums(m, data.StructLayout({"total": signed(14), "count": 5}),
                       Pipeline(m, Const(1)), {"total": elements, "count": [Const(1)] * lanes},
                       comes, last, starts, take)
    found = []

    async def source(ctx):
        for row in rows:
            # Between rows and beats comes what must not be added.
            while not ctx.get(sums.may_start):
                ctx.set(elements[0], 77)
                await ctx.tick()
            for place, beat in enumerate(row.tolist()):
                for element, value in zip(elements, beat, strict=True):
                    ctx.set(element, value)
                for signal, value in ((comes, 1), (starts, place == 0),
                                      (last, place == len(row) - 1)):
                    ctx.set(signal, value)
                await ctx.tick()
                ctx.set(comes, 0)
                ctx.set(starts, 0)
                if rng.random() < 0.2:
                    await ctx.tick()

    async def sink(ctx):
        while len(found) < len(rows):
            taken = ctx.get(sums.valid) and rng.random() >= waits
            ctx.set(take, taken)
            if taken:
                word = ctx.get(sums.value)
                total = word & 0x3FFF
                found.append((total - (total >> 13 << 14), word >> 14))
            await ctx.tick()

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run_until(4e-3)
    assert found == [(row.sum(), row.size) for row in rows]
