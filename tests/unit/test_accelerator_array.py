"""The accelerator's array engine, in Amaranth's simulator against the golden model."""

import dataclasses
import functools
from fractions import Fraction

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.array_engine import ArrayEngine
from vitrtl.sw.accelerator.isa import MODES, OPCODES, pack
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import ARRAY, CONSTANT_BEATS, AcceleratorSpec
from vitrtl.sw.golden.fixed_point import Format, saturate
from vitrtl.sw.golden.matmul import matmul
from vitrtl.sw.golden.requantize import RequantizeConstants, derive, requantize

MEMORY_LATENCY = 3
CYCLES = 20_000
SPEC = AcceleratorSpec(longest_pass=32, bank_words=256, residual_words=256, weight_words=512,
                       constant_groups=8)
PAIRED = dataclasses.replace(SPEC, paired=True)


class Memories:
    """What the engine works on: codes by word, and constants by group.

    Parameters
    ----------
    spec : of the accelerator.
    rng : of their random contents.
    """

    def __init__(self, spec, rng):
        self.spec = spec
        lanes = spec.size
        self.scratch = rng.integers(-128, 128, (spec.scratch_words, lanes))
        self.weights = rng.integers(-128, 128, (spec.weight_words, lanes))
        self.residual = rng.integers(-2**15, 2**15, (spec.residual_words, lanes))
        channels = spec.constant_groups * lanes
        # Ratios for which narrow results saturate now and then.
        ratios = [Fraction(int(r), 2**18) for r in rng.integers(-2**10, 2**10, channels)]
        bias = rng.integers(-2**12, 2**12, channels).tolist()
        constants, _ = derive(self.wide, ratios, bias)
        self.bias = constants.bias.reshape(-1, lanes)
        self.factor = constants.factor.reshape(-1, lanes)

    @property
    def wide(self):
        """The requantizer's numbers, for as many channels as all groups have."""
        return dataclasses.replace(self.spec.requantize, channels=4096)

    def constant_beats(self):
        """Yield group, beat and data of the writes of all constants."""
        share = self.spec.size // CONSTANT_BEATS
        for group in range(self.spec.constant_groups):
            entries = [int(b) & 0xFFFFFFFF | (int(f) & 0x1FFFFF) << 32
                       for b, f in zip(self.bias[group], self.factor[group], strict=True)]
            for beat in range(CONSTANT_BEATS):
                part = entries[beat * share:(beat + 1) * share]
                yield group, beat, sum(e << 64 * i for i, e in enumerate(part))

    def execute(self, fields):
        """Do one instruction by the golden model; return (residual, address, codes) in order."""
        spec, size = self.spec, self.spec.size
        rows, k_tiles = np.arange(fields["rows"]), fields["k_tiles"]
        wraps = self.scratch.shape[0]
        a = np.concatenate([self.scratch[(fields["a_base"] + rows * fields["a_row"] + k) % wraps]
                            for k in range(k_tiles)], axis=1)
        source = self.scratch if fields["w_scratch"] else self.weights
        written = []
        for n in range(fields["n_tiles"]):
            tiles = []
            for k in range(k_tiles):
                first = fields["w_base"] + n * fields["w_n"] + k * fields["w_k"]
                tile = source[(first + np.arange(size) * fields["w_i"]) % len(source)]
                tiles.append(tile.T if fields["transposed"] else tile)
            weights = np.concatenate(tiles)
            words = ([((weights & 15) ^ 8) - 8, weights >> 4] if fields.get("paired")
                     else [weights])
            results = [self.word(fields, rows, n * len(words) + i, matmul(a, part, spec.matmul))
                       for i, part in enumerate(words)]
            written += [write for row in zip(*results, strict=True) for write in row]
        return written

    def word(self, fields, rows, n, sums):
        """Requantize and store one word of each row; return (residual, address, codes)."""
        group = fields["constants"] + n * fields["per_channel"]
        constants = RequantizeConstants(bias=self.bias[group], factor=self.factor[group],
                                        per_channel=1)
        results = requantize(sums, self.wide, constants)
        places = fields["o_base"] + rows * fields["o_row"] + n
        if fields["mode"] == MODES["narrow"]:
            results = saturate(results, Format(self.spec.activation_width, True))
            self.scratch[places] = results
        else:
            if fields["mode"] == MODES["add"]:
                results = saturate(results + self.residual[places], Format(16, True))
            self.residual[places] = results
        return [(int(fields["mode"] != MODES["narrow"]), int(p), r.tolist())
                for p, r in zip(places, results, strict=True)]


def as_word(codes, bits):
    return sum((int(c) & ((1 << bits) - 1)) << bits * i for i, c in enumerate(codes))


def as_codes(word, bits, count):
    codes = [word >> bits * i & ((1 << bits) - 1) for i in range(count)]
    return [c - (c >> (bits - 1) << bits) for c in codes]


@dataclasses.dataclass
class Trace:
    """Cycles of what the engine did, and its writes."""

    beats: list
    issued: list
    done: list
    writes: list
    write_cycles: list
    faults: list
    idle: bool = False


class Playground:
    """An engine and memories around it that may be busy.

    Parameters
    ----------
    spec : of the accelerator.
    """

    def __init__(self, spec):
        self.spec, self.trace = spec, None
        self.dut = dut = ArrayEngine(spec)
        self.simulator = simulator = Simulator(dut)
        simulator.add_clock(1e-6)
        simulator.add_testbench(self.program)
        for name, memory, bits in (("activations", "scratch", 8), ("weights", "weights", 8),
                                   ("keys", "scratch", 8), ("residual_r", "residual", 16)):
            simulator.add_testbench(self.reader(name, memory, bits), background=True)
        for name, memory, bits in (("w", "scratch", 8), ("residual_w", "residual", 16)):
            simulator.add_testbench(self.writer(name, memory, bits), background=True)
        simulator.add_testbench(self.watch)

    def run(self, memories, programs, busy=0.0, seed=0):
        """Simulate until all instructions are done or one is at fault; return what happened.

        Parameters
        ----------
        memories : that the engine's ports read and write.
        programs : fields of instructions.
        busy : probability that a port is not ready; of all ports, or by name.
        """
        self.memories, self.busy, self.expected = memories, busy, len(programs)
        self.words = [word for fields in programs
                      for word in pack(ARRAY, {"opcode": OPCODES["multiply"], **fields})]
        self.rng = np.random.default_rng(seed)
        if self.trace:
            self.simulator.reset()
        self.trace = Trace([], [], [], [], [], [])
        self.simulator.run()
        return self.trace

    def ready(self, name):
        busy = self.busy.get(name, 0) if isinstance(self.busy, dict) else self.busy
        return int(self.rng.random() >= busy)

    async def program(self, ctx):
        dut = self.dut
        for group, beat, word in self.memories.constant_beats():
            for name, value in (("en", 1), ("group", group), ("beat", beat), ("data", word)):
                ctx.set(getattr(dut.constants, name), value)
            await ctx.tick()
        ctx.set(dut.constants.en, 0)
        for word in self.words:
            ctx.set(dut.control.words.payload, word)
            ctx.set(dut.control.words.valid, 1)
            await ctx.tick().until(dut.control.words.ready)
        ctx.set(dut.control.words.valid, 0)

    def reader(self, name, memory, bits):
        port = getattr(self.dut, name)

        async def serve(ctx):
            store = getattr(self.memories, memory)
            ctx.set(port.ready, self.ready(name))
            coming = [None] * (MEMORY_LATENCY - 1)
            async for *_, enabled, address, ready in ctx.tick().sample(
                    port.en, port.addr, port.ready):
                coming.append(as_word(store[address], bits) if enabled and ready else None)
                word = coming.pop(0)
                ctx.set(port.valid, word is not None)
                ctx.set(port.data, word or 0)
                ctx.set(port.ready, self.ready(name))
        return serve

    def writer(self, name, memory, bits):
        port = getattr(self.dut, name)

        async def serve(ctx):
            store = getattr(self.memories, memory)
            ctx.set(port.ready, self.ready(name))
            waiting = None
            async for *_, enabled, address, word, ready in ctx.tick().sample(
                    port.en, port.addr, port.data, port.ready):
                assert waiting in (None, (enabled, address, word))
                waiting = (enabled, address, word) if enabled and not ready else None
                if enabled and ready:
                    store[address] = as_codes(word, bits, len(store[address]))
                ctx.set(port.ready, self.ready(name))
        return serve

    async def watch(self, ctx):
        dut, trace = self.dut, self.trace
        control, tap, size = dut.control, dut.tap, self.memories.spec.size
        for cycle in range(CYCLES):
            _, _, beat, issued, done, fault, *tapped = await ctx.tick().sample(
                dut.beat, control.issued, control.done, control.fault,
                tap.valid, tap.residual, tap.addr, tap.data)
            for seen, cycles in ((beat, trace.beats), (issued, trace.issued), (done, trace.done)):
                if seen:
                    cycles.append(cycle)
            if fault:
                trace.faults.append(fault)
            valid, residual, address, word = tapped
            if valid:
                trace.write_cycles.append(cycle)
                trace.writes.append((residual, address,
                                     as_codes(word, 16 if residual else 8, size)))
            if len(trace.done) == self.expected or (trace.faults and cycle > 200):
                break
        await ctx.tick()
        trace.idle = bool(ctx.get(control.idle))


playground = functools.cache(Playground)


def instruction(size, rows, k_tiles, n_tiles, mode="narrow", **fields):
    """Return the fields of a multiplication of matrices that are stored one after the other."""
    return {"rows": rows, "k_tiles": k_tiles, "n_tiles": n_tiles, "mode": MODES[mode],
            "a_base": 0, "a_row": k_tiles, "w_scratch": 0, "transposed": 0, "w_base": 3,
            "w_n": size * k_tiles, "w_k": size, "w_i": 1, "constants": 1, "per_channel": 1,
            "o_base": 32 if mode != "narrow" else 512, "o_row": n_tiles} | fields


def pair(size, rows, k_tiles, n_tiles, mode="narrow", **fields):
    """Return the fields of a multiplication by two weights in each byte."""
    return instruction(size, rows, k_tiles, n_tiles, mode, paired=1,
                       **{"o_row": 2 * n_tiles, "constants": 2} | fields)


def check(spec, programs, busy=0.0, seed=0, expected=None):
    """Run instructions on gates, and on the golden model unless those are `expected` for it.

    Return the trace and the engine.
    """
    memories, golden = (Memories(spec, np.random.default_rng(seed)) for _ in range(2))
    writes = [word for fields in expected or programs
              for word in golden.execute(fields)]
    trace = playground(spec).run(memories, programs, busy, seed)
    assert trace.writes == writes
    np.testing.assert_array_equal(memories.scratch, golden.scratch)
    np.testing.assert_array_equal(memories.residual, golden.residual)
    assert not trace.faults
    assert len(trace.done) == len(trace.issued) == len(programs)
    assert len(trace.beats) == sum(f["rows"] * f["k_tiles"] * f["n_tiles"] for f in programs)
    assert trace.idle
    return trace, playground(spec).dut


@pytest.mark.parametrize(("rows", "k_tiles", "n_tiles", "mode"), [
    (1, 1, 1, "narrow"), (1, 5, 3, "add"), (8, 2, 2, "narrow"), (22, 1, 3, "wide"),
    (22, 5, 2, "add"), (32, 2, 1, "add"), (32, 1, 2, "narrow"),
])
def test_an_instruction_is_its_golden_model_in_every_mode(rows, k_tiles, n_tiles, mode):
    check(SPEC, [instruction(8, rows, k_tiles, n_tiles, mode)])


@pytest.mark.parametrize("fields", [
    {"w_scratch": 1, "transposed": 1, "w_base": 700, "w_i": 3, "w_k": 1, "w_n": 24},
    {"w_scratch": 1, "w_base": 700, "w_i": 5, "w_k": 40, "w_n": 1},
    {"transposed": 1, "per_channel": 0, "constants": 7},
    {"a_base": 1000, "a_row": 2**16 - 3, "o_base": 2**20 - 512},
])
def test_strides_and_sources_of_operands_are_those_of_the_instruction(fields):
    program = [instruction(8, 9, 3, 2, **fields)]
    if "a_row" not in fields:
        check(SPEC, program)
        return
    # Addresses wrap, and lose the bits that the memory has not.
    wrapped = instruction(8, 9, 3, 2, **{**fields, "o_base": fields["o_base"] % 1024})
    trace, _ = check(SPEC, program, expected=[wrapped])
    assert trace.writes


MIXED = [
    instruction(8, 8, 2, 1),
    instruction(8, 22, 1, 2, "wide"),
    instruction(8, 1, 3, 1, "narrow", w_scratch=1, transposed=1, w_base=700, o_base=600),
    instruction(8, 3, 1, 3, "narrow", transposed=1, constants=4, per_channel=0, o_base=700),
    instruction(8, 5, 2, 2, "add", o_base=200),
    instruction(8, 1, 1, 1, "add", o_base=220, w_scratch=1, w_base=900),
    instruction(8, 1, 1, 1, "narrow", o_base=800),
    instruction(8, 32, 2, 1, "narrow", o_base=900, transposed=1),
]


@pytest.mark.parametrize("busy", [0.0, 0.5, 0.9])
def test_instructions_of_all_kinds_follow_each_other_whatever_the_memories_do(busy):
    check(SPEC, MIXED if busy < 0.9 else MIXED[1:6], busy, seed=int(busy * 10))


@pytest.mark.parametrize("slow", ["activations", "weights", "keys", "w", "residual_r",
                                  "residual_w"])
def test_any_memory_port_may_be_the_slow_one(slow):
    programs = [instruction(8, 6, 1, 1, "wide", o_base=0),
                instruction(8, 8, 1, 2, "add", w_scratch=1), instruction(8, 8, 1, 1)]
    check(SPEC, programs, busy={slow: 0.85})


@pytest.mark.parametrize("lanes", [1, 8])
def test_lanes_of_the_requantizer_change_only_the_time(lanes):
    spec = dataclasses.replace(SPEC, requantize_lanes=lanes)
    check(spec, MIXED[1:6])


def test_narrow_results_have_the_width_of_activations():
    spec = dataclasses.replace(SPEC, activation_width=6)
    trace, _ = check(spec, [instruction(8, 22, 2, 1)])
    assert {-32, 31} < {code for *_, codes in trace.writes for code in codes} <= {*range(-32, 32)}


def test_a_larger_array_and_memories_in_blocks():
    spec = dataclasses.replace(SPEC, size=16, requantize_lanes=2, longest_pass=80,
                               constant_groups=20)
    check(spec, [instruction(16, 5, 2, 1), instruction(16, 4, 1, 1, "add", constants=18,
                                                       transposed=1)], busy=0.2)


@pytest.mark.parametrize("lanes", [4, 8])
def test_no_cycle_is_lost_between_passes_and_instructions(lanes):
    spec = dataclasses.replace(SPEC, requantize_lanes=lanes)
    rows = ArrayEngine(spec).shortest_pass
    programs = [instruction(8, rows, 2, 1), instruction(8, rows, 2, 2, "add", transposed=1),
                instruction(8, rows + 5, 3, 1, "wide", w_scratch=1, o_base=200),
                instruction(8, rows, 2, 1, o_base=600)]
    trace, _ = check(spec, programs)
    assert trace.beats[-1] - trace.beats[0] == len(trace.beats) - 1


@pytest.mark.parametrize("mode", ["narrow", "add"])
@pytest.mark.parametrize("lanes", [1, 4, 8])
def test_times_are_the_stated_ones(lanes, mode):
    spec = dataclasses.replace(SPEC, requantize_lanes=lanes)
    trace, dut = check(spec, [instruction(8, 20, 1, 1, mode)])
    assert trace.beats[0] - trace.issued[0] == dut.first_beat(MEMORY_LATENCY)
    assert trace.write_cycles[0] - trace.beats[0] == dut.result
    assert set(np.diff(trace.write_cycles)) == {dut.result_cycles}
    assert trace.done == [trace.write_cycles[-1] + 1]
    assert dut.result_cycles == 8 // lanes


def test_a_long_last_pass_is_held_up_only_by_the_requantizer():
    trace, dut = check(SPEC, [instruction(8, 32, 1, 3)])
    assert trace.beats[dut.queued_results - 1] - trace.beats[0] == dut.queued_results - 1
    assert set(np.diff(trace.write_cycles)) == {dut.result_cycles}


@pytest.mark.parametrize(("rows", "k_tiles", "n_tiles", "mode"), [
    (1, 1, 1, "narrow"), (1, 5, 2, "add"), (22, 2, 3, "wide"), (32, 1, 2, "narrow"),
])
def test_a_byte_is_two_weights_where_the_instruction_says_so(rows, k_tiles, n_tiles, mode):
    check(PAIRED, [pair(8, rows, k_tiles, n_tiles, mode)])


MIXED_PAIRS = [
    pair(8, 8, 2, 1), instruction(8, 22, 1, 2, "wide"), instruction(8, 1, 2, 1, o_base=600),
    pair(8, 3, 1, 2, "add", per_channel=0, constants=4, transposed=1, o_base=200),
    pair(8, 1, 1, 1, o_base=700), pair(8, 2, 3, 1, w_scratch=1, w_base=900, o_base=750),
    instruction(8, 1, 3, 1, w_scratch=1, transposed=1, w_base=640, o_base=800),
    instruction(8, 32, 2, 1, o_base=900, transposed=1),
]


@pytest.mark.parametrize("busy", [0.0, 0.6])
def test_paired_and_plain_instructions_follow_each_other(busy):
    check(PAIRED, MIXED_PAIRS, busy, seed=3)


def test_halves_of_the_largest_operands_are_joined_without_loss():
    memories, golden = (Memories(PAIRED, np.random.default_rng(4)) for _ in range(2))
    for memory in (memories, golden):
        memory.scratch[:] = -128
        memory.weights[:] = np.array([-128, 127, 15, -1, -8, 7, 112, -113])
    programs = [instruction(8, 4, 9, 1), pair(8, 4, 9, 1, o_base=600)]
    writes = [word for fields in programs for word in golden.execute(fields)]
    assert playground(PAIRED).run(memories, programs).writes == writes


@pytest.mark.parametrize("lanes", [1, 8])
def test_lanes_of_the_requantizer_change_only_the_time_of_pairs(lanes):
    check(dataclasses.replace(PAIRED, requantize_lanes=lanes), MIXED_PAIRS[:5])


def test_pairs_on_a_larger_array_with_memories_in_blocks():
    spec = dataclasses.replace(PAIRED, size=16, requantize_lanes=4, longest_pass=80,
                               constant_groups=20)
    check(spec, [pair(16, 5, 2, 1), instruction(16, 3, 1, 1, "wide"),
                 pair(16, 4, 1, 1, "add", constants=18, o_base=200)], busy=0.2)


def test_no_cycle_is_lost_between_paired_and_plain_passes():
    rows = ArrayEngine(PAIRED).shortest_pass
    assert rows == ArrayEngine(SPEC).shortest_pass
    # A row's two words take four cycles of the requantizer, and so four passes.
    programs = [pair(8, rows, 4, 2), instruction(8, rows, 2, 1, o_base=800), pair(8, rows, 4, 1)]
    trace, _ = check(PAIRED, programs)
    assert trace.beats[-1] - trace.beats[0] == len(trace.beats) - 1


@pytest.mark.parametrize("lanes, kind, words", [(1, pair, 2), (4, pair, 2), (8, pair, 2),
                                                (4, instruction, 1)])
def test_times_of_an_array_for_pairs_are_the_stated_ones(lanes, kind, words):
    spec = dataclasses.replace(PAIRED, requantize_lanes=lanes)
    trace, dut = check(spec, [kind(8, 20, 1, 1)])
    assert trace.beats[0] - trace.issued[0] == dut.first_beat(MEMORY_LATENCY)
    assert trace.write_cycles[0] - trace.beats[0] == dut.result
    assert set(np.diff(trace.write_cycles)) == {dut.result_cycles}
    assert len(trace.writes) == 20 * words
    assert trace.done == [trace.write_cycles[-1] + 1]


@pytest.mark.parametrize("spec, fields", [
    *((SPEC, fields) for fields in (
        {"rows": 0}, {"rows": 33}, {"k_tiles": 0}, {"n_tiles": 0}, {"mode": 3},
        {"opcode": OPCODES["load"]}, {"paired": 1, "constants": 2})),
    (PAIRED, {"paired": 1, "constants": 3}),
])
def test_an_instruction_that_cannot_be_done_is_a_fault(spec, fields):
    memories = Memories(spec, np.random.default_rng(0))
    trace = playground(spec).run(memories, [instruction(8, 1, 1, 1),
                                            instruction(8, 1, 1, 1) | fields])
    assert trace.faults == [FAULTS["bad program"]]
    assert len(trace.writes) == len(trace.done) == 1
    assert not trace.idle
