"""Memory on chip and the host's bridge, in Amaranth's simulator."""

import collections
import random
import re

import pytest
from amaranth.hdl import ClockDomain, Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from vitrtl.hw.accelerator import onchip_memory
from vitrtl.hw.accelerator.host_bridge import HostBridge
from vitrtl.hw.accelerator.onchip_memory import OnchipMemory
from vitrtl.hw.accelerator.register_file import RegisterFile
from vitrtl.hw.verilog import FlatPorts, verilog_text
from vitrtl.sw.accelerator.host_protocol import COMMAND, checksum, memory_map, pack_command
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.registers import Registers
from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.boards.accelerator_client import AcceleratorClient
from vitrtl.sw.errors import UserError

SPEC = AcceleratorSpec()
SIZE = SPEC.bus_bytes
WORDS = 1100
"""Of the memories here: parts of 1024 and of 512 words."""

OKAY, SLVERR = 0, 2


def simulate(component, *benches, cycles=200_000):
    """Run test benches, each with a limit of its own."""
    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    running = [len(benches)]

    def guarded(bench):
        async def run(ctx):
            await bench(ctx)
            running[0] -= 1
        return run

    for bench in benches:
        simulator.add_testbench(guarded(bench))

    async def clock(ctx):
        for _ in range(cycles):
            await ctx.tick()
            if not running[0]:
                return
        raise AssertionError(f"not done after {cycles} cycles")

    simulator.add_testbench(clock)
    simulator.run()


async def ask_bursts(ctx, axi, bursts):
    """Ask for reads: (identifier, word, beats)."""
    for ident, word, beats in bursts:
        ctx.set(axi.arvalid, 1)
        ctx.set(axi.arid, ident)
        ctx.set(axi.araddr, word * SIZE)
        ctx.set(axi.arlen, beats - 1)
        await ctx.tick().until(axi.arready)
    ctx.set(axi.arvalid, 0)


async def take_beats(ctx, axi, count, ready=lambda: True):
    """Return (cycle, identifier, data, last, response) of some beats."""
    beats, cycle = [], 0
    while len(beats) < count:
        here = ready()
        ctx.set(axi.rready, here)
        _, _, valid, *beat = await ctx.tick().sample(axi.rvalid, axi.rid, axi.rdata, axi.rlast,
                                               axi.rresp)
        cycle += 1
        if valid and here:
            beats.append((cycle, *beat))
    ctx.set(axi.rready, 0)
    return beats


async def write_burst(ctx, axi, ident, word, beats, pause=lambda: False):
    """Write (data, strobes); return identifier and response."""
    ctx.set(axi.awvalid, 1)
    ctx.set(axi.awid, ident)
    ctx.set(axi.awaddr, word * SIZE)
    ctx.set(axi.awlen, len(beats) - 1)
    await ctx.tick().until(axi.awready)
    ctx.set(axi.awvalid, 0)
    for i, (data, strobes) in enumerate(beats):
        while pause():
            await ctx.tick()
        ctx.set(axi.wvalid, 1)
        ctx.set(axi.wdata, data)
        ctx.set(axi.wstrb, strobes)
        ctx.set(axi.wlast, i == len(beats) - 1)
        await ctx.tick().until(axi.wready)
        ctx.set(axi.wvalid, 0)
    ctx.set(axi.bready, 1)
    answer = await ctx.tick().sample(axi.bid, axi.bresp).until(axi.bvalid)
    ctx.set(axi.bready, 0)
    return answer


def words_of(contents):
    padded = contents + bytes(WORDS * SIZE - len(contents))
    return [int.from_bytes(padded[i:i + SIZE], "little") for i in range(0, len(padded), SIZE)]


def test_contents_are_there_from_the_start_in_every_part():
    contents = random.Random(1).randbytes(WORDS * SIZE - 100)
    dut = OnchipMemory(SIZE, 3, WORDS, contents)
    assert [(part.start, part.words) for part in dut.parts] == [(0, 1024), (1024, 512)]
    rng = random.Random(2)
    bursts = [(rng.randrange(8), rng.randrange(WORDS - 16), rng.randint(1, 16))
              for _ in range(40)] + [(5, 1016, 16)]
    expected = [(ident, data, i == beats - 1, OKAY) for ident, word, beats in bursts
                for i, data in enumerate(words_of(contents)[word:word + beats])]

    async def ask(ctx):
        await ask_bursts(ctx, dut.axi, bursts)

    async def take(ctx):
        found = await take_beats(ctx, dut.axi, len(expected), lambda: rng.random() < 0.6)
        assert [beat[1:] for beat in found] == expected

    simulate(dut, ask, take)


def test_a_beat_every_cycle_from_burst_to_burst():
    dut = OnchipMemory(SIZE, 3, WORDS)
    bursts = [(0, 16 * i, 16) for i in range(20)]

    async def ask(ctx):
        await ask_bursts(ctx, dut.axi, bursts)

    async def take(ctx):
        beats = await take_beats(ctx, dut.axi, 320)
        cycles = [beat[0] for beat in beats]
        assert cycles == list(range(cycles[0], cycles[0] + 320))
        # The burst is taken in the first cycle.
        assert cycles[0] - 1 == dut.latency + 3

    simulate(dut, ask, take)


def test_writes_are_of_the_bytes_whose_strobes_are_set():
    dut = OnchipMemory(SIZE, 3, WORDS)
    rng = random.Random(3)
    model = bytearray(dut.words * SIZE)

    async def bench(ctx):
        for ident in range(30):
            beats = [(rng.getrandbits(64), rng.getrandbits(8)) for _ in range(rng.randint(1, 9))]
            word = rng.choice([rng.randrange(40), 1024 - len(beats) // 2])
            assert await write_burst(ctx, dut.axi, ident % 8, word, beats,
                                     lambda: rng.random() < 0.3) == (ident % 8, OKAY)
            for i, (data, strobes) in enumerate(beats):
                for lane in range(SIZE):
                    if strobes >> lane & 1:
                        model[(word + i) * SIZE + lane] = data >> 8 * lane & 0xFF
        places = [*range(50), *range(1015, 1034)]
        for word in places:
            await ask_bursts(ctx, dut.axi, [(0, word, 1)])
            ((_, _, data, _, _),) = await take_beats(ctx, dut.axi, 1)
            assert data.to_bytes(SIZE, "little") == model[word * SIZE:(word + 1) * SIZE]

    simulate(dut, bench)


def test_beyond_the_last_word_is_an_error_and_harms_nothing():
    dut = OnchipMemory(SIZE, 3, 512, bytes([7] * SIZE))

    async def bench(ctx):
        for word in (512, 1 << 20):
            assert await write_burst(ctx, dut.axi, 1, word, [(0, 0xFF)]) == (1, SLVERR)
            await ask_bursts(ctx, dut.axi, [(2, word, 1)])
            assert (await take_beats(ctx, dut.axi, 1))[0][-1] == SLVERR
        await ask_bursts(ctx, dut.axi, [(2, 0, 1)])
        assert (await take_beats(ctx, dut.axi, 1))[0][1:] == (
            2, int.from_bytes([7] * SIZE, "little"), 1, OKAY)

    simulate(dut, bench)


def test_the_host_gets_the_cycles_that_the_bus_leaves():
    contents = random.Random(4).randbytes(WORDS * SIZE)
    words = words_of(contents)
    dut = OnchipMemory(SIZE, 3, WORDS, contents)
    bursts = [(0, 16 * i, 16) for i in range(30)]
    rng = random.Random(5)

    async def ask(ctx):
        await ask_bursts(ctx, dut.axi, bursts)

    async def take(ctx):
        beats = await take_beats(ctx, dut.axi, 480, lambda: rng.random() < 0.7)
        assert [beat[2] for beat in beats] == words[:480]

    async def host(ctx):
        for word in rng.sample(range(WORDS), 30):
            ctx.set(dut.r.en, 1)
            ctx.set(dut.r.addr, word)
            await ctx.tick().until(dut.r.ready)
            ctx.set(dut.r.en, 0)
            for _ in range(dut.latency - 1):
                assert not ctx.get(dut.r.valid)
                await ctx.tick()
            assert ctx.get(dut.r.valid) and ctx.get(dut.r.data) == words[word]

    simulate(dut, ask, take, host)


def test_contents_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="contents must have at most 4096 bytes, not 4097"):
        OnchipMemory(SIZE, 3, 512, bytes(4097))


def test_a_chain_of_many_parts_is_one_memory(monkeypatch):
    monkeypatch.setattr(onchip_memory, "MOST_WORDS", 512)
    contents = random.Random(6).randbytes(1792 * SIZE)
    dut = OnchipMemory(SIZE, 3, 1792, contents)
    assert [(part.start, part.words) for part in dut.parts] == [(512 * i, 512) for i in range(4)]
    assert dut.latency == 6
    words = [int.from_bytes(contents[i:i + SIZE], "little") for i in range(0, len(contents), SIZE)]
    bursts = [(0, 112 * i, 112) for i in range(16)]

    async def bench(ctx):
        # The last words of the part before, and the first of the next, in one burst.
        assert await write_burst(ctx, dut.axi, 1, 1022, [(i, 0xFF) for i in range(4)]) == (1, OKAY)

    async def ask(ctx):
        await ctx.tick().repeat(20)
        await ask_bursts(ctx, dut.axi, bursts)

    async def take(ctx):
        beats = await take_beats(ctx, dut.axi, len(words))
        cycles = [beat[0] for beat in beats]
        assert cycles == list(range(cycles[0], cycles[0] + len(words)))
        assert [beat[2] for beat in beats] == [*words[:1022], *range(4), *words[1026:]]

    simulate(dut, bench, ask, take)


def test_contents_are_written_in_short_blocks():
    dut = OnchipMemory(SIZE, 3, 8192, bytes(range(256)) * 256)
    top = FlatPorts(dut)
    m = Module()
    domain = ClockDomain("sync", local=True)
    m.domains += domain
    m.submodules += top
    text = verilog_text(m, "memory", [domain.clk, domain.rst, *(s for s, _ in top.ports.values())],
                        "generic")
    for part in range(2):
        blocks = re.findall(rf"  initial begin\n((?:    part{part}\[.*\n)+)  end\n", text)
        assert [block.count("\n") for block in blocks] == [256] * 16
        places = re.findall(rf"part{part}\[(\d+)\] = 64'h([0-9a-f]{{16}});", "".join(blocks))
        assert [int(place) for place, _ in places] == list(range(4096))
        assert [int(word, 16).to_bytes(SIZE, "little") for _, word in places[:32]] == [
            bytes(range(i, i + SIZE)) for i in range(0, 256, SIZE)]


class Board(wiring.Component):
    """Bridge, memory and registers, without the accelerator between them."""

    def __init__(self, contents):
        self.bridge = HostBridge(SIZE, 1536)
        self.memory = OnchipMemory(SIZE, 3, WORDS, contents)
        self.registers = RegisterFile(SPEC)
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules += [self.bridge, self.memory, self.registers]
        wiring.connect(m, self.bridge.r, self.memory.r)
        wiring.connect(m, self.bridge.w, self.memory.w)
        wiring.connect(m, self.bridge.registers, self.registers.bus)
        return m


class StreamLink:
    """Stands for the serial line: beats to the bridge, and what it answers.

    Parameters
    ----------
    damage : bits that are flipped in every word on its way to the bridge.
    """

    PATIENCE = 2000

    def __init__(self, board, damage=0):
        self.damage = damage
        self._down = [collections.deque(), collections.deque()]
        self._up = collections.deque()
        bridge = board.bridge
        rng = random.Random(6)

        async def bench(ctx):
            while True:
                ports = (bridge.command, bridge.data)
                offered = [bool(queue) and rng.random() < 0.7 for queue in self._down]
                for port, queue, offer in zip(ports, self._down, offered, strict=True):
                    ctx.set(port.valid, offer)
                    if offer:
                        beat = queue[0]
                        ctx.set(port.payload, port.payload.shape().from_bits(beat)
                                if port is bridge.command else beat)
                takes = rng.random() < 0.7
                ctx.set(bridge.answer.ready, takes)
                _, _, *ready, valid, word = await ctx.tick().sample(
                    bridge.command.ready, bridge.data.ready, bridge.answer.valid,
                    bridge.answer.payload)
                for queue, offer, taken in zip(self._down, offered, ready, strict=True):
                    if offer and taken:
                        queue.popleft()
                if valid and takes:
                    self._up.append((0, word))

        self._simulator = Simulator(board)
        self._simulator.add_clock(1e-6)
        self._simulator.add_process(bench)

    def send(self, stream, beat):
        self._down[stream].append(beat ^ self.damage * stream)

    def receive(self):
        for _ in range(self.PATIENCE):
            if self._up:
                return self._up.popleft()
            self._simulator.advance()
        raise AssertionError("no answer")


def program_of(contents):
    return Program(spec=SPEC, network="none", network_digest="", memory=contents, steps=(),
                   image_shape=(1, 4, 4), patch=2, classes=10)


def client_of(contents, damage=0):
    client = AcceleratorClient(None, program_of(contents))
    client.link = StreamLink(Board(contents), damage)
    client.registers = Registers(client._read_register, client._write_register)
    return client


def test_a_host_reaches_memory_and_registers():
    contents = random.Random(7).randbytes(1024)
    client = client_of(contents)
    assert client.read(64, 128) == contents[64:192]
    client.write(1020 * SIZE, contents[:80])
    assert client.read(1016 * SIZE, 64) == bytes(32) + contents[:32]
    client.registers.check(SPEC)
    client.registers.program, client.registers.output = 0x1240, 0xFFFF_FFF8
    assert (client.registers.program, client.registers.image, client.registers.output) == (
        0x1240, 0, 0xFFFF_FFF8)


def test_a_host_knows_whether_its_program_is_there():
    contents = random.Random(8).randbytes(512)
    client = client_of(contents)
    assert client.holds_program()
    client.write(256, bytes([contents[256] ^ 1]) + contents[257:264])
    assert not client.holds_program()
    client.load_program()
    assert client.holds_program()


def test_what_the_board_has_not_is_refused():
    client = client_of(bytes(64))
    for act in (lambda: client.write(1536 * SIZE, bytes(SIZE)),
                lambda: client.read(1535 * SIZE, 2 * SIZE)):
        with pytest.raises(UserError, match="address must be one that the board has, not 0x[23]"):
            act()
    with pytest.raises(UserError, match="not 0x0"):
        client._write_register(0, 1)
    assert client.read(0, 64) == bytes(64)


def test_a_disturbed_line_is_noticed():
    with pytest.raises(UserError, match="the serial line is disturbed"):
        client_of(bytes(64), damage=4).write(0, bytes(16))


def test_commands_have_the_fields_that_fit():
    beat = pack_command(address=0x1234, words=7, silent=1)
    assert beat == 0x1234 | 7 << 32 | 1 << 58 and beat < 1 << sum(bits for _, bits in COMMAND)
    assert checksum(beat, [b"ab", b"c"], 8) == checksum(beat, [b"abc"], 8)
    with pytest.raises(ValueError, match="words must be 0..16777215, not -1"):
        pack_command(words=-1)
    with pytest.raises(ValueError, match="a command has no 'size'"):
        pack_command(size=1)


def test_image_and_logits_lie_behind_the_program():
    where = memory_map(program_of(bytes(72)))
    assert (where.program, where.image, where.output) == (0, 128, 192)
    assert where.words == (192 + 32) // SIZE
