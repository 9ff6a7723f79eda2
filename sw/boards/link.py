"""Packets over a serial port: the host's side of `vitrtl.sw.boards.protocol`."""

import collections
from collections.abc import Sequence
from typing import Protocol

from vitrtl.sw.boards.protocol import (
    CREDIT,
    CREDIT_BYTES,
    IDENTIFY,
    IDENTITY_BYTES,
    QUEUE_BYTES,
)
from vitrtl.sw.errors import UserError

__all__ = ["Link", "Port"]


class Port(Protocol):
    """What a link needs of a serial port; `serial.Serial` is one."""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, or fewer if no more come within the port's timeout."""

    def write(self, data: bytes) -> object:
        """Send bytes."""

    def send_break(self) -> None:
        """Hold the line low for longer than a byte."""

    def reset_input_buffer(self) -> None:
        """Forget what has come."""


class Link:
    """Beats to and from the streams of a component on a board.

    Parameters
    ----------
    port : an open serial port.
    inputs, outputs : bytes of a beat of each stream, in the order of the tags.
    """

    def __init__(self, port: Port, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        self.port = port
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self._unpaid = 0
        self._received: collections.deque[tuple[int, int]] = collections.deque()

    def start(self, identity: bytes) -> None:
        """Put the board back to the start and make sure of what is on it.

        Raises
        ------
        UserError
            If nothing answers, or something else.
        """
        self.port.send_break()
        self.port.reset_input_buffer()
        self._received.clear()
        self._unpaid = 1
        self.port.write(bytes([IDENTIFY]))
        tag = self._bytes(1)[0]
        if tag != IDENTIFY:
            raise UserError(f"the board must answer with its identity, not with byte 0x{tag:02x}")
        answer = self._bytes(IDENTITY_BYTES)
        if answer != identity:
            raise UserError(f"the board must hold the unit {identity.hex()}, not {answer.hex()}: "
                            f"`vitrtl build` makes its bitstream")

    def send(self, stream: int, beat: int) -> None:
        """Send one beat, once the board has room for it."""
        packet = bytes([stream]) + beat.to_bytes(self.inputs[stream], "little")
        while self._unpaid + len(packet) > QUEUE_BYTES:
            self._packet()
        self.port.write(packet)
        self._unpaid += len(packet)

    def receive(self) -> tuple[int, int]:
        """Return the next beat and the output stream that it is from."""
        while not self._received:
            self._packet()
        return self._received.popleft()

    def _packet(self) -> None:
        """Take one packet: a credit, or a beat to keep."""
        tag = self._bytes(1)[0]
        if tag == CREDIT:
            self._unpaid -= CREDIT_BYTES
        elif tag < len(self.outputs):
            beat = int.from_bytes(self._bytes(self.outputs[tag]), "little")
            self._received.append((tag, beat))
        else:
            raise UserError(f"the board must send packets of {len(self.outputs)} streams, not "
                            f"byte 0x{tag:02x}")

    def _bytes(self, count: int) -> bytes:
        data = self.port.read(count)
        if len(data) < count:
            raise UserError(f"the board must answer within the port's timeout: {len(data)} of "
                            f"{count} bytes have come")
        return data
