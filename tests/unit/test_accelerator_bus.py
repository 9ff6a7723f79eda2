"""Bus, registers and control of the accelerator, in Amaranth's simulator."""

import random
import shutil
import subprocess

import pytest
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.accelerator import Accelerator
from vitrtl.hw.accelerator.burst_splitter import BurstSplitter
from vitrtl.hw.accelerator.dma_engine import DmaEngine
from vitrtl.hw.accelerator.fetch import Fetch
from vitrtl.hw.accelerator.issue import Issue
from vitrtl.hw.accelerator.ports import ConstantsPort, EngineControl, ReadPort, Tap, WritePort
from vitrtl.hw.accelerator.read_arbiter import ReadArbiter
from vitrtl.sw.accelerator.isa import BASES, HEADER_WORDS, MAGIC, MEMORIES, OPCODES, pack
from vitrtl.sw.accelerator.registers import (
    CONTROL_ENGINE,
    FAULTS,
    REGISTERS,
    Registers,
    RunError,
    c_header,
    markdown,
    reset_values,
)
from vitrtl.sw.accelerator.spec import ARRAY, DMA, AcceleratorSpec

SMALL = AcceleratorSpec(size=8, longest_pass=8, banks=2, bank_words=64, residual_words=32,
                        weight_words=64, constant_groups=4)
PERIOD = 1e-6


class AxiMemory:
    """Memory behind an AXI4 port, as slow and as out of order as the standard allows.

    It checks that bursts are legal and that what is offered stays until it is taken.
    """

    def __init__(self, axi, bus_bytes, *, size=1 << 16, seed=0, stall=0.5, latency=0):
        self.axi, self.bus_bytes = axi, bus_bytes
        self.data = bytearray(random.Random(seed).randbytes(size))
        self.rng = random.Random(seed + 1)
        self.stall, self.latency = stall, latency
        self.bad = range(0)
        self.reads, self.writes = [], []
        self.outstanding = self.most_outstanding = 0

    def check(self, addr, length, size, burst):
        assert addr % self.bus_bytes == 0 and 1 << size == self.bus_bytes and burst == 1
        end = addr + (length + 1) * self.bus_bytes
        assert addr // 4096 == (end - 1) // 4096, "a burst crosses a page"
        return [*range(addr, end, self.bus_bytes)]

    def response(self, addr):
        return 2 if addr in self.bad else 0

    async def reader(self, ctx):
        axi, queues, now, shown, held = self.axi, {}, 0, None, None
        ready = 0
        while True:
            _, _, valid, *ask, taken = await ctx.tick().sample(
                axi.arvalid, axi.arid, axi.araddr, axi.arlen, axi.arsize, axi.arburst, axi.rready)
            now += 1
            assert held is None or (valid and ask == held), "AR has changed before it was taken"
            held = ask if valid and not ready else None
            if valid and ready:
                places = self.check(*ask[1:])
                self.reads.append((ask[0], places))
                last = len(places) - 1
                queues.setdefault(ask[0], []).extend(
                    (now + self.latency, place, i == last) for i, place in enumerate(places))
                self.outstanding += 1
                self.most_outstanding = max(self.most_outstanding, self.outstanding)
            if shown is not None and taken:
                self.outstanding -= shown
                shown = None
            due = [name for name, queue in queues.items() if queue and queue[0][0] <= now]
            if shown is None and due and self.rng.random() >= self.stall:
                name = self.rng.choice(due)
                _, place, shown = queues[name].pop(0)
                ctx.set(axi.rid, name)
                ctx.set(axi.rdata, int.from_bytes(self.data[place:place + self.bus_bytes],
                                                  "little"))
                ctx.set(axi.rresp, self.response(place))
                ctx.set(axi.rlast, shown)
            ctx.set(axi.rvalid, shown is not None)
            ready = int(self.rng.random() >= self.stall)
            ctx.set(axi.arready, ready)

    async def writer(self, ctx):
        axi, places, answers, beats, held = self.axi, [], [], [], (None, None)
        readies, shown, response = (0, 0), False, 0
        while True:
            _, _, *seen = await ctx.tick().sample(
                axi.awvalid, axi.awaddr, axi.awlen, axi.awsize, axi.awburst,
                axi.wvalid, axi.wdata, axi.wlast, axi.wstrb, axi.bready)
            ask, beat, taken = seen[:5], seen[5:9], seen[9]
            for offered, before in zip((ask, beat), held, strict=True):
                assert before is None or offered == before, "an offer has changed"
            held = tuple(offer if offer[0] and not ready else None
                         for offer, ready in zip((ask, beat), readies, strict=True))
            if ask[0] and readies[0]:
                burst = self.check(*ask[1:])
                self.writes.append(burst)
                places += [(place, place == burst[-1]) for place in burst]
                self.outstanding += 1
            if beat[0] and readies[1]:
                beats.append(beat[1:])
            while places and beats:
                (place, last), (value, wlast, strobe) = places.pop(0), beats.pop(0)
                assert last == wlast and strobe == (1 << self.bus_bytes) - 1
                self.data[place:place + self.bus_bytes] = value.to_bytes(self.bus_bytes, "little")
                response = max(response, self.response(place))
                if last:
                    answers.append(response)
                    response = 0
            if shown and taken:
                self.outstanding -= 1
                shown = False
            if not shown and answers and self.rng.random() >= self.stall:
                ctx.set(axi.bresp, answers.pop(0))
                shown = True
            ctx.set(axi.bvalid, shown)
            readies = tuple(int(self.rng.random() >= self.stall) for _ in range(2))
            ctx.set(axi.awready, readies[0])
            ctx.set(axi.wready, readies[1])

    def words(self, place, count):
        return [int.from_bytes(self.data[place + 8 * i:place + 8 * i + 8], "little")
                for i in range(count)]


def simulate(dut, *benches, background=()):
    simulator = Simulator(dut)
    simulator.add_clock(PERIOD)
    for bench in background:
        simulator.add_testbench(bench, background=True)
    for bench in benches:
        simulator.add_testbench(bench)
    simulator.run()


class Fetches(wiring.Component):
    """Fetchers on one port."""

    def __init__(self, bus_bytes, count):
        self.arbiter = ReadArbiter(bus_bytes, 3, count)
        self.fetches = [Fetch(bus_bytes) for _ in range(count)]
        super().__init__({"axi": self.arbiter.signature.members["axi"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.arbiter = self.arbiter
        wiring.connect(m, self.arbiter.axi, wiring.flipped(self.axi))
        for fetch, client in zip(self.fetches, self.arbiter.clients, strict=True):
            m.submodules += fetch
            wiring.connect(m, fetch.read, client)
        return m


@pytest.mark.parametrize("bus_bytes", [8, 16, 32])
def test_programs_come_in_order_though_the_memory_answers_out_of_order(bus_bytes):
    dut = Fetches(bus_bytes, 3)
    memory = AxiMemory(dut.axi, bus_bytes, seed=bus_bytes, latency=5)
    places, counts = (0, 4096 - 64, 8192 - 320), (0, 77, 150)
    rng = random.Random(0)

    def take(fetch, place, count, rate):
        async def bench(ctx):
            ctx.set(fetch.addr, place)
            ctx.set(fetch.count, count)
            ctx.set(fetch.start, 1)
            await ctx.tick()
            ctx.set(fetch.start, 0)
            words = []
            while len(words) < count:
                assert not ctx.get(fetch.ended)
                ready = rng.random() < rate
                ctx.set(fetch.words.ready, ready)
                _, _, valid, word = await ctx.tick().sample(fetch.words.valid, fetch.words.payload)
                if valid and ready:
                    words.append(word)
            assert words == memory.words(place, count)
            ctx.set(fetch.words.ready, 1)
            await ctx.tick().repeat(80)
            assert ctx.get(fetch.ended) and not ctx.get(fetch.words.valid)
        return bench

    takers = map(take, dut.fetches, places, counts, (1, 0.1, 0.8))
    simulate(dut, *takers, background=[memory.reader])
    assert memory.outstanding == 0 and memory.most_outstanding > 2
    asked = {i: [place for name, burst in memory.reads if name == i for place in burst]
             for i in range(3)}
    assert asked == {i: [*range(place, place + 8 * count, bus_bytes)]
                     for i, (place, count) in enumerate(zip(places, counts, strict=True))}


@pytest.mark.parametrize("longest", [1, 3, 256])
def test_bursts_that_no_memory_would_take_are_refused(longest):
    with pytest.raises(ValueError, match="^longest burst must be a power of two from 2 to 128 "
                                         f"beats of 32 bytes, not {longest}$"):
        BurstSplitter(32, 20, longest)


class DmaBench(wiring.Component):
    """The DMA engine with its place on the bus."""

    def __init__(self, spec):
        self.dma, self.arbiter = DmaEngine(spec, 2), ReadArbiter(spec.bus_bytes, 2, 1)
        super().__init__({"read": self.arbiter.signature.members["axi"],
                          "write": self.dma.signature.members["write"]})

    def elaborate(self, platform):
        m = Module()
        m.submodules.dma, m.submodules.arbiter = self.dma, self.arbiter
        wiring.connect(m, self.dma.read, self.arbiter.client0)
        wiring.connect(m, self.arbiter.axi, wiring.flipped(self.read))
        wiring.connect(m, self.dma.write, wiring.flipped(self.write))
        return m


class Dma:
    """A run of the DMA engine beside memories in Python."""

    LATENCY = 3

    def __init__(self, spec, transfers, *, stall=0.4, latency=0, seed=0):
        self.spec, self.stall, self.rng = spec, stall, random.Random(seed)
        self.bench = DmaBench(spec)
        self.dma = self.bench.dma
        self.ports = {"weights": self.dma.weights, "scratch": self.dma.scratch_w,
                      "residual": self.dma.residual_w}
        self.held = {name: {} for name in MEMORIES}
        self.memory = AxiMemory(self.bench.read, spec.bus_bytes, seed=seed, stall=stall,
                                latency=latency)
        writes = AxiMemory(self.bench.write, spec.bus_bytes, seed=seed, stall=stall)
        writes.data, self.writes = self.memory.data, writes
        self.transfers, self.faults, self.cycles, self.done = transfers, set(), 0, []
        simulate(self.bench, self.feed,
                 background=[self.memory.reader, writes.writer, self.constants, self.watch,
                             *(self.writer(name) for name in self.ports),
                             self.reader("scratch", self.dma.scratch_r),
                             self.reader("residual", self.dma.residual_r)])

    async def feed(self, ctx):
        control = self.dma.control
        for i, name in enumerate(BASES):
            ctx.set(getattr(self.dma, name), 4096 * i)
        for transfer in self.transfers:
            for word in pack(DMA, transfer):
                ctx.set(control.words.payload, word)
                ctx.set(control.words.valid, 1)
                await ctx.tick().until(control.words.ready)
        ctx.set(control.words.valid, 0)
        ctx.set(control.ended, 1)
        for _ in range(4000):
            if (ctx.get(control.empty) and ctx.get(control.idle)) or self.faults:
                break
            await ctx.tick()
        await ctx.tick().repeat(4)

    async def watch(self, ctx):
        control = self.dma.control
        async for _, _, done, fault in ctx.tick().sample(control.done, control.fault):
            self.cycles += 1
            if done:
                self.done.append(self.cycles)
            if fault:
                self.faults.add(fault)
            ctx.set(control.counts[DMA], len(self.done))

    def writer(self, name):
        port = self.ports[name]

        async def bench(ctx):
            while True:
                ready = self.rng.random() >= self.stall
                ctx.set(port.ready, ready)
                _, _, en, addr, value = await ctx.tick().sample(port.en, port.addr, port.data)
                if en and ready:
                    self.held[name][addr] = value
        return bench

    async def constants(self, ctx):
        port = self.dma.constants
        async for _, _, en, group, beat, value in ctx.tick().sample(
                port.en, port.group, port.beat, port.data):
            if en:
                self.held["constants"][group, beat] = value

    def reader(self, name, port):
        async def bench(ctx):
            pipe = [None] * self.LATENCY
            while True:
                ready = self.rng.random() >= self.stall
                ctx.set(port.ready, ready)
                _, _, en, addr = await ctx.tick().sample(port.en, port.addr)
                pipe.append(self.held[name].get(addr, 0) if en and ready else None)
                value = pipe.pop(0)
                ctx.set(port.valid, value is not None)
                ctx.set(port.data, value or 0)
        return bench

    def beats(self, place, count, flip=0):
        """Return beats of the bus's memory."""
        size = self.spec.bus_bytes
        return [int.from_bytes(bytes(byte ^ flip for byte in
                                     self.memory.data[place + size * i:place + size * (i + 1)]),
                               "little") for i in range(count)]


def load(memory, base, offset, address, beats, **fields):
    return {"opcode": OPCODES["load"], "memory": MEMORIES[memory], "base": BASES[base],
            "offset": offset, "address": address, "beats": beats, **fields}


def store(memory, base, offset, address, beats, **fields):
    return load(memory, base, offset, address, beats, **fields) | {"opcode": OPCODES["store"]}


@pytest.mark.parametrize("size", [8, 16, 32])
def test_loads_reach_every_memory(size):
    spec = AcceleratorSpec(size=size, longest_pass=32, banks=2, bank_words=64, residual_words=32,
                           weight_words=64, constant_groups=4)
    run = Dma(spec, [
        load("weights", "program", 24 * size, 3, 50),
        load("scratch", "image", 5 * size, 64, 9, flip=1),
        load("residual", "program", 4096 + 3 * size, 7, 10),
        load("constants", "output", 0, 2, 16),
        load("scratch", "program", 0, 0, 1),
    ], latency=20)
    assert not run.faults and len(run.done) == 5
    low = 8 * size
    wide = run.beats(4096 + 3 * size, 10)
    assert run.held["weights"] == {3 + i: v for i, v in enumerate(run.beats(24 * size, 50))}
    assert run.held["scratch"] == {
        **{64 + i: v for i, v in enumerate(run.beats(4096 + 5 * size, 9, flip=0x80))},
        0: run.beats(0, 1)[0]}
    assert run.held["residual"] == {7 + i: wide[2 * i] | wide[2 * i + 1] << low for i in range(5)}
    assert run.held["constants"] == {(2 + i // 8, i % 8): v
                                     for i, v in enumerate(run.beats(8192, 16))}


@pytest.mark.parametrize("size", [8, 32])
def test_stores_bring_back_what_was_loaded(size):
    spec = AcceleratorSpec(size=size, longest_pass=32, banks=2, bank_words=64, residual_words=32,
                           weight_words=64, constant_groups=4)
    # The stores wait until the third load is over; the last load overtakes neither.
    waits = {"wait0_engine": DMA, "wait0_count": 3}
    run = Dma(spec, [
        load("scratch", "program", 0, 10, 45),
        load("residual", "program", size, 3, 12),
        load("scratch", "program", 8 * size, 60, 1),
        store("scratch", "output", 3 * size, 10, 45, **waits),
        store("residual", "output", 61 * size, 3, 12, **waits),
        load("weights", "image", 0, 0, 2),
    ])
    assert not run.faults and len(run.done) == 6
    assert run.beats(8192 + 3 * size, 45) == run.beats(0, 45)
    assert run.beats(8192 + 61 * size, 12) == run.beats(size, 12)
    assert [len(burst) for burst in run.writes.writes] == [29, 16, 3, 9]


def test_the_latency_of_the_memory_is_paid_once():
    def cycles(latency):
        run = Dma(SMALL, [load("weights", "program", 64 * i, 8 * i, 8) for i in range(8)],
                  stall=0, latency=latency)
        return run.done[-1], run.memory.most_outstanding

    (fast, _), (slow, outstanding) = cycles(0), cycles(200)
    assert slow < fast + 200 + 8 and outstanding == 8


@pytest.mark.parametrize("transfer, fault", [
    (load("scratch", "image", 4, 0, 1), "misaligned address"),
    (load("residual", "image", 0, 0, 3), "bad program"),
    (load("constants", "image", 0, 0, 12), "bad program"),
    (load("scratch", "image", 0, 0, 0), "bad program"),
    (load("scratch", "image", 0, 0, 1) | {"base": 3}, "bad program"),
    (load("scratch", "image", 0, 0, 1) | {"opcode": OPCODES["run"]}, "bad program"),
    (store("weights", "output", 0, 0, 1), "bad program"),
    (store("constants", "output", 0, 0, 8), "bad program"),
    (store("scratch", "output", 2, 0, 1), "misaligned address"),
])
def test_transfers_that_make_no_sense_are_faults_and_touch_nothing(transfer, fault):
    run = Dma(SMALL, [transfer])
    assert run.faults == {FAULTS[fault]}
    assert not run.done and not run.memory.reads and not run.writes.writes


class Sleeper(wiring.Component):
    """In place of the array: a multiplication takes as many cycles as it has rows."""

    def __init__(self, spec):
        self.spec = spec
        word, wide = 8 * spec.size, 16 * spec.size
        super().__init__({
            "control": Out(EngineControl(spec)),
            "activations": Out(ReadPort(word, spec.scratch_words)),
            "weights": Out(ReadPort(word, spec.weight_words)),
            "keys": Out(ReadPort(word, spec.scratch_words)),
            "w": Out(WritePort(word, spec.scratch_words)),
            "residual_r": Out(ReadPort(wide, spec.residual_words)),
            "residual_w": Out(WritePort(wide, spec.residual_words)),
            "constants": In(ConstantsPort(spec)), "tap": Out(Tap(spec)), "beat": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.issue = issue = Issue(self.spec, ARRAY, ["multiply"])
        control, left = self.control, Signal(12)
        wiring.connect(m, wiring.flipped(control.words), issue.words)
        m.d.comb += [
            issue.counts.eq(control.counts), issue.ended.eq(control.ended),
            issue.o.ready.eq(left == 0), control.issued.eq(issue.o.valid & issue.o.ready),
            control.idle.eq(left == 0), control.empty.eq(issue.empty),
            control.done.eq(left == 1),
            control.fault.eq(Mux(issue.bad, FAULTS["bad program"], FAULTS["none"])),
        ]
        with m.If(control.issued):
            m.d.sync += left.eq(issue.o.payload.rows)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return m


class System:
    """The top with memory, driven by plain reads and writes as a processor would."""

    PROGRAM, IMAGE, OUTPUT = 0x1000, 0x4000, 0x8000

    def __init__(self, spec=SMALL, **memory):
        self.spec = spec
        self.top = Accelerator(spec)
        self.memory = AxiMemory(self.top.m_axi, spec.bus_bytes, **memory)
        self.writes = AxiMemory(self.top.m_axi, spec.bus_bytes, **memory)
        self.writes.data = self.memory.data
        self.now, self.todo, self.answer = 0.0, [], None
        self.simulator = Simulator(self.top)
        self.simulator.add_clock(PERIOD)
        for bench in (self.memory.reader, self.writes.writer, self.drive):
            self.simulator.add_testbench(bench, background=True)
        self.registers = Registers(self.read, self.write)

    async def drive(self, ctx):
        bus = self.top.s_axi
        while True:
            if not self.todo:
                await ctx.tick()
                continue
            kind, *what = self.todo.pop()
            if kind == "reset":
                ctx.set(self.top.rst, 1)
                await ctx.tick()
                ctx.set(self.top.rst, 0)
                self.answer = 0, 0
            elif kind == "read":
                ctx.set(bus.araddr, what[0])
                ctx.set(bus.arvalid, 1)
                await ctx.tick().until(bus.arready)
                ctx.set(bus.arvalid, 0)
                ctx.set(bus.rready, 1)
                value, response = await ctx.tick().sample(bus.rdata, bus.rresp).until(bus.rvalid)
                ctx.set(bus.rready, 0)
                self.answer = response, value
            else:
                # Data first, to see that they may come in any order.
                ctx.set(bus.wdata, what[1])
                ctx.set(bus.wstrb, what[2])
                ctx.set(bus.wvalid, 1)
                await ctx.tick().until(bus.wready)
                ctx.set(bus.wvalid, 0)
                ctx.set(bus.awaddr, what[0])
                ctx.set(bus.awvalid, 1)
                await ctx.tick().until(bus.awready)
                ctx.set(bus.awvalid, 0)
                ctx.set(bus.bready, 1)
                response, = await ctx.tick().sample(bus.bresp).until(bus.bvalid)
                ctx.set(bus.bready, 0)
                self.answer = response, 0

    def run(self, cycles):
        self.now += cycles * PERIOD
        self.simulator.run_until(self.now)

    def ask(self, *what):
        self.todo.append(what)
        self.answer = None
        while self.answer is None:
            self.run(1)
        return self.answer

    def read(self, address):
        response, value = self.ask("read", address)
        assert response == 0
        return value

    def write(self, address, value, strobe=15):
        response, _ = self.ask("write", address, value, strobe)
        assert response == 0

    def put(self, *streams, magic=MAGIC, digest=None, engines=None, shift=0):
        """Write a program whose engines run lists of instructions, or of words."""
        engines = self.spec.engine_count if engines is None else engines
        words = [magic | engines << 32, int(digest or self.spec.digest, 16)]
        place, body = 8 * -(-(HEADER_WORDS + len(streams)) // 8) * 8, []
        for engine, stream in enumerate(streams):
            code = [word for item in stream
                    for word in ([item] if isinstance(item, int) else pack(engine, item))]
            words.append(place + shift | len(code) << 32)
            code += [0] * (-len(code) % 8)
            body += code
            place += 8 * len(code)
        words += [0] * (-len(words) % 8) + body
        data = b"".join(word.to_bytes(8, "little") for word in words)
        self.memory.data[self.PROGRAM:self.PROGRAM + len(data)] = data

    def start(self):
        self.registers.start(self.PROGRAM, self.IMAGE, self.OUTPUT)

    def finish(self, cycles=3000):
        """Return the fault and its engine."""
        for _ in range(cycles):
            if not self.registers.busy:
                break
        assert not self.registers.busy, "the run never ends"
        assert self.memory.outstanding == 0 and self.writes.outstanding == 0
        return self.registers.fault, self.registers.engine

    def check_good_run(self):
        """Run a program that copies the image, and see that it does."""
        rng = random.Random(len(self.memory.reads))
        image = rng.randbytes(80)
        self.memory.data[self.IMAGE:self.IMAGE + 80] = image
        self.put(COPY, SLEEP)
        self.start()
        assert self.finish() == ("none", 0)
        assert self.memory.data[self.OUTPUT:self.OUTPUT + 80] == image
        assert self.registers.done and self.registers.interrupt
        assert self.registers.engine_counters(DMA)[0] == 2
        assert self.registers.engine_counters(ARRAY) == (2, 30)


SLEEP = [{"opcode": OPCODES["multiply"], "rows": rows, "wait0_engine": DMA, "wait0_count": 1}
         for rows in (20, 10)]
COPY = [load("scratch", "image", 0, 0, 10),
        store("scratch", "output", 0, 0, 10, wait0_engine=ARRAY, wait0_count=2,
              wait1_engine=DMA, wait1_count=1)]
LONG = [{"opcode": OPCODES["multiply"], "rows": 4000}]


@pytest.fixture(scope="module")
def built():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vitrtl.hw.accelerator.accelerator.ArrayEngine", Sleeper)
        system = System()
    system.run(1)
    return system


@pytest.fixture
def system(built):
    built.ask("reset")
    built.memory.reads.clear()
    built.writes.writes.clear()
    return built


def test_registers_after_reset_are_those_of_the_map(system):
    for name, value in reset_values(SMALL).items():
        assert getattr(system.registers, name) == value, name
    system.registers.check(SMALL)
    with pytest.raises(ValueError, match="^register spec must be 0x"):
        system.registers.check(AcceleratorSpec())


def test_registers_keep_what_is_written_byte_by_byte_and_refuse_the_rest(system):
    for i, (name, register) in enumerate(REGISTERS.items()):
        if register.access != "rw":
            continue
        value = 0x8421_7BDE + i
        setattr(system.registers, name, value)
        assert getattr(system.registers, name) == value & (1 << register.bits) - 1
        system.write(register.address, 0x1111_1111, strobe=0b0010)
        assert getattr(system.registers, name) == (
            (value & 0xFFFF_00FF | 0x1100) & (1 << register.bits) - 1)
    assert system.ask("write", REGISTERS["status"].address, 1, 15)[0] == 2
    assert system.ask("read", REGISTERS["control"].address)[0] == 2
    assert system.ask("read", 0x80)[0] == system.ask("write", 0x80, 0, 15)[0] == 2
    with pytest.raises(AttributeError, match="^the accelerator has no register 'status' that can "
                                             "be written$"):
        system.registers.status = 1
    with pytest.raises(AttributeError, match="^the accelerator has no register 'control' that "
                                             "can be read$"):
        _ = system.registers.control


def test_runs_follow_each_other_and_counters_tell_of_the_last(system):
    system.check_good_run()
    cycles = system.registers.cycles
    assert 60 < cycles < 1500 and system.registers.beats == 0
    system.registers.clear()
    assert not system.registers.interrupt and system.registers.done
    system.check_good_run()


def test_a_start_while_busy_is_ignored_and_flagged(system):
    system.put([], [SLEEP[0] | {"wait0_count": 0, "rows": 100}])
    system.start()
    # The addresses of the next run may be written meanwhile.
    system.registers.program = 1
    system.registers.start(1, 2, 3)
    assert system.registers.busy and system.registers.ignored
    assert system.finish() == ("none", 0)
    assert system.registers.ignored
    system.check_good_run()
    assert not system.registers.ignored


@pytest.mark.parametrize("change, fault, engine", [
    ({"magic": MAGIC ^ 1}, "bad program", CONTROL_ENGINE),
    ({"digest": "0123456789ab"}, "bad program", CONTROL_ENGINE),
    ({"engines": 3}, "bad program", CONTROL_ENGINE),
    ({"shift": 8}, "misaligned address", DMA),
])
def test_headers_for_something_else_are_faults(system, change, fault, engine):
    system.put(COPY, SLEEP, **change)
    system.start()
    assert system.finish() == (fault, engine)
    assert not system.registers.done and system.registers.interrupt
    with pytest.raises(RunError, match=f"^the run ended with the fault: {fault} "):
        system.registers.wait()
    system.check_good_run()


@pytest.mark.parametrize("dma, array, fault, engine", [
    ([COPY[0] | {"opcode": 9}], [], "bad program", DMA),
    ([], pack(ARRAY, SLEEP[0])[:-1], "bad program", ARRAY),
    ([COPY[0] | {"offset": 4}], LONG, "misaligned address", DMA),
    ([], [0] * 5, "bad program", ARRAY),
])
def test_instructions_that_make_no_sense_are_faults(system, dma, array, fault, engine):
    system.put(dma, array)
    system.start()
    assert system.finish() == (fault, engine)
    system.check_good_run()


@pytest.mark.parametrize("place, align", [("PROGRAM", 8), ("IMAGE", 4), ("OUTPUT", 1)])
def test_misaligned_registers_are_faults_before_anything_is_asked_for(system, place, align):
    setattr(system, place, getattr(system, place) + align)
    system.start()
    assert system.finish() == ("misaligned address", CONTROL_ENGINE)
    assert not system.memory.reads
    setattr(system, place, getattr(system, place) - align)
    system.check_good_run()


@pytest.mark.parametrize("memory, start, engine", [
    ("memory", System.PROGRAM, CONTROL_ENGINE), ("memory", System.PROGRAM + 64, DMA),
    ("memory", System.PROGRAM + 128, ARRAY), ("memory", System.IMAGE + 8, DMA),
    ("writes", System.OUTPUT + 16, DMA)])
def test_errors_of_the_bus_are_faults(system, memory, start, engine):
    getattr(system, memory).bad = range(start, start + 8)
    system.put(COPY, SLEEP)
    system.start()
    assert system.finish() == ("bus error", engine)
    getattr(system, memory).bad = range(0)
    system.check_good_run()


def test_a_run_without_progress_ends(system):
    system.put([COPY[0] | {"wait0_engine": ARRAY, "wait0_count": 1}], [])
    system.registers.timeout = 300
    system.start()
    assert system.finish() == ("timeout", CONTROL_ENGINE)
    assert 300 < system.registers.cycles < 600
    system.check_good_run()


@pytest.mark.parametrize("cycles", [0, 30, 100, 250, 350])
def test_an_aborted_run_leaves_the_bus_at_rest(system, cycles):
    system.put([store("scratch", "output", 0x1000, 0, 126), load("weights", "program", 0, 0, 60),
                load("weights", "program", 0, 0, 60)], LONG)
    system.start()
    system.run(cycles)
    before = len(system.writes.writes)
    system.registers.abort()
    assert system.finish() == ("aborted", CONTROL_ENGINE)
    # No burst but the one that may have been on offer.
    asked = len(system.memory.reads), len(system.writes.writes)
    assert asked[1] <= before + 1
    system.run(50)
    assert asked == (len(system.memory.reads), len(system.writes.writes))
    system.check_good_run()


def test_abort_means_nothing_while_idle(system):
    system.registers.abort()
    assert system.registers.status == 0
    system.check_good_run()


def test_a_reset_in_mid_run_forgets_the_run(system):
    system.put([], LONG)
    system.start()
    system.run(100)
    assert system.registers.busy and system.memory.outstanding == 0
    system.ask("reset")
    assert system.registers.status == 0 and system.registers.program == 0
    system.check_good_run()


def test_the_map_says_the_same_in_c_and_for_people(tmp_path):
    lines = [f"ASSERT(VITRTL_{name.upper()} == {register.address}u);"
             for name, register in REGISTERS.items()]
    lines += [f"ASSERT(VITRTL_{name.upper()}_{field.name.upper()} == {field.mask}u);"
              for name, register in REGISTERS.items() for field in register.fields]
    lines += [f"ASSERT(VITRTL_FAULT_{name.upper().replace(' ', '_')} == {code});"
              for name, code in FAULTS.items()]
    lines.append(f"ASSERT(VITRTL_SPEC_VALUE == {int(SMALL.digest, 16) & 0xFFFFFFFF}u);")
    (tmp_path / "vitrtl_accelerator.h").write_text(c_header(SMALL))
    (tmp_path / "check.c").write_text(
        '#include "vitrtl_accelerator.h"\n#define ASSERT(x) _Static_assert(x, #x)\n'
        + "\n".join(lines) + "\nint main(void) { return vitrtl_fault_of(0); }\n")
    compiler = shutil.which("cc")
    assert compiler, "a C compiler, which Verilator needs as well, must be installed"
    subprocess.run([compiler, "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only",
                    str(tmp_path / "check.c")], check=True)
    for name, register in REGISTERS.items():
        assert f"| {register.address:#04x} | `{name.upper()}` | {register.access} |" in markdown()
