"""A serial port of this computer."""

from vitrtl.sw.boards.link import Port
from vitrtl.sw.errors import UserError

__all__ = ["open_port"]

TIMEOUT_SECONDS = 2.0


def open_port(name: str, baud: int) -> Port:
    """Return a serial port, open; a context that closes it.

    Raises
    ------
    UserError
        If it does not open.
    """
    import serial

    try:
        return serial.Serial(name, baud, timeout=TIMEOUT_SECONDS)
    except serial.SerialException as error:
        raise UserError(f"port {name} does not open: {error}") from None
