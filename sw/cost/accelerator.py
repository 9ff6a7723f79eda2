"""The cost of a network's whole accelerator, as the design of a board."""

from collections.abc import Callable
from pathlib import Path

from vitrtl.sw.accelerator.host_protocol import memory_map
from vitrtl.sw.accelerator.predict import Bus, predict
from vitrtl.sw.boards.bitstream import OPEN_FLOWS, build_bitstream, open_flow
from vitrtl.sw.boards.board import Board
from vitrtl.sw.cost import yosys_report
from vitrtl.sw.cost.table import CostRow
from vitrtl.sw.cost.target import load_target
from vitrtl.sw.cost.tools import Tools, tool_versions
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest
from vitrtl.sw.network import IntegerNetwork

__all__ = ["ACCELERATOR", "accelerator_row"]

ACCELERATOR = "accelerator"
"""What the cost table calls it, as the name of a unit."""

SEED = 1
"""Of place and route; one, since it takes many minutes."""


def accelerator_row(network: IntegerNetwork, board: Board, folder: Path, tools: Tools,
                    on_step: Callable[[str], None]) -> CostRow:
    """Build the bitstream of a network's accelerator, or find it built, and return its row.

    The row is of all that is on the device: accelerator, program and serial port. Its cycles are
    those of an image.

    Parameters
    ----------
    network : whose accelerator it is, with the sizes that suit it.
    board : one with an open flow.
    folder : where `vitrtl build` leaves its designs.
    on_step : called before each step with its name.

    Raises
    ------
    UserError
        If the board's flow is the user's, no accelerator runs the network, or a tool fails.
    """
    from vitrtl.hw.accelerator.onchip_memory import read_latency
    from vitrtl.sw.boards.network_design import network_design

    if board.flow.name not in OPEN_FLOWS:
        raise UserError(f"board must have an open flow, which {board.name} has not; "
                        f"`vitrtl cost import` reads its tool's reports")
    on_step("gates")
    program, verilog = network_design(board, network)
    made = build_bitstream(board, verilog, folder / board.name / network.name, SEED, tools,
                           on_step)
    target = load_target(board.costs)
    resources = yosys_report.resources(made.path.with_name("stat.json"), target)
    bus = Bus(latency=read_latency(memory_map(program).words))
    cycles = predict(program, bus).cycles
    return CostRow(
        unit=ACCELERATOR, operator=ACCELERATOR, method=network.name, spec=program.spec.asdict(),
        spec_digest=program.spec.digest, target=target.name, part=board.part,
        speed_grade=target.speed_grade, clock_mhz=made.clock_mhz,
        clock_mhz_seeds={str(SEED): made.clock_mhz}, area=resources[target.area],
        area_unit=target.area, resources=resources, latency_fixed=cycles, latency_per_beat=0,
        interval_min=cycles, cycles=str(cycles), tools=tool_versions(open_flow(board).package),
        verilog=digest(verilog))
