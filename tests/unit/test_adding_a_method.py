"""The worked example of docs/adding-a-method.md, followed to the letter."""

import importlib
import re
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.sw import catalog, reference
from vitrtl.sw.golden.unit import config_words

PAGE = Path(__file__).parents[2] / "docs" / "adding-a-method.md"


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Put the page's files where they say, beside the real ones, and add the catalogue line."""
    text = PAGE.read_text()
    blocks = re.findall(r"```python file=(\S+)\n(.*?)```", text, re.S)
    assert [name for name, _ in blocks] == ["sw/golden/gelu_hardswish.py", "hw/gelu_hardswish.py"]
    for name, code in blocks:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(code)
        package = importlib.import_module("vitrtl." + name.rsplit("/", 1)[0].replace("/", "."))
        folder = str((tmp_path / name).parent)
        monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    line = re.search(r"^Unit\((.*)\),$", text, re.M).group(0).rstrip(",")
    unit = eval(line, {"Unit": catalog.Unit})
    monkeypatch.setitem(catalog.UNITS, unit.name, unit)
    yield unit
    for module in ("vitrtl.sw.golden.gelu_hardswish", "vitrtl.hw.gelu_hardswish"):
        sys.modules.pop(module, None)


def test_the_new_method_is_found_and_right(example):
    assert example in catalog.methods_of("gelu")
    golden = example.golden
    spec = golden.spec()
    codes = np.arange(-128, 128)
    worst = 0
    for step in range(1, 26):
        constants, scale = golden.derive(spec, Fraction(step, 100))
        found = golden.function(codes, spec, constants) * float(scale)
        worst = max(worst, np.abs(found - reference.gelu(codes * step / 100)).max())
    assert 0.9 * golden.error_limit(0.25) <= worst <= golden.error_limit(0.25)


def test_its_gates_equal_its_golden_function_for_every_code(example):
    golden = example.golden
    spec = golden.spec()
    constants, _ = golden.derive(spec, "0.05")
    codes = np.arange(-128, 128)
    dut = example.gates(spec)
    found, taken, given, cycle = [], [], [], [0]

    async def count(ctx):
        async for _ in ctx.tick():
            cycle[0] += 1

    async def source(ctx):
        for address, word in config_words(spec, constants):
            ctx.set(dut.c.payload, {"address": address, "data": word})
            ctx.set(dut.c.valid, 1)
            await ctx.tick().until(dut.c.ready)
        ctx.set(dut.c.valid, 0)
        for code in codes.tolist():
            ctx.set(dut.i.payload, {"data": [code], "first": code == -128, "last": code == 127})
            ctx.set(dut.i.valid, 1)
            await ctx.tick().until(dut.i.ready)
            taken.append(cycle[0])
        ctx.set(dut.i.valid, 0)

    async def sink(ctx):
        ctx.set(dut.o.ready, 1)
        while len(found) < len(codes):
            beat, = await ctx.tick().sample(dut.o.payload).until(dut.o.valid)
            found.append(int(beat.data[0]))
            given.append(cycle[0])

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_process(count)
    simulator.add_testbench(source)
    simulator.add_testbench(sink)
    simulator.run()
    assert found == golden.function(codes, spec, constants).tolist()
    latency = dut.timing.latency(beats=1)
    assert {b - a for a, b in zip(taken, given, strict=True)} == {latency}
