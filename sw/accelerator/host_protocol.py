"""Commands of a host to an accelerator that has its memory beside it.

Three streams carry everything. A command is one beat: byte `address`, number of `words`, and what
to do with them. Words to be written follow in the second stream; words that are read come back in
the third. The answer to every command ends with one word: the CRC-32 of the command and its words
in its lower half, above that a bit that is set if the bus or the registers refused one of them.
With `silent` words that are read are not sent, so that contents can be compared by their CRC.

A word is as wide as the accelerator's memory bus. A register is the lower 32 bits of one, and its
neighbour is the next word.
"""

import dataclasses
import zlib
from collections.abc import Iterable

from vitrtl.sw.accelerator.isa import PROGRAM_ALIGNMENT
from vitrtl.sw.accelerator.program import Program

__all__ = ["COMMAND", "COMMAND_BYTES", "CRC_BITS", "MOST_WORDS", "MemoryMap", "checksum",
           "memory_map", "pack_command"]

COMMAND = (("address", 32), ("words", 24), ("write", 1), ("registers", 1), ("silent", 1))
"""Fields of a command and their bits, lowest first."""

COMMAND_BYTES = 8

CRC_BITS = 32
"""Of the CRC in an answer's last word; the bit above them tells of an error."""

MOST_WORDS = (1 << dict(COMMAND)["words"]) - 1
"""Words of one command."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMap:
    """Where things are in the memory.

    Parameters
    ----------
    program, image, output : byte addresses, as the accelerator's registers of these names.
    words : of the bus, that are needed in all.
    """

    program: int
    image: int
    output: int
    words: int


def memory_map(program: Program) -> MemoryMap:
    """Return where a program, one image and its logits are."""
    image = _aligned(len(program.memory))
    output = _aligned(image + program.image_bytes)
    words = -(-(output + program.output_bytes) // program.spec.bus_bytes)
    return MemoryMap(program=0, image=image, output=output, words=words)


def pack_command(**fields: int) -> int:
    """Return a command's beat; fields that are not given are zero."""
    beat = place = 0
    for name, bits in COMMAND:
        value = int(fields.pop(name, 0))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} must be 0..{(1 << bits) - 1}, not {value}")
        beat |= value << place
        place += bits
    if fields:
        raise ValueError(f"a command has no {next(iter(fields))!r}")
    return beat


def checksum(command: int, words: Iterable[bytes], word_bytes: int) -> int:
    """Return the CRC-32 of a command and its words.

    Parameters
    ----------
    command : its beat.
    words : or runs of them, in order.
    word_bytes : of a word, to which the command is extended.
    """
    crc = zlib.crc32(command.to_bytes(word_bytes, "little"))
    for word in words:
        crc = zlib.crc32(word, crc)
    return crc


def _aligned(place: int) -> int:
    return -(-place // PROGRAM_ALIGNMENT) * PROGRAM_ALIGNMENT
