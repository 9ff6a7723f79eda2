"""Serial port: bytes over the line, at the rates that two ends may have."""

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.sim import Simulator

from vitrtl.hw.uart import BITS_PER_BYTE, UartReceiver, UartTransmitter, baud_divisor

BYTES = [0x00, 0xFF, 0x55, 0xAA, 0x01, 0x80, *range(0x30, 0x3C)]


def line_of(data, divisor):
    """Return the level of the line in every cycle."""
    bits = [1, 1]
    for byte in data:
        bits += [0, *((byte >> i) & 1 for i in range(8)), 1]
    return [bits[int(cycle / divisor)] for cycle in range(int(len(bits) * divisor))] + [1] * 40


def received(divisor, levels, ready=True):
    """Return the bytes taken from a line, and how often a byte was lost or broken."""
    dut = UartReceiver(divisor)
    taken, lost, broken = [], 0, 0

    async def bench(ctx):
        nonlocal lost, broken
        ctx.set(dut.o.ready, ready)
        for level in levels:
            ctx.set(dut.rx, level)
            lost += ctx.get(dut.overrun)
            broken += ctx.get(dut.framing)
            if ready and ctx.get(dut.o.valid):
                taken.append(ctx.get(dut.o.payload))
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return taken, lost, broken


@pytest.mark.parametrize("divisor", [4, 5, 16])
def test_bytes_come_through_at_once_and_in_order(divisor):
    m = Module()
    m.submodules.transmitter = transmitter = UartTransmitter(divisor)
    m.submodules.receiver = receiver = UartReceiver(divisor)
    m.d.comb += receiver.rx.eq(transmitter.tx)
    taken, cycles = [], []

    async def source(ctx):
        ctx.set(transmitter.i.valid, 1)
        for byte in BYTES:
            ctx.set(transmitter.i.payload, byte)
            await ctx.tick().until(transmitter.i.ready)
        ctx.set(transmitter.i.valid, 0)

    async def sink(ctx):
        cycle = 0
        ctx.set(receiver.o.ready, 1)
        while len(taken) < len(BYTES):
            _, _, valid, payload = await ctx.tick().sample(receiver.o.valid, receiver.o.payload)
            cycle += 1
            if valid:
                taken.append(payload)
                cycles.append(cycle)

    simulator = Simulator(m)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    assert taken == BYTES
    # The stated throughput: nothing but the ten bits of a byte passes between two of them.
    assert set(np.diff(cycles)) == {BITS_PER_BYTE * divisor}


@pytest.mark.parametrize("rate", [0.98, 1.0, 1.02])
@pytest.mark.parametrize("divisor", [12, 80])
def test_the_other_end_may_be_two_percent_off(divisor, rate):
    assert received(divisor, line_of(BYTES[:6], divisor * rate)) == (BYTES[:6], 0, 0)


def test_a_byte_that_nobody_takes_loses_the_next():
    levels = line_of([1, 2, 3], 8)
    assert received(8, levels, ready=False) == ([], 2, 0)


def test_a_break_is_one_broken_byte_and_the_line_works_again():
    levels = [1] * 20 + [0] * 200 + line_of([0x42], 8)
    assert received(8, levels) == ([0x42], 0, 1)


def test_a_glitch_is_no_byte():
    levels = [1] * 20 + [0] * 3 + [1] * 100 + line_of([0x42], 8)
    assert received(8, levels) == ([0x42], 0, 0)


def test_divisor_is_the_nearest_and_close_enough():
    assert baud_divisor(80e6, 1_000_000) == 80
    assert baud_divisor(12e6, 115_200) == 104
    with pytest.raises(ValueError, match=r"^baud must be 1\.\.3000000 at a clock of 12 MHz, "
                                         r"not 4000000$"):
        baud_divisor(12e6, 4_000_000)
    with pytest.raises(ValueError, match=r"^baud must be 1\.\.3000000 at .*, not 0$"):
        baud_divisor(12e6, 0)
    with pytest.raises(ValueError, match=r"^baud must be within 2 % of a whole division of "
                                         r"12 MHz: 2666667 is 12\.5 % off$"):
        baud_divisor(12e6, 2_666_667)
