"""IP cores in Verilator between cocotbext-axi's drivers, with and without pauses."""

import dataclasses

import pytest

from vitrtl.hw.ip_core import generate_core
from vitrtl.sim.axi import simulate_core
from vitrtl.sw.catalog import unit

pytestmark = pytest.mark.sim


@pytest.fixture(scope="session")
def simulation(tmp_path_factory):
    return tmp_path_factory.mktemp("axi")


@pytest.mark.parametrize(("name", "fields"), [
    ("softmax_exp2", {"lanes": 4}),
    ("matmul", {"rows": 4, "columns": 4, "longest_pass": 16}),
])
def test_a_core_keeps_its_promises(name, fields, simulation):
    assert simulate_core(generate_core(name, unit(name).golden.spec(**fields)), simulation) == []


def test_a_core_with_one_bit_inverted_is_found_out(simulation):
    core = generate_core("gelu_poly4", unit("gelu_poly4").golden.spec())
    broken = core.body.replace("assign m_axis_tdata = ", "assign m_axis_tdata = 24'h1 ^ ", 1)
    assert broken != core.body
    failures = simulate_core(dataclasses.replace(core, body=broken), simulation)
    assert any("every_value_matches_golden" in line and "values differ" in line
               for line in failures), failures
