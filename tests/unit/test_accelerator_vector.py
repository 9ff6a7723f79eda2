"""Vector engines: rows from a memory, through unit and requantizer, back, against the integers."""

import dataclasses
from collections import deque
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.hw.accelerator.banked_memory import BankedMemory
from vitrtl.hw.accelerator.vector_engine import VectorEngine
from vitrtl.sw.accelerator.configuration_words import load_cycles, pack_config
from vitrtl.sw.accelerator.engines import unit_configuration
from vitrtl.sw.accelerator.isa import VECTOR, pack, words_of
from vitrtl.sw.accelerator.predict import DECODED, PREPARED, UNPACKED
from vitrtl.sw.accelerator.registers import FAULTS
from vitrtl.sw.accelerator.spec import AcceleratorSpec, EngineSpec
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.requantize import RequantizeSpec, derive, requantize

SIZE = 8
CHANNELS = 64


def engine_of(name, lanes=1, **fields):
    """Return a small engine; rows are of 80 elements at most where the unit has a limit."""
    kind = unit(name).golden.spec
    if "longest_row" in {field.name for field in dataclasses.fields(kind)}:
        fields = {"longest_row": 80, **fields}
    spec = kind(lanes=lanes, **fields)
    return EngineSpec(unit=name, spec=spec, requantize=None if spec.merges_requantizer
                      else RequantizeSpec(lanes=lanes, channels=CHANNELS))


def accelerator(engine):
    return AcceleratorSpec(size=SIZE, longest_pass=SIZE, requantize_lanes=1, banks=1,
                           bank_words=1024, residual_words=512, engines=(engine,))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One instruction, and constants that are loaded before it; none to keep the last."""

    rows: int
    elements: int
    i_base: int = 0
    i_row: int = 0
    o_base: int = 512
    o_row: int = 0
    constants: tuple[Any, Any] | None = None

    def config(self, engine):
        if self.constants is None:
            return []
        words = unit_configuration(engine.spec, self.constants[0])
        if engine.requantize is not None:
            words += unit_configuration(engine.requantize, self.constants[1], requantizer=True)
        return words

    def words(self, engine, **fields):
        config = pack_config(self.config(engine))
        return [*pack(VECTOR, {"opcode": 4, "rows": self.rows, "elements": self.elements,
                               "i_base": self.i_base, "i_row": self.i_row,
                               "o_base": self.o_base, "o_row": self.o_row,
                               "config": len(config), **fields}),
                *config]


def random_constants(engine, length, rng):
    """Return constants of the unit, and of the requantizer if there is one."""
    entry = unit(engine.unit)
    if entry.operator == "layernorm":
        gamma = rng.uniform(0.2, 2, length) * rng.choice([-1, 1], length)
        beta = gamma * rng.uniform(-0.9, 0.9, length)
        first, scale = entry.golden.export(engine.spec, Fraction(1, 100),
                                           out_scale=Fraction(1, 40), gamma=gamma.tolist(),
                                           beta=beta.tolist())
        ratio = [Fraction(int(r), 1 << 16) for r in rng.integers(-90, 90, length)]
    else:
        wanted = Fraction(int(rng.integers(5, 40)), 400)
        first, scale = entry.golden.export(engine.spec, entry.golden.fit_scale(engine.spec,
                                                                               wanted))
        ratio = (Fraction(1, 127) / int(rng.integers(2, 5)) / 2 if entry.operator == "gelu"
                 else Fraction(int(rng.integers(60, 250)), 1 << 16))
    second = None
    if engine.requantize is not None:
        second = derive(engine.requantize, ratio)[0]
    return first, second


def expected_memory(engine, runs, scratch, residual):
    """Return the scratchpad after all runs, by the golden functions."""
    scratch = scratch.copy()
    entry = unit(engine.unit)
    constants = None
    for run in runs:
        constants = run.constants or constants
        count = -(-run.elements // SIZE)
        for r in range(run.rows):
            memory = residual if engine.reads_residual else scratch
            place = (run.i_base + r * run.i_row + np.arange(count)) % len(memory)
            x = memory[place].reshape(-1)[:run.elements].astype(np.int64)
            width = engine.spec.in_format.width
            x = (x + (1 << width - 1)) % (1 << width) - (1 << width - 1)
            y = entry.golden.function(x[None], engine.spec, constants[0])
            if engine.requantize is not None:
                y = requantize(y, engine.requantize, constants[1])
            row = np.zeros(count * SIZE, np.int64)
            row[:run.elements] = y[0]
            place = (run.o_base + r * run.o_row + np.arange(count)) % len(scratch)
            scratch[place] = row.astype(np.uint8).view(np.int8).reshape(count, SIZE)
    return scratch


def to_word(elements, width):
    """Return the integer that holds elements, the first one lowest."""
    return int.from_bytes(np.ascontiguousarray(elements).astype(f"<i{width // 8}").tobytes(),
                          "little")


def simulate(engine, words, scratch, residual, rng=None, runs=None, counts=None):
    """Run a program; return the scratchpad after it, and the cycles of what was told.

    Parameters
    ----------
    rng : pauses of program and memories; none without it.
    runs : instructions to wait for.
    counts : `counts(cycle)` of the other engines' ended instructions.
    """
    dut = VectorEngine(accelerator(engine), 2)
    scratch = scratch.copy()
    width = dut.element_width
    memory = residual if engine.reads_residual else scratch
    told = {"issued": [], "done": [], "fault": []}
    left = list(words)

    async def bench(ctx):
        control = dut.control
        answers = deque([None] * BankedMemory.LATENCY)
        offered = held = None
        cycle = 0
        while len(told["done"]) < runs:
            # Program.
            pauses = [rng is not None and rng.random() < p for p in (0.2, 0.4, 0.4)]
            if offered is None and left and not pauses[0]:
                offered = left.pop(0)
            ctx.set(control.words.valid, offered is not None)
            ctx.set(control.words.payload, offered or 0)
            ctx.set(control.ended, not left and offered is None)
            if counts is not None:
                ctx.set(control.counts, counts(cycle))
            ctx.set(dut.r.ready, not pauses[1])
            ctx.set(dut.w.ready, not pauses[2])
            answer = answers.popleft()
            ctx.set(dut.r.valid, answer is not None)
            ctx.set(dut.r.data, answer or 0)

            taken = ctx.get(control.words.ready)
            assert ctx.get(dut.tap.valid) == (ctx.get(dut.w.en) and not pauses[2])
            read = None
            if ctx.get(dut.r.en) and not pauses[1]:
                read = to_word(memory[ctx.get(dut.r.addr)], width)
            answers.append(read)
            if ctx.get(dut.w.en):
                request = ctx.get(dut.w.addr), ctx.get(dut.w.data)
                assert held in (None, request), "a write that was not taken must stay"
                held = request if pauses[2] else None
                if held is None:
                    assert (ctx.get(dut.tap.addr), ctx.get(dut.tap.data)) == request
                    scratch[request[0]] = np.frombuffer(request[1].to_bytes(SIZE, "little"),
                                                        np.int8)
            else:
                assert held is None
            if len(told["issued"]) > len(told["done"]):
                assert not ctx.get(control.idle)
            for name, cycles in told.items():
                if code := ctx.get(getattr(control, name)):
                    cycles.append((cycle, code) if name == "fault" else cycle)
            if told["fault"] and cycle > told["fault"][0][0] + 20:
                return
            await ctx.tick()
            cycle += 1
            assert cycle < 20_000, "the engine stands still"
            if taken:
                offered = None
        for _ in range(5):
            await ctx.tick()
        assert ctx.get(control.idle) and ctx.get(control.empty) and not ctx.get(dut.w.en)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return dut, scratch, told


def memories(rng):
    return (rng.integers(-128, 128, (1024, SIZE)).astype(np.int8),
            np.clip(rng.normal(0, 3000, (512, SIZE)), -2**15, 2**15 - 1).astype(np.int16))


ENGINES = {
    "softmax": engine_of("softmax_exp2"),
    "softmax, 2 lanes": engine_of("softmax_exp2", 2),
    "softmax of 6 bits": engine_of("softmax_exp2", in_width=6),
    "softmax merged": engine_of("softmax_exp2", out_bits=8, carry=True),
    "gelu": engine_of("gelu_pwl"),
    "gelu, 8 lanes": engine_of("gelu_pwl", 8),
    "layernorm": engine_of("layernorm_rsqrt"),
    "layernorm merged, 4 lanes": engine_of("layernorm_rsqrt", 4, merged=True),
}


def random_runs(engine, rng):
    """Return runs of odd and whole lengths, with new constants and with the last ones."""
    runs = []
    fixed = engine.reads_residual
    for number, (rows, elements) in enumerate(((3, 10), (1, 65), (2, 64), (2, 1), (2, 21))):
        elements = min(elements, CHANNELS) if fixed else elements
        # The affine parameters of a layernorm fix the length of its rows.
        new = fixed or number in (0, 2, 4)
        runs.append(Run(rows=rows, elements=elements, i_base=int(rng.integers(512)),
                        i_row=int(rng.integers(20)), o_base=512 + 60 * number,
                        o_row=int(rng.integers(-(-elements // SIZE), 20)),
                        constants=random_constants(engine, elements, rng) if new else None))
    return runs


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_memory_is_what_the_integers_say_with_all_pauses(engine):
    rng = np.random.default_rng(3)
    scratch, residual = memories(rng)
    runs = random_runs(engine, rng)
    words = [word for run in runs for word in run.words(engine)]
    _, found, told = simulate(engine, words, scratch, residual, rng, len(runs))
    np.testing.assert_array_equal(found, expected_memory(engine, runs, scratch, residual))
    assert len(told["issued"]) == len(runs) and not told["fault"]


@pytest.mark.parametrize("engine", [ENGINES["softmax"], ENGINES["gelu, 8 lanes"]])
def test_a_run_may_write_over_its_own_rows(engine):
    rng = np.random.default_rng(4)
    scratch, residual = memories(rng)
    run = Run(rows=4, elements=65, i_base=20, i_row=9, o_base=20, o_row=9,
              constants=random_constants(engine, 65, rng))
    _, found, _ = simulate(engine, run.words(engine), scratch, residual, None, 1)
    np.testing.assert_array_equal(found, expected_memory(engine, [run], scratch, residual))


@pytest.mark.parametrize("engine, rows, elements", [
    (engine, *shape) for engine, shapes in (
        ("softmax", ((1, 65), (5, 40), (4, 8))), ("softmax, 2 lanes", ((3, 65),)),
        ("softmax merged", ((2, 64),)), ("gelu", ((1, 1), (3, 10))),
        ("gelu, 8 lanes", ((6, 20),)), ("layernorm", ((4, 64),)),
        ("layernorm merged, 4 lanes", ((4, 64),)))
    for shape in shapes])
def test_cycles_are_as_stated_and_runs_follow_without_a_gap(engine, rows, elements):
    engine = ENGINES[engine]
    rng = np.random.default_rng(5)
    scratch, residual = memories(rng)
    first = Run(rows=rows, elements=elements, i_row=9, o_row=9,
                constants=random_constants(engine, elements, rng))
    again = dataclasses.replace(first, constants=None, o_base=800)
    runs = [first, again, again]
    words = [word for run in runs for word in run.words(engine)]
    dut, found, told = simulate(engine, words, scratch, residual, None, len(runs))
    np.testing.assert_array_equal(found, expected_memory(engine, runs, scratch, residual))
    assert told["done"][0] - told["issued"][0] == dut.cycles(rows, elements)
    if rows * -(-elements // engine.spec.lanes) > 20:
        assert set(np.diff(told["done"])) == {dut.interval(rows, elements)}


def test_a_run_waits_for_others_after_its_constants_are_loaded():
    engine = ENGINES["gelu"]
    rng = np.random.default_rng(6)
    scratch, residual = memories(rng)
    run = Run(rows=1, elements=8, constants=random_constants(engine, 8, rng))
    words = run.words(engine, wait2_engine=1, wait2_count=3)
    _, found, told = simulate(engine, words, scratch, residual, None, 1,
                              counts=lambda cycle: [9, 3 if cycle >= 200 else 2, 0])
    np.testing.assert_array_equal(found, expected_memory(engine, [run], scratch, residual))
    assert 200 < told["issued"][0] < 204


@pytest.mark.parametrize("engine", ["softmax", "gelu", "gelu, 8 lanes", "layernorm"])
def test_constants_take_the_predicted_cycles(engine):
    engine = ENGINES[engine]
    rng = np.random.default_rng(10)
    scratch, residual = memories(rng)
    run = Run(rows=1, elements=40, constants=random_constants(engine, 40, rng))
    again = dataclasses.replace(run, o_base=800)
    words = [word for one in (run, again) for word in one.words(engine)]
    _, _, told = simulate(engine, words, scratch, residual, None, 2)
    loading = load_cycles(run.config(engine))
    assert told["issued"][0] == words_of(VECTOR) - 1 + DECODED + loading + UNPACKED + PREPARED
    assert told["issued"][1] - told["done"][0] - loading - PREPARED in (1, 2)


def test_a_run_without_rows_ends_after_those_before_it():
    engine = ENGINES["gelu"]
    rng = np.random.default_rng(7)
    scratch, residual = memories(rng)
    first = Run(rows=2, elements=30, i_row=4, o_row=4, constants=random_constants(engine, 8, rng))
    barrier = Run(rows=0, elements=0)
    loads = Run(rows=0, elements=0, constants=random_constants(engine, 8, rng))
    runs = [first, barrier, loads, dataclasses.replace(first, constants=None, o_base=700)]
    words = [word for run in runs for word in run.words(engine)]
    _, found, told = simulate(engine, words, scratch, residual, None, len(runs))
    np.testing.assert_array_equal(found, expected_memory(engine, runs, scratch, residual))
    assert told["issued"][1] >= told["done"][0] and told["done"] == sorted(set(told["done"]))


@pytest.mark.parametrize("fields", [
    {"elements": 0}, {"elements": 81}, {"opcode": 3}, {"opcode": 0},
])
def test_a_bad_instruction_is_told_once_and_nothing_is_written(fields):
    engine = ENGINES["softmax"]
    scratch, residual = memories(np.random.default_rng(8))
    words = pack(VECTOR, {"opcode": 4, "rows": 1, "elements": 10, "o_base": 512, **fields})
    _, found, told = simulate(engine, words, scratch, residual, None, 1)
    assert [code for _, code in told["fault"]] == [FAULTS["bad program"]]
    assert not told["issued"] and (found == scratch).all()


def test_constants_that_end_inside_a_run_are_told_and_nothing_is_written():
    engine = ENGINES["gelu, 8 lanes"]
    rng = np.random.default_rng(9)
    scratch, residual = memories(rng)
    run = Run(rows=1, elements=8, constants=random_constants(engine, 8, rng))
    config = pack_config(run.config(engine))[:2]
    words = [*run.words(engine, config=len(config))[:words_of(VECTOR)], *config]
    _, found, told = simulate(engine, words, scratch, residual, None, 1)
    assert [code for _, code in told["fault"]] == [FAULTS["bad program"]]
    assert not told["issued"] and (found == scratch).all()


@pytest.mark.parametrize("lanes, changes, message", [
    (1, {"in_width": 12}, "requantizer must take the u16 of softmax_exp2, not s12"),
    (2, {"lanes": 1}, "lanes of softmax_exp2 and its requantizer must be the same, not 2 and 1"),
    (1, {"out_width": 12}, "results of softmax_exp2 must fit s8, not s12"),
])
def test_an_engine_whose_parts_do_not_fit_is_refused(lanes, changes, message):
    engine = engine_of("softmax_exp2", lanes)
    with pytest.raises(ValueError, match=f"^{message}$"):
        dataclasses.replace(engine, requantize=dataclasses.replace(engine.requantize, **changes))
