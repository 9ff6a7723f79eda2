"""Constants of the vector engines: packed into words, and unpacked by the gates."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.config_unpacker import ConfigUnpacker
from vitrtl.sw.accelerator.configuration_words import (
    LONGEST_RUN,
    ConfigWord,
    load_cycles,
    pack_config,
    unpack_config,
)
from vitrtl.sw.accelerator.engines import unit_configuration
from vitrtl.sw.accelerator.instruction import decode, length_of
from vitrtl.sw.accelerator.isa import CONFIG_HEADER, VECTOR, join_fields, pack
from vitrtl.sw.golden.requantize import RequantizeConstants, RequantizeSpec


def constants(address, *values, requantizer=False):
    """Return a run of constants."""
    return [ConfigWord(requantizer=requantizer, address=address + i, data=value)
            for i, value in enumerate(values)]


def header(**fields):
    return join_fields(CONFIG_HEADER, fields)


CONFIGS = {
    "none": ([], 0),
    "one": (constants(5, 7), 2),
    "one wide": (constants(5, -2**39), 3),
    "even": (constants(0, 1, -2, 3), 4),
    "odd": (constants(0, -1, 2), 3),
    "limits of narrow": (constants(9, 2**31 - 1, -2**31, requantizer=True), 3),
    "one too large for narrow": (constants(9, 2**31, 0, -1, requantizer=True), 7),
    "limits of wide": (constants(9, 2**39 - 1, -2**39, -2**31 - 1), 7),
    "zeros": (constants(0, 0, 0, 0, 0), 5),
    "unit and requantizer": (constants(0, 1, 2) + constants(2, 3, requantizer=True), 5),
    "gaps": (constants(0, 1, 2) + constants(3, -3) + constants(3, 4) + constants(2, 5), 9),
    "last addresses": (constants(2**16 - 2, 1, -1), 3),
    "more than a run": (constants(0, *range(LONGEST_RUN + 3)), LONGEST_RUN + 5),
}


@pytest.mark.parametrize("config, entries", CONFIGS.values(), ids=CONFIGS)
def test_constants_are_packed_and_unpacked(config, entries):
    words = pack_config(config)
    assert unpack_config(words) == config
    assert load_cycles(config) == entries and len(words) == -(-entries // 2)
    assert all(0 <= word < 1 << 64 for word in words)


def test_entries_stand_as_they_are_described():
    words = pack_config([*constants(3, -2, 5), *constants(0x1234, 1 << 33, requantizer=True)])
    assert words == [3 | 2 << 16 | 0xFFFF_FFFE << 32, 5 | (0x1234 | 0b11 << 30 | 1 << 16) << 32,
                     0 | 2 << 32]


@pytest.mark.parametrize("entries, message", [
    ((header(count=2), 1), "configuration ends inside a run"),
    ((header(count=3), 1, 2, 0, header(count=1), 0, header(count=3), 0),
     "configuration ends inside a run"),
    ((header(count=1, wide=1), 1), "configuration ends inside a run"),
    ((header(count=1), 1, 0, 0), "a run of constants must have one at least"),
    ((header(address=4), 0), "a run of constants must have one at least"),
    ((header(count=1), 1, header(count=1), 2, header(address=4), 1), "must have one at least"),
    ((header(count=2, address=2**16 - 1), 1, 2, 0), "address of a constant must be 0..65535"),
    ((header(count=1, wide=1), 0, 128, 0), "constant must be -549755813888..549755813887"),
])
def test_words_that_are_no_constants_are_refused(entries, message):
    words = [low | high << 32 for low, high in zip(entries[::2], entries[1::2], strict=True)]
    with pytest.raises(ValueError, match=message):
        unpack_config(words)
    with pytest.raises(ValueError, match=message):
        decode(VECTOR, [*pack(VECTOR, {"opcode": 4, "config": len(words)}), *words])


@pytest.mark.parametrize("fields", [
    {"address": -1}, {"address": 1 << 16}, {"data": 1 << 39}, {"data": -(1 << 39) - 1}])
def test_constants_that_do_not_fit_are_refused(fields):
    with pytest.raises(ValueError, match=r"constant must be .*, not"):
        ConfigWord(**{"requantizer": False, "address": 0, "data": 0} | fields)


def test_negative_constants_of_a_requantizer_are_narrow():
    spec = RequantizeSpec(channels=4)
    values = RequantizeConstants(bias=np.array([-5, -2**31, 7]), factor=np.array([-1, 2, 3]),
                                 per_channel=1)
    config = unit_configuration(spec, values, requantizer=True)
    assert [word.data for word in config[:3]] == [-5, -2**31, 7]
    assert all(word.requantizer for word in config) and load_cycles(config) == 3 + len(config)


def test_instructions_are_found_behind_their_constants():
    config = constants(0, 1, 2, 3, 4)
    fields = {"opcode": 4, "config": len(pack_config(config))}
    program = [*pack(VECTOR, fields), *pack_config(config), *pack(VECTOR, {"opcode": 4})]
    (first, found), (second, none) = decode(VECTOR, program)
    assert (first["config"], found, second["config"], none) == (3, config, 0, [])
    assert length_of(VECTOR, first) + length_of(VECTOR, second) == len(program)


def random_config(rng):
    """Return runs of all kinds."""
    config = []
    for _ in range(rng.integers(1, 8)):
        bits = rng.choice([8, 32, 32, 40])
        values = rng.integers(-2**(bits - 1), 2**(bits - 1), rng.integers(1, 12))
        config += constants(int(rng.integers(2**16 - 12)), *values.tolist(),
                            requantizer=bool(rng.integers(2)))
    return config


def simulate(words, count, pauses=(0, 0), rng=None):
    """Give words to the gates; return the constants that come and the cycle of each, and whether
    the gates are busy at the end, and partial.

    Parameters
    ----------
    count : of constants to wait for.
    pauses : probability that no word is offered, and that a constant is not taken.
    """
    dut = ConfigUnpacker()
    left, found, cycles, end = list(words), [], [], []

    async def bench(ctx):
        offered = held = None
        cycle = 0
        while len(found) < count or left or offered is not None:
            pause, stall = (rng is not None and rng.random() < p for p in pauses)
            valid = ctx.get(dut.o.valid)
            if offered is None and not left:
                assert ctx.get(dut.busy), "a constant could be overtaken"
            if offered is None and left and not pause:
                offered = left.pop(0)
            ctx.set(dut.i.valid, offered is not None)
            ctx.set(dut.i.payload, offered or 0)
            ctx.set(dut.o.ready, not stall)
            assert ctx.get(dut.o.valid) == valid, "valid must not depend on ready"
            assert valid or held is None
            if valid:
                word = constant_of(ctx.get(dut.o.payload))
                assert held in (None, word), "a constant that is not taken must stay"
                held = word if stall else None
                if not stall:
                    found.append(word)
                    cycles.append(cycle)
            if ctx.get(dut.i.ready):
                offered = None
            await ctx.tick()
            cycle += 1
            assert cycle < 20 * len(words) + 100, "the unpacker stands still"
        ctx.set(dut.i.valid, 0)
        for _ in range(5):
            assert not ctx.get(dut.o.valid)
            await ctx.tick()
        end.extend([ctx.get(dut.busy), ctx.get(dut.partial)])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found, cycles, tuple(end)


def constant_of(payload):
    return ConfigWord(requantizer=bool(payload.requantizer), address=payload.address,
                      data=payload.data - (payload.data >> 39 << 40))


@pytest.mark.parametrize("pauses", [(0, 0), (0.5, 0), (0, 0.5), (0.3, 0.3), (0.8, 0.1),
                                    (0.1, 0.8)])
def test_gates_unpack_with_all_pauses(pauses):
    rng = np.random.default_rng(5)
    for _ in range(4):
        config = random_config(rng)
        found, _, end = simulate(pack_config(config), len(config), pauses, rng)
        assert found == config and end == (0, 0)


def test_gates_unpack_one_entry_in_each_cycle():
    narrow, wide = constants(3, *range(20)), constants(3, *range(2**33, 2**33 + 20))
    for config, each in ((narrow, 1), (wide, 2)):
        _, cycles, _ = simulate(pack_config(config), len(config))
        assert cycles == list(range(2 + each, 2 + each * 21, each))
    config = random_config(np.random.default_rng(6))
    _, cycles, _ = simulate(pack_config(config), len(config))
    assert cycles[-1] == 1 + load_cycles(config)


@pytest.mark.parametrize("config, given", [
    (constants(0, *range(6)), 5), (constants(0, *range(2**33, 2**33 + 5)), 4)])
def test_gates_tell_of_a_run_that_ends_early(config, given):
    found, _, end = simulate(pack_config(config)[:-1], given)
    assert found == config[:given] and end == (1, 1)


def test_gates_pass_over_headers_without_a_count():
    one, two = constants(7, 1, 2, 3), constants(9, -4, requantizer=True)
    words = [0, *pack_config(one), 0, 0, *pack_config(two)]
    found, _, end = simulate(words, 4)
    assert found == one + two and end == (0, 0)
