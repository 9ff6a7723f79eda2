"""Instructions of the accelerator: the one description that compiler and gates read.

Every engine runs a program of its own, a sequence of 64-bit words in memory. An instruction waits
until other engines have ended as many instructions as it names, works, and is counted itself when
its last result is in memory. Fields are packed from the lowest bit up, without gaps.
"""

from collections.abc import Iterable, Mapping, Sequence

from vitrtl.sw.accelerator.spec import ARRAY, DMA

__all__ = ["BASES", "CONFIG_ADDRESS_BITS", "CONFIG_DATA_BITS", "CONFIG_ENTRY_BITS",
           "CONFIG_HEADER", "FIELDS", "HEADER_WORDS", "MAGIC", "MEMORIES", "MODES", "OPCODES",
           "PROGRAM_ALIGNMENT", "VECTOR", "WAITS", "WORD_BITS", "fields_of", "join_fields",
           "pack", "split_fields", "unpack", "words_of"]

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
    # `constants`, + n if `per_channel`. If `paired`, a byte of a tile is two weights, of columns c
    # and, in its upper half, size + c; results and constants are those of 2n and 2n + 1, and
    # `constants` is even.
    ARRAY: (*COMMON, ("rows", 12), ("k_tiles", 12), ("n_tiles", 12), ("a_base", 20),
            ("a_row", 16), ("w_scratch", 1), ("transposed", 1), ("w_base", 20), ("w_n", 16),
            ("w_k", 16), ("w_i", 16), ("constants", 12), ("per_channel", 1), ("mode", 2),
            ("o_base", 20), ("o_row", 16), ("paired", 1)),
    # `config` words of constants follow, and are loaded first; then row r of `elements` from
    # i_base + r*i_row to o_base + r*o_row. No rows: constants only.
    VECTOR: (*COMMON, ("rows", 16), ("elements", 16), ("i_base", 20), ("i_row", 16),
             ("o_base", 20), ("o_row", 16), ("config", 16)),
}

CONFIG_ADDRESS_BITS, CONFIG_DATA_BITS = 16, 40

CONFIG_ENTRY_BITS = 32
CONFIG_HEADER = (("address", CONFIG_ADDRESS_BITS), ("count", 14), ("wide", 1), ("requantizer", 1))
"""What a run of constants begins with, see `configuration_words`: address of the first of `count`,
whether each takes two entries, whether they are the requantizer's and not the unit's."""


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
    fields = fields_of(engine)
    if unknown := sorted(set(values) - set(dict(fields))):
        raise ValueError(f"instruction has no field {unknown[0]!r}")
    whole = join_fields(fields, values)
    return [whole >> WORD_BITS * i & ((1 << WORD_BITS) - 1) for i in range(words_of(engine))]


def unpack(engine: int, words: Sequence[int]) -> dict[str, int]:
    """Undo `pack`: return every field by name."""
    return split_fields(fields_of(engine),
                        sum(word << WORD_BITS * i for i, word in enumerate(words)))


def join_fields(fields: Iterable[tuple[str, int]], values: Mapping[str, int]) -> int:
    """Return fields in one integer, from the lowest bit up; those that are not given are zero.

    Raises
    ------
    ValueError
        For a value that does not fit.
    """
    whole = place = 0
    for name, bits in fields:
        value = int(values.get(name, 0))
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{name} must be 0..{(1 << bits) - 1}, not {value}")
        whole |= value << place
        place += bits
    return whole


def split_fields(fields: Iterable[tuple[str, int]], whole: int) -> dict[str, int]:
    """Undo `join_fields`: return every field by name."""
    values = {}
    for name, bits in fields:
        values[name] = whole & ((1 << bits) - 1)
        whole >>= bits
    return values
