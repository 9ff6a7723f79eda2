"""Packages of IP cores: what their files say, and what is refused."""

import re

import pytest

from vitrtl.hw.axi_stream import AxiConfig
from vitrtl.hw.ip_core import generate_accelerator_core, generate_core
from vitrtl.sim.lint import lint
from vitrtl.sw import network as networks
from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.registers import REGISTERS
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main
from vitrtl.sw.golden.unit import Register
from vitrtl.sw.packaging.files import package_files

SOME = {"softmax_exp2": {"lanes": 4}, "gelu_lut": {}, "matmul": {"rows": 4, "columns": 4}}


@pytest.fixture(scope="module", params=SOME)
def core(request):
    return generate_core(request.param, unit(request.param).golden.spec(**SOME[request.param]))


def test_every_file_names_the_core_and_its_ports(core):
    files = package_files(core)
    module = core.module
    assert set(files) == {f"{module}.v", f"{module}.core", f"{module}_template.v",
                          "package_ip.tcl", "README.md"}
    assert f"name: vitrtl:units:{module}:" in files[f"{module}.core"]
    assert files[f"{module}.core"].startswith("CAPI=2:\n")
    script = files["package_ip.tcl"]
    assert f"add_files $here/{module}.v" in script
    assert f"foreach bus {{s_axi {' '.join(core.streams)}}} {{" in script
    assert script.count("{") == script.count("}") and "{{" not in script
    head = re.search(rf"module {module}\(([^)]*)\)", files[f"{module}.v"])[1]
    ports = {port.name for port in core.ports}
    assert {word.strip() for word in head.split(",")} == ports
    for name in ports:
        assert f".{name}({name})" in files[f"{module}_template.v"]
        assert f"| `{name}` | " in files["README.md"]
    assert "{%" not in files["README.md"]


def test_the_page_has_registers_identity_and_timing(core):
    page = package_files(core)["README.md"]
    for register in core.spec.registers:
        assert f"| {4 * register.address:#x}" in page
        assert f"| `{register.name}` | `{register.format}` | {register.doc} |" in page
    assert b"".join(word.to_bytes(4, "little") for word in core.identity) == identity(
        core.unit, core.spec)
    assert all(f"{word:#010x}" in page for word in core.identity)
    # One register between the unit and the bus.
    assert core.latency_fixed == unit(core.unit).timing(core.spec).latency_fixed + 1
    assert str(core.latency_fixed) in page


def test_the_verilog_is_clean_and_the_same_again(core):
    assert lint(core.verilog, core.module) == []
    assert generate_core(core.unit, core.spec).verilog == core.verilog


def test_the_package_of_an_accelerator_has_what_it_takes_to_run_it(network, tmp_path, capsys):
    program = compile_network(network, size_accelerator(network))
    core = generate_accelerator_core(program)
    files, module = package_files(core), core.module
    assert set(files) == {f"{module}.v", f"{module}.core", f"{module}_template.v",
                          "package_ip.tcl", "README.md", "vitrtl_accelerator.h", "program.bin"}
    assert module == f"accelerator_{program.spec.digest}_axi"
    assert files["program.bin"] == program.memory
    ports = {port.name for port in core.ports}
    head = re.search(rf"module {module}\(([^)]*)\)", files[f"{module}.v"])[1]
    assert {word.strip() for word in head.split(",")} == ports
    assert {"aclk", "aresetn", "irq", "m_axi_araddr", "s_axi_wdata"} <= ports
    assert not {"clk", "rst"} & ports
    page, script = files["README.md"], files["package_ip.tcl"]
    for name in ports:
        assert f".{name}({name})" in files[f"{module}_template.v"]
        assert f"| `{name}` | " in page
    for register in REGISTERS.values():
        assert f"| {register.address:#04x} | `{register.name.upper()}` |" in page
    for text in (f"takes {program.predicted_cycles:,} cycles", f"{program.image_bytes:,}",
                 f"{len(program.memory):,}", "softmax_exp2"):
        assert text in page
    assert "foreach bus {s_axi m_axi} {" in script and "infer_bus_interface irq " in script
    assert lint(core.verilog, module) == []

    networks.save(network, tmp_path / "network")
    arguments = ["package", "--accelerator", str(tmp_path / "network"), "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("wrote ") == len(files)
    assert (tmp_path / module / f"{module}.v").read_text() == core.verilog
    assert main(["package", "gelu_lut", "--accelerator", str(tmp_path / "network")]) == 2
    assert "--accelerator names its units by itself" in capsys.readouterr().err
    assert main(["package", "gelu_lut", "--size", "8"]) == 2
    assert "--size is for --accelerator" in capsys.readouterr().err


def test_elements_take_whole_bytes():
    core = generate_core("softmax_exp2", unit("softmax_exp2").golden.spec(lanes=4))
    width = {port.name: port.width for port in core.ports}
    assert (width["s_axis_tdata"], width["s_axis_tkeep"]) == (4 * 8, 4)
    assert (width["m_axis_tdata"], width["m_axis_tkeep"]) == (4 * 16, 8)
    one = {port.name for port in generate_core("gelu_lut", unit("gelu_lut").golden.spec()).ports}
    assert "s_axis_tkeep" not in one and "s_axis_tlast" in one


def test_words_too_long_for_the_bus_are_refused():
    class Wide:
        registers = (Register(name="wide", format=None, doc="", address=0),)
        config_address_width, config_data_width = 1, 33

    with pytest.raises(ValueError, match="^configuration words must be at most 32 bits behind "
                                         "AXI4-Lite, not 33$"):
        AxiConfig(Wide(), bytes(8))


def test_command_writes_packages_and_leaves_equal_files(tmp_path, capsys):
    arguments = ["package", "gelu_lut", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("wrote ") == 5
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("unchanged ") == 5
    assert main(["package", "gelu_lut", "--spec", "lanes=3", "--out", str(tmp_path / "x")]) == 2
    assert "lanes must be 1, 2, 4 or 8, not 3" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
