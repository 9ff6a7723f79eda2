"""Pins and clock of a design in the words of each flow's constraint file."""

from collections.abc import Iterable

from vitrtl.sw.boards.board import Board, Pin

__all__ = ["pin_file"]


def pin_file(board: Board) -> tuple[str, str]:
    """Return the ending of the constraint file of the board's flow, and its text."""
    ending, lines = {"nextpnr-ecp5": ("lpf", _lpf), "nextpnr-ice40": ("pcf", _pcf),
                     "vivado": ("xdc", _xdc)}[board.flow.name]
    head = f"# {board.title}: pins and clock, from constraints/boards/{board.name}.toml."
    return ending, "\n".join([head, *lines(board)]) + "\n"


def _lpf(board: Board) -> Iterable[str]:
    """Yield the preferences of Lattice's tools for ECP5."""
    for port, pin in board.pins.items():
        yield f'LOCATE COMP "{port}" SITE "{pin.site}";'
        yield f'IOBUF PORT "{port}"{_words(pin)};'
    yield f'FREQUENCY PORT "clk" {board.oscillator_mhz:g} MHZ;'


def _pcf(board: Board) -> Iterable[str]:
    """Yield the physical constraints of iCE40, whose buffers have no standard to choose."""
    for port, pin in board.pins.items():
        pull = " -pullup yes" if pin.attributes.get("PULLUP") == "1" else ""
        yield f"set_io{pull} {port} {pin.site}"
    yield f"set_frequency clk {board.oscillator_mhz:g}"


def _xdc(board: Board) -> Iterable[str]:
    """Yield the constraints of Vivado."""
    for port, pin in board.pins.items():
        words = "".join(f" {k} {v}" for k, v in pin.attributes.items())
        yield f"set_property -dict {{PACKAGE_PIN {pin.site}{words}}} [get_ports {port}]"
        if pin.negative is not None:
            yield (f"set_property -dict {{PACKAGE_PIN {pin.negative}{words}}} "
                   f"[get_ports {port}_n]")
    yield f"create_clock -name clk -period {1000 / board.oscillator_mhz:.3f} [get_ports clk]"
    # The serial line and the light are as slow as they are asynchronous.
    yield "set_false_path -from [get_ports rx]"
    yield "set_false_path -to [get_ports {tx led}]"


def _words(pin: Pin) -> str:
    """Return the attributes of a pin as the preferences write them."""
    return "".join(f" {key}={value}" for key, value in pin.attributes.items())
