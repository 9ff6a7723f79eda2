"""The accelerator of a network as the design of a board; loads Amaranth."""

from vitrtl.hw.accelerator.system import serial_system
from vitrtl.hw.board_top import board_verilog
from vitrtl.sw.accelerator.compiler import compile_network
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.boards.board import Board
from vitrtl.sw.network import IntegerNetwork

__all__ = ["network_design"]


def network_design(board: Board, network: IntegerNetwork) -> tuple[Program, str]:
    """Return a network's program, and Verilog of its accelerator with the program on chip.

    The sizes are those that suit the network; a serial port takes images and gives classes.

    Raises
    ------
    UserError
        If no accelerator runs the network.
    """
    program = compile_network(network, size_accelerator(network))
    return program, board_verilog(board, serial_system(program))
