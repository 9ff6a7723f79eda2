"""Netlists after synthesis: they answer as the golden model, and one wrong table bit shows."""

import re

import pytest

from vitrtl.sim.gatesim import plan_netlists
from vitrtl.sim.netlist import mapped_netlist
from vitrtl.sim.plan import plan
from vitrtl.sim.suite import run_suite
from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main
from vitrtl.sw.cost.tools import Tools
from vitrtl.sw.errors import UserError

pytestmark = pytest.mark.sim

UNIT = "gelu_pwl"


def with_one_bit_flipped(netlist):
    """Flip the bit of the first table that is read while all its inputs are low."""
    table = re.search(r"LUT4 #\(\s*\.INIT\(16'h([0-9a-f]{4})\)", netlist)
    pins = re.findall(r"\.([ABCD])\((\S+?)\s*\)", netlist[table.end():])[:4]
    assert [pin for pin, _ in pins] == list("ABCD")
    index = sum(1 << "ABCD".index(pin) for pin, net in pins if net == "1'h1")
    content = int(table[1], 16) ^ 1 << index
    return f"{netlist[:table.start(1)]}{content:04x}{netlist[table.end(1):]}"


def test_a_netlist_answers_as_golden_and_one_flipped_bit_does_not(vectors, tmp_path, build, capsys):
    folder = vectors(UNIT)
    status = main(["gatesim", "--vectors", str(folder), "--network", str(tmp_path / "none"),
                   "--build", str(build), "--values", "300"])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "0 mismatches in" in said and "1 runs, 0 unchanged, 0 failed" in said

    jobs = plan(folder, build, tmp_path / "none", [], ("ecp5",))
    job, = plan_netlists(jobs, 300, build / "netlists", 1)
    good = job.verilog.read_text()
    assert "LUT4 #(" in good and "TRELLIS_FF #(" in good and "module LUT4" in good
    job.verilog.write_text(with_one_bit_flipped(good))
    result, = run_suite([job], lambda job, stage: None)
    job.verilog.write_text(good)
    assert not result.passed
    assert result.failures


def test_a_netlist_is_made_once(tmp_path):
    tools = Tools()
    spec = unit("gelu_lut").golden.spec()
    path = mapped_netlist("gelu_lut", spec, tmp_path, tools)
    tools.stop()
    assert mapped_netlist("gelu_lut", spec, tmp_path, tools) == path
    with pytest.raises(UserError, match="^stopped$"):
        mapped_netlist("gelu_lut", unit("gelu_lut").golden.spec(lanes=2), tmp_path, tools)


@pytest.mark.parametrize("option", ["jobs", "values"])
def test_less_than_one_is_refused(option, capsys):
    assert main(["gatesim", f"--{option}", "0"]) == 2
    assert capsys.readouterr().err == f"vitrtl gatesim: {option} must be at least 1, not 0\n"
