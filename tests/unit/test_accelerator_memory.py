"""Memories of the accelerator: random traffic on all ports against a plain array."""

from collections import deque

import numpy as np
import pytest
from amaranth.back import rtlil
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.banked_memory import BankedMemory
from vitrtl.hw.device import Device


@pytest.mark.parametrize("banks, bank_words, readers, writers, rate", [
    (4, 16, 3, 2, 0.8), (4, 64, 6, 5, 0.3), (1, 20, 1, 1, 0.9), (1, 16, 3, 2, 0.4),
    (8, 16, 2, 2, 1.0),
])
def test_every_port_gets_its_words_by_urgency_and_in_time(banks, bank_words, readers, writers,
                                                          rate):
    width, words = 24, banks * bank_words
    dut = BankedMemory(width, banks, bank_words, readers, writers)
    rng = np.random.default_rng(banks * readers)
    memory = np.zeros(words, dtype=np.int64)
    granted = [0] * (readers + writers)

    def next_request(rng):
        return (int(rng.integers(words)), int(rng.integers(2**width)))

    async def bench(ctx):
        ports = [*dut.r, *dut.w]
        asked = [None] * len(ports)
        # What each reader must be given, cycle by cycle; None where nothing comes.
        due = [deque([None] * (dut.LATENCY - 1)) for _ in range(readers)]
        before = []
        for cycle in range(320):
            busy = cycle < 300
            for k, port in enumerate(ports):
                if asked[k] is None and busy and rng.random() < rate:
                    asked[k] = next_request(rng)
                ctx.set(port.en, asked[k] is not None)
                if asked[k] is not None:
                    ctx.set(port.addr, asked[k][0])
                if asked[k] is not None and k >= readers:
                    ctx.set(port.data, asked[k][1])
            taken = {k: ctx.get(port.ready) for k, port in enumerate(ports) if asked[k]}
            written = []
            for group in (range(readers), range(readers, len(ports))):
                used = set()
                for k in group:
                    if asked[k] is None:
                        continue
                    bank = asked[k][0] // bank_words
                    assert taken[k] == (bank not in used), "the lowest index has its bank"
                    used.add(bank)
                    if k >= readers and taken[k]:
                        written.append(asked[k])
            for k in range(readers):
                now = asked[k] is not None and taken[k]
                # A word that is written at this very edge, or at the one before, may come out as
                # anything.
                free = now and asked[k][0] not in [addr for addr, _ in (*written, *before)]
                due[k].append(("any" if not free else memory[asked[k][0]]) if now else None)
            for addr, value in written:
                memory[addr] = value
            before = written
            for k in list(taken):
                if taken[k]:
                    granted[k] += 1
                    asked[k] = None
            await ctx.tick()
            for k, port in enumerate(dut.r):
                expected = due[k].popleft()
                assert ctx.get(port.valid) == (expected is not None)
                if expected not in (None, "any"):
                    assert ctx.get(port.data) == expected

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert min(granted) > 30


@pytest.mark.parametrize("banks, bank_words, message", [
    (3, 16, "banks must be a power of two, not 3"),
    (2, 20, "bank_words must be a power of two, not 20"),
])
def test_banks_that_slices_cannot_address_are_refused(banks, bank_words, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        BankedMemory(8, banks, bank_words, 1, 1)


def test_banks_are_block_memories_of_the_device():
    text = rtlil.convert(BankedMemory(64, 2, 1024, 2, 2), platform=Device("ecp5"))
    assert text.count("cell \\DP16KD") == 8
