"""Boards as data: every file reads, pins are those of the makers, what fits, what is refused."""

from importlib import resources

import pytest

from vitrtl.hw.board_top import board_pll, board_verilog
from vitrtl.hw.stream_shell import StreamShell
from vitrtl.hw.uart import baud_divisor
from vitrtl.sw import assignment
from vitrtl.sw import network as networks
from vitrtl.sw.boards.board import PORTS, board_names, load_board, parse_board
from vitrtl.sw.boards.fit import fits
from vitrtl.sw.boards.pin_file import pin_file
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.boards.vivado import vivado_project
from vitrtl.sw.catalog import unit
from vitrtl.sw.cli import main
from vitrtl.sw.cost.builds import Build
from vitrtl.sw.cost.table import load_table
from vitrtl.sw.errors import UserError


def design(name, unit_name="gelu_lut"):
    spec = unit(unit_name).golden.spec()
    return board_verilog(load_board(name),
                         StreamShell(unit(unit_name).gates(spec), identity(unit_name, spec)))


@pytest.mark.parametrize("name", board_names())
def test_every_board_reads_and_its_clock_and_serial_rate_can_be_made(name):
    board = load_board(name)
    assert set(board.pins) == set(PORTS)
    pll = board_pll(board)
    clock_mhz = board.oscillator_mhz if pll is None else pll.output_mhz
    assert clock_mhz == board.clock_mhz
    assert baud_divisor(1e6 * clock_mhz, board.baud) >= 4


@pytest.mark.parametrize("name", board_names())
def test_the_design_has_the_ports_that_the_pin_file_places(name):
    board, text = load_board(name), design(name)
    head = next(line for line in text.splitlines() if line.startswith("module top("))
    ports = set(head.removeprefix("module top(").removesuffix(");").split(", "))
    assert ports == {*PORTS} | ({"clk_n"} if board.pins["clk"].negative else set())
    _, pins = pin_file(board)
    for port in ports:
        assert sum(word.strip('"];,') == port for word in pins.split()) >= 1, port


def test_the_same_design_is_the_same_text():
    assert design("ulx3s") == design("ulx3s")


def test_pin_files_name_the_pins_of_the_boards():
    # From the schematics of the boards' makers.
    ending, text = pin_file(load_board("ulx3s"))
    assert ending == "lpf"
    for line in ('LOCATE COMP "clk" SITE "G2";', 'LOCATE COMP "rx" SITE "M1";',
                 'LOCATE COMP "tx" SITE "L4";', 'FREQUENCY PORT "clk" 25 MHZ;',
                 'IOBUF PORT "led" IO_TYPE=LVCMOS33 DRIVE=4;'):
        assert line in text.splitlines()
    ending, text = pin_file(load_board("icebreaker"))
    assert ending == "pcf"
    assert {"set_io clk 35", "set_io -pullup yes rx 6", "set_frequency clk 12"} <= set(
        text.splitlines())
    ending, text = pin_file(load_board("zcu104"))
    assert ending == "xdc"
    assert {"set_property -dict {PACKAGE_PIN F23 IOSTANDARD LVDS} [get_ports clk]",
            "set_property -dict {PACKAGE_PIN E23 IOSTANDARD LVDS} [get_ports clk_n]",
            "create_clock -name clk -period 8.000 [get_ports clk]"} <= set(text.splitlines())


def test_a_vivado_project_is_whole():
    board = load_board("arty_a7")
    files = vivado_project(board, design("arty_a7"))
    assert set(files) == {"top.v", "top.xdc", "build.tcl"}
    script = files["build.tcl"]
    for word in ("read_verilog $here/top.v", "read_xdc $here/top.xdc",
                 "synth_design -top top -part xc7a100tcsg324-1", "write_bitstream"):
        assert word in script
    assert script.count("{") == script.count("}")


def test_what_fits_is_what_the_cost_table_says():
    board, table = load_board("icebreaker"), load_table()
    builds = [Build(name, unit(name).golden.spec()) for name in ("gelu_lut", "matmul")]
    found = {fit.build.unit: fit for fit in fits(board, builds, table)}
    assert found["gelu_lut"].fits
    assert not found["matmul"].fits
    row = table.row("gelu_lut", unit("gelu_lut").golden.spec(), "ecp5-85k")
    assert found["gelu_lut"].shares["bram"] == row.resources["bram"] / board.resources["bram"]


def test_of_a_unit_without_a_row_nothing_is_claimed(capsys, monkeypatch):
    build = Build("gelu_lut", unit("gelu_lut").golden.spec(lanes=8))
    fit, = fits(load_board("arty_a7"), [build], load_table())
    assert not fit.fits and fit.tightest is None
    monkeypatch.setattr("vitrtl.sw.cost.builds.default_builds", lambda: [build])
    assert main(["boards"]) == 0
    assert "0 of 1, 1 not measured" in capsys.readouterr().out
    assert main(["boards", "arty_a7"]) == 0
    assert "not measured" in capsys.readouterr().out


@pytest.mark.parametrize(("old", "new", "complaint"), [
    ('title = "Digilent', 'name = "Digilent', "constraints/boards/mine.toml has no 'title'"),
    ("led =", "lamp =", "constraints/boards/mine.toml has no 'led'"),
    ('name = "vivado"', 'name = "quartus"', ("constraints/boards/mine.toml: flow must be one of "
     "nextpnr-ecp5, nextpnr-ice40, vivado, not 'quartus'")),
    ("ArtyA7_100Platform", "ArtyA9", ("constraints/boards/mine.toml: there is no platform "
     "'amaranth_boards.arty_a7:ArtyA9' in amaranth-boards")),
    ("[pins]", "[pins", "constraints/boards/mine.toml is not TOML"),
])
def test_a_wrong_file_is_refused(old, new, complaint):
    text = (resources.files("vitrtl.constraints") / "boards/arty_a7.toml").read_text()
    assert old in text
    with pytest.raises(UserError) as caught:
        parse_board("mine", text.replace(old, new, 1))
    assert str(caught.value).startswith(complaint)


def test_build_writes_a_project_and_leaves_equal_files(tmp_path, capsys):
    arguments = ["build", "--board", "zcu104", "--unit", "gelu_lut", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert "wrote" in capsys.readouterr().out
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "wrote" not in said and said.count("unchanged") == 3
    assert (tmp_path / "zcu104" / "gelu_lut" / "build.tcl").is_file()


def test_build_makes_the_network_of_an_assignment(network, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vitrtl.sw.boards.network_design.network_design",
                        lambda board, chosen: (None, f"// {chosen.digest} on {board.name}\n"))
    layer = next(name for name, method in network.methods.items() if method.startswith("gelu"))
    chosen = tmp_path / "assignment.json"
    assignment.save(assignment.Assignment(network.name, {layer: "gelu_poly4"}), chosen)
    networks.save(network, tmp_path / "network")
    arguments = ["build", "--board", "zcu104", "--network", str(tmp_path / "network"),
                 "--assignment", str(chosen), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    folder = tmp_path / "out" / "zcu104" / network.name
    made = networks.load(folder / "network")
    assert made.methods == {**network.methods, layer: "gelu_poly4"}
    assert (folder / "top.v").read_text() == f"// {made.digest} on zcu104\n"
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("unchanged") == 3

    assignment.save(assignment.Assignment("another_vit", {layer: "gelu_poly4"}), chosen)
    assert main(arguments) == 2
    assert f"is for another_vit, not for {network.name}" in capsys.readouterr().err


def test_boards_are_listed_and_one_is_shown(capsys):
    assert main(["boards"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in board_names())
    assert main(["boards", "icebreaker"]) == 0
    assert "no, bram" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "complaint"), [
    (["boards", "de10"], ("board must be one of arty_a7, icebreaker, orangecrab, ulx3s, zcu104, "
     "not 'de10'")),
    (["build", "--board", "ulx3s", "--unit", "relu"], "unit must be one of "),
    (["build", "--board", "ulx3s"], "what to build must be one of --unit, --network and "),
    (["build", "--board", "ulx3s", "--unit", "gelu_lut", "--assignment", "a.json"],
     "what to build must be one of --unit, --network and --assignment"),
    (["build", "--board", "ulx3s", "--assignment", "a.json"], "there is no file build/network"),
    (["build", "--board", "ulx3s", "--unit", "gelu_lut", "--spec", "lanes=3"],
     "lanes must be 1, 2, 4 or 8, not 3"),
    (["exercise", "--board", "ulx3s", "--unit", "gelu_lut", "--port", "/nowhere/tty"],
     "port /nowhere/tty does not open: "),
    (["exercise", "--board", "arty_a7", "--unit", "gelu_lut", "--simulate"],
     "board must have an ECP5 or iCE40 to be simulated, not xc7a100tcsg324-1"),
    (["exercise", "--board", "ulx3s", "--unit", "gelu_lut", "--simulate", "--values", "0"],
     "values must be at least 1, not 0"),
])
def test_a_wrong_option_is_one_line_and_exit_2(arguments, complaint, capsys, tmp_path,
                                               monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1
    assert not list(tmp_path.iterdir())
