"""The worked example of docs/adding-a-method.md, followed to the letter."""

import importlib
import os
import re
import shutil
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from amaranth.sim import Simulator

from vitrtl.sw import catalog, reference
from vitrtl.sw.golden.unit import config_words

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "adding-a-method.md"

KEYS = """
from pathlib import Path
from vitrtl.sim.job import Job, Verilog, result_key
from vitrtl.sw import catalog, capture, vectors
from vitrtl.sw.accuracy.study import subjects
print(catalog.__file__)
folder = Path("vectors")
for name in ("gelu_ierf", "gelu_lut"):
    unit = catalog.unit(name)
    path = capture.write_vectors(folder, unit, unit.golden.spec(), None)
    job = Job(unit=name, spec_digest="", device="generic", vectors=path, build=folder)
    print(name, path.stat().st_mtime_ns, result_key(job, Verilog(module="", text="", timing={})))
    print(*(s.made_from for s in subjects() if s.unit.name == name))
"""
"""Prints what decides whether results of two units are still valid."""

NEW_KEY = """
from vitrtl.sw.catalog import unit
from vitrtl.sw.vectors import golden_digest
print(golden_digest(unit("gelu_hardswish").name))
"""


def page_files() -> dict[str, str]:
    """Return the page's files by path, and the new text of the catalogue."""
    text = PAGE.read_text()
    files = dict(re.findall(r"```python file=(\S+)\n(.*?)```", text, re.S))
    assert list(files) == ["sw/golden/gelu_hardswish.py", "hw/gelu_hardswish.py"]
    section, line = re.search(r"```toml\n(\[\w+\])\n(.*?)\n```", text, re.S).groups()
    catalogue = (ROOT / "sw" / "catalog.toml").read_text()
    return files | {"sw/catalog.toml": catalogue.replace(section, f"{section}\n{line}")}


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Put the page's files where they say, beside the real ones, and add the catalogue line."""
    for name, text in page_files().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for name in ("sw.golden", "hw"):
        package = importlib.import_module(f"vitrtl.{name}")
        folder = str(tmp_path / name.replace(".", "/"))
        monkeypatch.setattr(package, "__path__", [*package.__path__, folder])
    with monkeypatch.context() as patch:
        patch.setattr(catalog.resources, "files", lambda package: tmp_path / "sw")
        listed = {unit.name: unit for unit in catalog._listed()}
    unit = listed["gelu_hardswish"]
    assert set(listed) == {*catalog.UNITS, unit.name}
    monkeypatch.setitem(catalog.UNITS, unit.name, unit)
    yield unit
    for module in ("vitrtl.sw.golden.gelu_hardswish", "vitrtl.hw.gelu_hardswish"):
        sys.modules.pop(module, None)


def test_nothing_made_before_is_made_again(tmp_path):
    """In a copy of the project: vectors, simulations and errors of another unit stay valid."""
    for name in ("sw", "hw", "sim", "constraints"):
        shutil.copytree(ROOT / name, tmp_path / "vitrtl" / name,
                        ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))

    def run(program: str) -> str:
        done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, text=True,
                              capture_output=True, env=os.environ | {"PYTHONPATH": str(tmp_path)})
        assert not done.returncode, done.stderr
        return done.stdout

    before = run(KEYS)
    assert str(tmp_path) in before
    for name, text in page_files().items():
        (tmp_path / "vitrtl" / name).write_text(text)
    assert run(KEYS) == before
    assert run(NEW_KEY) not in before
    golden = tmp_path / "vitrtl" / "sw" / "golden" / "gelu_ierf.py"
    golden.write_text(golden.read_text() + "# edited\n")
    assert run(KEYS) != before


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
