"""Host side of an accelerator that has its memory on chip, behind a board's serial port."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from vitrtl.sw.accelerator.host_protocol import (
    COMMAND_BYTES,
    CRC_BITS,
    checksum,
    memory_map,
    pack_command,
)
from vitrtl.sw.accelerator.program import Program, pack_image, unpack_logits
from vitrtl.sw.accelerator.registers import Registers
from vitrtl.sw.boards.link import Link, Port
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.errors import UserError

__all__ = ["AcceleratorClient", "Answer", "accelerator_identity"]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """What a board says of an image.

    Parameters
    ----------
    logits : as integers.  Shape: (classes,).
    cycles : of the accelerator, from start to end.
    """

    logits: np.ndarray
    cycles: int


class AcceleratorClient:
    """Memory, registers and runs of an accelerator, protocol `vitrtl.sw.accelerator.host_protocol`.

    Parameters
    ----------
    port : an open serial port.
    program : what the board is to run.

    Attributes
    ----------
    registers : of the accelerator, by name.
    """

    COMMANDS, WORDS = 0, 1

    def __init__(self, port: Port, program: Program) -> None:
        self.program = program
        self.map = memory_map(program)
        self._word_bytes = program.spec.bus_bytes
        self.link = Link(port, [COMMAND_BYTES, self._word_bytes], [self._word_bytes])
        self.registers = Registers(self._read_register, self._write_register)

    def start(self) -> None:
        """Reset the accelerator, and make sure that it is the one of the program.

        Raises
        ------
        UserError
            If nothing answers, or something else.
        """
        self.link.start(accelerator_identity(self.program))
        self.registers.check(self.program.spec)

    def holds_program(self) -> bool:
        """Return whether the memory holds the program, by its CRC, without reading it."""
        data = self.program.memory
        command = pack_command(address=self.map.program, words=len(data) // self._word_bytes,
                               silent=1)
        self.link.send(self.COMMANDS, command)
        crc, error = self._end()
        return not error and crc == checksum(command, [data], self._word_bytes)

    def load_program(self) -> None:
        """Write the program into the memory."""
        self.write(self.map.program, self.program.memory)

    def run(self, image: np.ndarray, seconds: float = 60.0) -> Answer:
        """Return what the accelerator makes of an image.

        Parameters
        ----------
        image : pixels, u8 of the network's shape.
        seconds : that the run may take.

        Raises
        ------
        UserError
            If the line is disturbed.
        RunError
            If the run ended early.
        TimeoutError
            If it does not end.
        """
        where = self.map
        self.write(where.image, pack_image(self.program, image))
        self.registers.start(where.program, where.image, where.output)
        self.registers.wait(seconds)
        output = self.read(where.output, self.program.output_bytes)
        return Answer(unpack_logits(self.program, output), self.registers.cycles)

    def write(self, address: int, data: bytes) -> None:
        """Write whole words to memory."""
        self._command(data, address=address)

    def read(self, address: int, count: int) -> bytes:
        """Read the bytes of whole words from memory."""
        return self._command(None, address=address, words=count // self._word_bytes)

    def _read_register(self, address: int) -> int:
        word = self._command(None, address=address, words=1, registers=1)
        return int.from_bytes(word, "little")

    def _write_register(self, address: int, value: int) -> None:
        self._command(value.to_bytes(self._word_bytes, "little"), address=address, registers=1)

    def _command(self, data: bytes | None, **fields: int) -> bytes:
        """Give a command, to write if there are data; return the data."""
        if data is not None:
            fields |= {"words": len(data) // self._word_bytes, "write": 1}
        command = pack_command(**fields)
        self.link.send(self.COMMANDS, command)
        if data is None:
            data = b"".join(self.link.receive()[1].to_bytes(self._word_bytes, "little")
                            for _ in range(fields["words"]))
        else:
            for word in self._words(data):
                self.link.send(self.WORDS, word)
        crc, error = self._end()
        if crc != checksum(command, [data], self._word_bytes):
            raise UserError("the board must answer with the CRC of what was sent: the serial line "
                            "is disturbed")
        if error:
            raise UserError(f"address must be one that the board has, not "
                            f"{fields['address']:#x}")
        return data

    def _words(self, data: bytes) -> Iterator[int]:
        """Yield the words of data."""
        size = self._word_bytes
        if len(data) % size:
            raise ValueError(f"data must be whole words of {size} bytes, not {len(data)} bytes")
        for place in range(0, len(data), size):
            yield int.from_bytes(data[place:place + size], "little")

    def _end(self) -> tuple[int, int]:
        """Return CRC and error of a command's last word."""
        _, word = self.link.receive()
        return word & ((1 << CRC_BITS) - 1), word >> CRC_BITS


def accelerator_identity(program: Program) -> bytes:
    """Return what a board with the accelerator of a program answers to `IDENTIFY`."""
    return identity("accelerator", program.spec)
