"""Nested loops over a memory: addresses, words, order, pace and pauses."""

import dataclasses
from collections import deque

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.loops import Addresses, WordReader
from vitrtl.hw.accelerator.skid_buffer import SkidBuffer


@dataclasses.dataclass(frozen=True, slots=True)
class Loops:
    """A job, in plain Python."""

    base: int
    steps: tuple[int, int, int]
    counts: tuple[int, int, int]

    @property
    def payload(self):
        return {"base": self.base,
                **{f"step{i}": step for i, step in enumerate(self.steps)},
                **{f"count{i}": count for i, count in enumerate(self.counts)}}

    def places(self, words):
        """Return (address, first1, last0, last1, last2) of every turn."""
        n0, n1, n2 = self.counts
        s0, s1, s2 = self.steps
        bits = (words - 1).bit_length()
        return [((self.base + i2 * s2 + i1 * s1 + i0 * s0) % 2**20 % 2**bits,
                 i1 == 0, i0 == n0 - 1, i1 == n1 - 1, i2 == n2 - 1)
                for i2 in range(n2) for i1 in range(n1) for i0 in range(n0)]


JOBS = (
    Loops(5, (1, 7, 20), (3, 2, 2)),
    Loops(1000, (0, 0, 0), (1, 1, 1)),
    Loops(1023, (9, 9, 9), (1, 1, 1)),
    Loops(17, (65535, 40000, 54321), (4, 3, 5)),
    Loops(2**20 - 2, (1, 2, 3), (5, 1, 2)),
    Loops(3, (0, 1, 0), (1, 6, 1)),
    Loops(9, (0, 0, 100), (2, 1, 4)),
    Loops(100, (1, 0, 0), (40, 1, 1)),
)


def random_jobs(rng, number):
    return [Loops(int(rng.integers(2**20)), tuple(rng.integers(0, 2**16, 3).tolist()),
                  tuple(rng.integers(1, 5, 3).tolist())) for _ in range(number)]


def flags_of(payload):
    return tuple(bool(payload[name]) for name in ("first1", "last0", "last1", "last2"))


def run(dut, *benches):
    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


def source(stream, payloads, rng=None):
    async def bench(ctx):
        for payload in payloads:
            while rng is not None and rng.random() < 0.3:
                await ctx.tick()
            ctx.set(stream.payload, payload)
            ctx.set(stream.valid, 1)
            await ctx.tick().until(stream.ready)
            ctx.set(stream.valid, 0)
    return bench


def sink(stream, number, read, results, cycles=None, rng=None):
    async def bench(ctx):
        cycle = 0
        while len(results) < number:
            ready = rng is None or rng.random() < 0.5
            ctx.set(stream.ready, ready)
            _, _, valid, payload = await ctx.tick().sample(stream.valid, stream.payload)
            cycle += 1
            if valid and ready:
                results.append(read(payload))
                if cycles is not None:
                    cycles.append(cycle)
        ctx.set(stream.ready, 0)
    return bench


def test_skid_buffer_keeps_order_and_pace():
    for rng in (None, np.random.default_rng(0)):
        dut = SkidBuffer(8)
        sent, results, cycles = list(range(200)), [], []
        run(dut, source(dut.i, sent, rng), sink(dut.o, len(sent), int, results, cycles, rng))
        assert results == sent
        if rng is None:
            assert set(np.diff(cycles)) == {1}


@pytest.mark.parametrize("words", [1024, 1040])
def test_addresses_are_those_of_the_loops_without_a_gap(words):
    dut = Addresses(words)
    jobs = [*JOBS, *random_jobs(np.random.default_rng(1), 20)]
    expected = [place for job in jobs for place in job.places(words)]
    results, cycles = [], []
    run(dut, source(dut.job, [job.payload for job in jobs]),
        sink(dut.o, len(expected), lambda p: (int(p.addr), *flags_of(p)), results, cycles))
    assert results == expected
    assert set(np.diff(cycles)) == {1}


def test_addresses_wait_for_both_sides():
    rng = np.random.default_rng(2)
    dut = Addresses(256)
    jobs = [*JOBS, *random_jobs(rng, 10)]
    expected = [place for job in jobs for place in job.places(256)]
    results = []
    run(dut, source(dut.job, [job.payload for job in jobs], rng),
        sink(dut.o, len(expected), lambda p: (int(p.addr), *flags_of(p)), results, None, rng))
    assert results == expected


def port_bench(port, words, latency, rng=None):
    """Play a memory whose word at an address is three times that, plus one."""
    async def bench(ctx):
        pipe = deque([None] * latency, latency)
        asked = None
        while True:
            ready = rng is None or rng.random() < 0.6
            ctx.set(port.ready, ready)
            word = pipe[0]
            ctx.set(port.valid, word is not None)
            ctx.set(port.data, word or 0)
            _, _, en, addr = await ctx.tick().sample(port.en, port.addr)
            if asked is not None:
                assert en and addr == asked, "an address that was not taken must stay"
            asked = addr if en and not ready else None
            pipe.append(3 * addr + 1 if en and ready else None)
    return bench


def read_all(jobs, words=1024, latency=3, rng=None, queue=8):
    dut = WordReader(16, words, queue)
    expected = [(3 * addr + 1, *flags) for job in jobs for addr, *flags in job.places(words)]
    results, cycles, states = [], [], []

    async def finish(ctx):
        while len(results) < len(expected):
            await ctx.tick()
            if not results and ctx.get(dut.port.en):
                states.append(ctx.get(dut.busy))
        for _ in range(5):
            await ctx.tick()
        assert not ctx.get(dut.busy) and not ctx.get(dut.o.valid)
        assert set(states) == {1}

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(source(dut.job, [job.payload for job in jobs], rng))
    simulator.add_testbench(port_bench(dut.port, words, latency, rng), background=True)
    simulator.add_testbench(sink(dut.o, len(expected),
                                 lambda p: (int(p.data), *flags_of(p)), results, cycles, rng))
    simulator.add_testbench(finish)
    simulator.run()
    assert results == expected
    return cycles


def test_a_word_comes_every_cycle_from_job_to_job():
    cycles = read_all([*JOBS, *random_jobs(np.random.default_rng(3), 10)])
    assert set(np.diff(cycles)) == {1}
    # The source shows its first job before the first edge, which the sink counts as cycle 1.
    assert cycles[0] == 1 + WordReader.LATENCY + 3


@pytest.mark.parametrize("latency, queue", [(3, 8), (1, 4), (6, 5)])
def test_no_word_is_lost_when_all_sides_pause(latency, queue):
    rng = np.random.default_rng(latency)
    read_all([*JOBS, *random_jobs(rng, 10)], words=256, latency=latency, rng=rng, queue=queue)


def test_a_consumer_that_stops_leaves_as_many_words_asked_for_as_there_are_places():
    dut = WordReader(16, 1024, 8)
    asked = []

    async def bench(ctx):
        ctx.set(dut.job.payload, Loops(0, (1, 0, 0), (100, 1, 1)).payload)
        ctx.set(dut.job.valid, 1)
        ctx.set(dut.port.ready, 1)
        for _ in range(40):
            _, _, en, addr = await ctx.tick().sample(dut.port.en, dut.port.addr)
            ctx.set(dut.port.valid, en)
            ctx.set(dut.port.data, addr)
            if en:
                asked.append(addr)
        assert asked == list(range(8))
        assert ctx.get(dut.o.valid) and ctx.get(dut.busy)

    run(dut, bench)
