"""Instructions of the accelerator: the one description that compiler and gates read.

Every engine runs a program of its own, a sequence of 64-bit words in memory. An instruction waits
until other engines have ended as many instructions as it names, works, and is counted itself when
its last result is in memory. Fields are packed from the lowest bit up, without gaps.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from vitrtl.sw.accelerator.spec import ARRAY, DMA

__all__ = ["BASES", "CONFIG_ADDRESS_BITS", "CONFIG_DATA_BITS", "FIELDS", "HEADER_WORDS", "MAGIC",
           "MEMORIES", "MODES", "OPCODES", "PROGRAM_ALIGNMENT", "VECTOR", "WAITS", "WORD_BITS",
           "ConfigWord", "fields_of", "pack", "unpack", "words_of"]

WORD_BITS = 64
WAITS = 4
MAGIC = 0x4C545256
"""`VRTL`, the low half of a program's first word; the number of engines is the high half."""

HEADER_WORDS = 2
"""Words before the table of engines: magic, digest of the spec. A table entry is one word: byte
offset from the program's start below, 64-bit words of the engine's program above (32 bits each)."""

PROGRAM_ALIGNMENT = 64
"""Bytes to which the program, and each engine's part in it, are aligned."""

OPCODES = {"load": 1, "store": 2, "multiply": 3, "run": 4}
MEMORIES = {"weights": 0, "scratch": 1, "residual": 2, "constants": 3}
BASES = {"program": 0, "image": 1, "output": 2}
"""What the offset of a load or store counts from: one of the address registers."""

MODES = {"narrow": 0, "wide": 1, "add": 2}
"""Where the array's results go: to the scratchpad, to the residual memory, or to the residual
memory with what is there already added, saturating."""

VECTOR = 2
"""Key of the fields that every vector engine has."""

COMMON = (("opcode", 4),
          *((f"wait{i}_{part}", bits) for i in range(WAITS)
            for part, bits in (("engine", 4), ("count", 16))))

FIELDS: Mapping[int, tuple[tuple[str, int], ...]] = {
    # `beats` of the memory bus to or from word `address` of a memory; `flip` turns u8 to s8.
    DMA: (*COMMON, ("base", 2), ("offset", 32), ("memory", 2), ("address", 20), ("beats", 20),
          ("flip", 1)),
    # For n, for k: tile at w_base + n*w_n + k*w_k, its beat i at + i*w_i; activations of row r at
    # a_base + r*a_row + k; result of row r at o_base + r*o_row + n. Constants of n are group
    # `constants`, + n if `per_channel`.
    ARRAY: (*COMMON, ("rows", 12), ("k_tiles", 12), ("n_tiles", 12), ("a_base", 20),
            ("a_row", 16), ("w_scratch", 1), ("transposed", 1), ("w_base", 20), ("w_n", 16),
            ("w_k", 16), ("w_i", 16), ("constants", 12), ("per_channel", 1), ("mode", 2),
            ("o_base", 20), ("o_row", 16)),
    # `config` words follow, and are loaded first; then row r of `elements` from i_base + r*i_row
    # to o_base + r*o_row. No rows: constants only.
    VECTOR: (*COMMON, ("rows", 16), ("elements", 16), ("i_base", 20), ("i_row", 16),
             ("o_base", 20), ("o_row", 16), ("config", 16)),
}

CONFIG_ADDRESS_BITS, CONFIG_DATA_BITS = 16, 40


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfigWord:
    """One run-time constant of a vector engine.

    Parameters
    ----------
    requantizer : whether it is the requantizer's and not the unit's.
    address, data : of the configuration stream; data is in two's complement.
    """

    requantizer: bool
    address: int
    data: int

    def pack(self) -> int:
        """Return the word: data below, then address, then the requantizer's bit."""
        return ((self.data & ((1 << CONFIG_DATA_BITS) - 1))
                | self.address << CONFIG_DATA_BITS
                | int(self.requantizer) << (CONFIG_DATA_BITS + CONFIG_ADDRESS_BITS))

    @classmethod
    def unpack(cls, word: int) -> "ConfigWord":
        """Undo `pack`; data comes back signed."""
        data = word & ((1 << CONFIG_DATA_BITS) - 1)
        data -= (data >> (CONFIG_DATA_BITS - 1)) << CONFIG_DATA_BITS
        return cls(requantizer=bool(word >> (CONFIG_DATA_BITS + CONFIG_ADDRESS_BITS) & 1),
                   address=word >> CONFIG_DATA_BITS & ((1 << CONFIG_ADDRESS_BITS) - 1), data=data)


def fields_of(engine: int) -> tuple[tuple[str, int], ...]:
    """Return name and bits of the fields of an engine's instructions, lowest first."""
    return FIELDS[min(engine, VECTOR)]


def words_of(engine: int) -> int:
    """Return how many words an instruction has, without configuration words."""
    return -(-sum(bits for _, bits in fields_of(engine)) // WORD_BITS)


def pack(engine: int, values: Mapping[str, int]) -> list[int]:
    """Return an instruction's words; fields that are not given are zero.

    Raises
    ------
    ValueError
        For a field that the engine has not, or a value that does not fit.
    """
    fields = dict(fields_of(engine))
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"instruction has no field {unknown[0]!r}")
    whole = place = 0
    for name, bits in fields.items():
        value = int(values.get(name, 0))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} must be 0..{(1 << bits) - 1}, not {value}")
        whole |= value << place
        place += bits
    return [whole >> WORD_BITS * i & ((1 << WORD_BITS) - 1) for i in range(words_of(engine))]


def unpack(engine: int, words: Sequence[int]) -> dict[str, int]:
    """Undo `pack`: return every field by name."""
    whole = sum(word << WORD_BITS * i for i, word in enumerate(words))
    values = {}
    for name, bits in fields_of(engine):
        values[name] = whole & ((1 << bits) - 1)
        whole >>= bits
    return values
