"""The systolic array and its multipliers, in Amaranth's simulator against plain integers."""

import itertools

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.sim import Simulator

from vitrtl.hw.device import DEVICES
from vitrtl.hw.multiplier import Multiplier
from vitrtl.hw.paired_multiplier import PairedMultiplier
from vitrtl.hw.systolic import SystolicArray
from vitrtl.hw.verilog import generate
from vitrtl.sw.golden.matmul import MatMulSpec


def packed(codes, width):
    return sum((int(code) & ((1 << width) - 1)) << width * i for i, code in enumerate(codes))


@pytest.mark.parametrize("widths", [(8, 4, 4), (3, 5, 5), (2, 2, 2), (8, 5, 4), (4, 3, 5)])
def test_both_products_are_exact_for_all_operands(widths):
    dut = PairedMultiplier(*map(signed, widths))
    ranges = [range(-(1 << width - 1), 1 << width - 1) for width in widths]
    operands = list(itertools.product(*ranges))
    products = []

    async def bench(ctx):
        ctx.set(dut.en, 1)
        ctx.set(dut.en_b, 1)
        for a, low, high in [*operands, *[(0, 0, 0)] * (dut.LATENCY - 1)]:
            ctx.set(dut.a, a)
            ctx.set(dut.b, {"low": low, "high": high})
            _, _, low, high = await ctx.tick().sample(dut.o_low, dut.o_high)
            products.append((low, (high + 1) >> 1))
        products.append((ctx.get(dut.o_low), (ctx.get(dut.o_high) + 1) >> 1))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    wanted = [(a * b0, a * b1) for a, b0, b1 in operands]
    assert products[dut.LATENCY:] == wanted


@pytest.mark.parametrize(("shapes", "message"), [
    ((signed(8), signed(5), signed(5)), (r"^paired operands must pack into 18 bits, which "
                                         r"signed\(8\) with signed\(5\) and signed\(5\) do not$")),
    ((unsigned(8), signed(4), signed(4)), (r"^paired operands must be signed, not unsigned\(8\) "
                                           r"with signed\(4\) and signed\(4\)$")),
])
def test_operands_that_do_not_pack_are_refused(shapes, message):
    with pytest.raises(ValueError, match=message):
        PairedMultiplier(*shapes)


@pytest.mark.parametrize(("widths", "fits"), [
    ((8, 4, 4), True), ((9, 4, 4), True), ((10, 4, 4), False), ((8, 5, 5), False),
    ((7, 5, 5), True), ((16, 2, 2), False), ((8, 5, 4), True), ((8, 4, 5), True),
    ((9, 5, 4), False)])
def test_a_pair_fits_if_the_packed_operand_has_18_bits(widths, fits):
    assert PairedMultiplier.fits(*map(signed, widths)) == fits
    if fits:
        a, low, high = widths
        lowest = -(1 << low - 1)
        assert (-(1 << high - 1) << a + low) + lowest >= -(1 << Multiplier.LONGEST - 1)


def multiply(spec, tiles, passes, *, transposed=False, pairs=None):
    """Send passes over tiles, each as soon as its tile stands; return their sums.

    Every sum is taken `latency` cycles after its activations, and a tile is written from `wave`
    cycles after the swap on.

    Parameters
    ----------
    pairs : for an array that splits weights, whether those of each tile are pairs.
    """
    dut = SystolicArray(spec, splits=pairs is not None)
    events, at, results = {}, 0, [[] for _ in passes]
    for number, (tile, rows) in enumerate(zip(tiles, passes, strict=True)):
        for index, beat in enumerate(tile.T if transposed else tile):
            events.setdefault(at + index, {})["load"] = (index, beat, pairs and pairs[number])
        begins = at + len(tile)
        for index, row in enumerate(rows):
            events.setdefault(begins + index, {})["row"] = (row, index == 0)
            events.setdefault(begins + index + dut.latency, {})["sums"] = number
        at = begins + max(dut.wave, len(rows) - len(tile))

    async def bench(ctx):
        ctx.set(dut.transposed, int(transposed))
        for cycle in range(max(events) + 1):
            event = events.get(cycle, {})
            index, beat, paired = event.get("load", (0, [0], False))
            row, swap = event.get("row", ([0], False))
            ctx.set(dut.load, "load" in event)
            ctx.set(dut.load_index, index)
            if pairs is not None:
                ctx.set(dut.paired, int(paired))
            ctx.set(dut.weights.as_value(), packed(beat, spec.weight_width))
            ctx.set(dut.activations.as_value(), packed(row, spec.in_width))
            ctx.set(dut.swap, int(swap))
            if "sums" in event:
                results[event["sums"]].append([ctx.get(s) for s in dut.sums])
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return dut, results


@pytest.mark.parametrize("weight_width", [4, 8])
@pytest.mark.parametrize(("rows", "columns", "transposed"), [
    (4, 4, False), (4, 4, True), (3, 3, True), (2, 5, False), (5, 2, False), (2, 7, False)])
def test_sums_come_when_stated_and_the_next_tile_can_be_written_then(rows, columns, transposed,
                                                                     weight_width):
    spec = MatMulSpec(rows=rows, columns=columns, transposable=transposed,
                      weight_width=weight_width)
    rng = np.random.default_rng(0)
    lo = spec.weight_format.lo
    tiles = [np.full((rows, columns), lo), *rng.integers(lo, -lo, (5, rows, columns))]
    passes = [np.full((1, rows), -128), *(rng.integers(-128, 128, (n, rows))
                                          for n in (1, 9, 2, 12, 3))]
    dut, results = multiply(spec, tiles, passes, transposed=transposed)
    for tile, rows_in, sums in zip(tiles, passes, results, strict=True):
        np.testing.assert_array_equal(sums, rows_in @ tile)
    steps = columns if weight_width == 8 else (columns + 1) // 2
    assert dut.latency == rows + steps + 2
    assert dut.wave == max(rows, steps)


@pytest.mark.parametrize("transposed", [False, True])
def test_weights_are_split_in_halves_or_are_two_each_from_tile_to_tile(transposed):
    spec = MatMulSpec(rows=4, columns=4)
    rng = np.random.default_rng(1)
    pairs = [True, False, True, True, False, False]
    tiles = [np.full((4, 4), -120), np.full((4, 4), -113), *rng.integers(-128, 128, (4, 4, 4))]
    passes = [np.full((1, 4), -128), *(rng.integers(-128, 128, (n, 4)) for n in (1, 9, 2, 12, 3))]
    dut, results = multiply(spec, tiles, passes, transposed=transposed, pairs=pairs)
    for tile, rows, sums, paired in zip(tiles, passes, results, pairs, strict=True):
        low, high = np.array(sums)[:, ::2], np.array(sums)[:, 1::2]
        if paired:
            np.testing.assert_array_equal(low, rows @ (((tile & 15) ^ 8) - 8))
            np.testing.assert_array_equal(high, rows @ (tile >> 4))
        else:
            np.testing.assert_array_equal(low + 16 * high, rows @ tile)
    plain = SystolicArray(spec)
    assert (dut.latency, dut.wave) == (plain.latency, plain.wave)
    assert dut.summed.longest_inner == spec.longest_inner


@pytest.mark.parametrize("device", DEVICES)
def test_short_weights_take_half_the_multipliers(device):
    counts = {}
    for width in (4, 5, 8):
        text = generate("matmul", MatMulSpec(rows=4, columns=4, weight_width=width), device)
        counts[width] = (text.count("MULT18X18D #(") if device == "ecp5"
                         else sum(" * " in line for line in text.splitlines()))
    assert counts == {4: 8, 5: 16, 8: 16}
