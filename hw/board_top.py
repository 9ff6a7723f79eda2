"""The top of a design on a board: clock, serial port, and what speaks bytes behind it."""

from amaranth.hdl import Module, ResetInserter, Signal
from amaranth.lib import wiring

from vitrtl.hw.board_clock import BoardClock
from vitrtl.hw.pll import PllSettings, pll_settings
from vitrtl.hw.uart import UartReceiver, UartTransmitter, baud_divisor
from vitrtl.hw.verilog import verilog_text
from vitrtl.sw.boards.board import Board

__all__ = ["TOP", "board_pll", "board_verilog"]

TOP = "top"
"""Name of the module, whose ports are `vitrtl.sw.boards.board.PORTS`."""


def board_pll(board: Board) -> PllSettings | None:
    """Return the settings of the board's clock multiplier; None where none is needed."""
    if board.clock_mhz == board.oscillator_mhz:
        return None
    return pll_settings(board.family, board.oscillator_mhz, board.clock_mhz)


def board_verilog(board: Board, core: wiring.Component) -> str:
    """Return the Verilog of a whole design.

    Parameters
    ----------
    board : whose clock, serial rate and device it is for.
    core : what is behind the serial port. `i` takes bytes from the host and `o` gives bytes to
        it; `restart` is high in the beginning, and for a cycle after a broken or a lost byte.
    """
    pll = board_pll(board)
    clock_mhz = board.oscillator_mhz if pll is None else pll.output_mhz
    divisor = baud_divisor(1e6 * clock_mhz, board.baud)

    m = Module()
    clk = [Signal(name="clk")]
    if board.pins["clk"].negative is not None:
        clk.append(Signal(name="clk_n"))
    rx, tx, led = Signal(name="rx"), Signal(name="tx"), Signal(name="led")
    m.submodules.clock = clock = BoardClock(clk, pll, board.family)
    m.domains += clock.domain
    receiver, transmitter = UartReceiver(divisor), UartTransmitter(divisor)
    m.submodules.receiver = ResetInserter(clock.reset)(receiver)
    m.submodules.transmitter = ResetInserter(clock.reset)(transmitter)
    m.submodules.core = core
    m.d.comb += [
        receiver.rx.eq(rx ^ board.pins["rx"].inverted),
        tx.eq(transmitter.tx ^ board.pins["tx"].inverted),
        # Lit once the clock runs and the reset is over.
        led.eq(~clock.reset ^ board.pins["led"].inverted),
    ]
    restart = Signal(init=1)
    m.d.sync += restart.eq(clock.reset | receiver.framing | receiver.overrun)
    m.d.comb += core.restart.eq(restart)
    wiring.connect(m, receiver.o, core.i)
    wiring.connect(m, core.o, transmitter.i)
    return verilog_text(m, TOP, [*clk, rx, tx, led], board.device)
