"""Instructions: what each is for, which words it reads and writes, whom it waits for."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from vitrtl.sw.accelerator.configuration_words import ConfigWord, pack_config, unpack_config
from vitrtl.sw.accelerator.isa import (
    MEMORIES,
    MODES,
    OPCODES,
    VECTOR,
    WAITS,
    pack,
    unpack,
    words_of,
)
from vitrtl.sw.accelerator.spec import ARRAY, CONSTANT_BEATS, DMA, AcceleratorSpec

__all__ = ["Access", "ArrayAddresses", "Instruction", "Step", "accesses", "array_addresses",
           "decode", "encode", "length_of", "rows_of", "waits_of", "with_waits", "words_in",
           "words_of_tile"]

ADDRESS_MASK = (1 << 20) - 1
"""Addresses are sums modulo this and one; a memory takes the low bits that it has."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one instruction is for: which part of which of the network's values it writes.

    Parameters
    ----------
    engine : number of the engine.
    node : whose value it is, the last of those that are fused; empty for a transfer.
    lead : index of the value's first axes, such as the attention head.
    row, rows, column, columns : the part of `value[lead]`.
    label : what tables of cycles call it.
    macs : multiplications that the network asks for.
    """

    engine: int
    node: str = ""
    lead: tuple[int, ...] = ()
    row: int = 0
    rows: int = 0
    column: int = 0
    columns: int = 0
    label: str = ""
    macs: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instruction:
    """One instruction.

    Parameters
    ----------
    fields : of `vitrtl.sw.accelerator.isa`, by name; those left out are zero.
    config : constants that are loaded before it; field `config` counts their packed words.
    step : what it is for.
    """

    fields: Mapping[str, int]
    step: Step
    config: tuple[ConfigWord, ...] = ()

    @property
    def engine(self) -> int:
        """Number of the engine."""
        return self.step.engine


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """Words of one memory that an instruction reads or writes.

    Parameters
    ----------
    memory : name in `isa.MEMORIES`.
    words : their addresses, in any order and number.
    writes : whether it writes them.
    """

    memory: str
    words: np.ndarray
    writes: bool


@dataclasses.dataclass(frozen=True, slots=True)
class ArrayAddresses:
    """Words that one `multiply` names.

    Parameters
    ----------
    activations : (rows, k tiles).
    weights : (n tiles, k tiles, beats of a tile).
    results : (rows, words); a tile makes one word of a row, or two if it is paired.
    constants : (words,), groups.
    """

    activations: np.ndarray
    weights: np.ndarray
    results: np.ndarray
    constants: np.ndarray


def words_in(memory: str, spec: AcceleratorSpec) -> int:
    """Return the words of a memory; for the constants, the groups."""
    return {"weights": spec.weight_words, "scratch": spec.scratch_words,
            "residual": spec.residual_words, "constants": spec.constant_groups}[memory]


def rows_of(base: int, step: int, rows: int, words: int) -> np.ndarray:
    """Return the addresses of rows of words.  Shape: (rows, words)."""
    return (base + step * np.arange(rows)[:, np.newaxis] + np.arange(words)) & ADDRESS_MASK


def words_of_tile(fields: Mapping[str, int]) -> int:
    """Return the words of a row's results that a `multiply` makes with one tile."""
    return 1 + fields["paired"]


def array_addresses(fields: Mapping[str, int], spec: AcceleratorSpec) -> ArrayAddresses:
    """Return the words that a `multiply` names."""
    f = fields
    n, k = np.arange(f["n_tiles"]), np.arange(f["k_tiles"])
    words = f["n_tiles"] * words_of_tile(f)
    weights = (f["w_base"] + f["w_n"] * n[:, np.newaxis, np.newaxis]
               + f["w_k"] * k[:, np.newaxis] + f["w_i"] * np.arange(spec.size)) & ADDRESS_MASK
    return ArrayAddresses(
        activations=rows_of(f["a_base"], f["a_row"], f["rows"], f["k_tiles"]), weights=weights,
        results=rows_of(f["o_base"], f["o_row"], f["rows"], words),
        constants=f["constants"] + np.arange(words) * f["per_channel"])


def accesses(engine: int, fields: Mapping[str, int], spec: AcceleratorSpec) -> list[Access]:
    """Return what an instruction reads and writes.

    Parameters
    ----------
    fields : all of them, as `isa.unpack` gives them.
    """
    f = fields
    if engine == DMA:
        memory = {code: name for name, code in MEMORIES.items()}[f["memory"]]
        per_word = {"residual": 2, "constants": CONSTANT_BEATS}.get(memory, 1)
        words = (f["address"] + np.arange(-(-f["beats"] // per_word))) & ADDRESS_MASK
        return [Access(memory, words, f["opcode"] == OPCODES["load"])]
    if engine == ARRAY:
        at = array_addresses(f, spec)
        out = "scratch" if f["mode"] == MODES["narrow"] else "residual"
        found = [Access("scratch", at.activations.ravel(), False),
                 Access("scratch" if f["w_scratch"] else "weights", at.weights.ravel(), False),
                 Access("constants", at.constants, False),
                 Access(out, at.results.ravel(), True)]
        if f["mode"] == MODES["add"]:
            found.append(Access(out, at.results.ravel(), False))
        return found
    words = -(-f["elements"] // spec.size)
    reads_residual = spec.engines[engine - VECTOR].reads_residual
    return [Access("residual" if reads_residual else "scratch",
                   rows_of(f["i_base"], f["i_row"], f["rows"], words).ravel(), False),
            Access("scratch", rows_of(f["o_base"], f["o_row"], f["rows"], words).ravel(), True)]


def waits_of(fields: Mapping[str, int]) -> dict[int, int]:
    """Return engine and number of instructions of each wait."""
    waits: dict[int, int] = {}
    for i in range(WAITS):
        if count := fields.get(f"wait{i}_count", 0):
            engine = fields[f"wait{i}_engine"]
            waits[engine] = max(count, waits.get(engine, 0))
    return waits


def with_waits(fields: Mapping[str, int], waits: Mapping[int, int]) -> dict[str, int]:
    """Return the fields of an instruction that waits for these and no others.

    Raises
    ------
    ValueError
        For more waits than an instruction holds.
    """
    if len(waits) > WAITS:
        raise ValueError(f"an instruction waits for {WAITS} engines at most, not {len(waits)}")
    changed = {name: value for name, value in fields.items() if not name.startswith("wait")}
    for i, (engine, count) in enumerate(sorted(waits.items())):
        changed |= {f"wait{i}_engine": engine, f"wait{i}_count": count}
    return changed


def encode(instruction: Instruction) -> list[int]:
    """Return an instruction's words, those of its configuration after them."""
    return [*pack(instruction.engine, instruction.fields),
            *pack_config(instruction.config)]


def length_of(engine: int, fields: Mapping[str, int]) -> int:
    """Return how many words an instruction has, those of its configuration included."""
    return words_of(engine) + fields.get("config", 0)


def decode(engine: int, words: Sequence[int]) -> list[tuple[dict[str, int], list[ConfigWord]]]:
    """Return fields and constants of every instruction of an engine's program.

    Raises
    ------
    ValueError
        If the words end inside an instruction, or its configuration is not one.
    """
    found = []
    place, length = 0, words_of(engine)
    while place < len(words):
        fields = unpack(engine, words[place:place + length])
        stop = place + length_of(engine, fields)
        if stop > len(words):
            raise ValueError("program ends inside an instruction")
        found.append((fields, unpack_config(words[place + length:stop])))
        place = stop
    return found
