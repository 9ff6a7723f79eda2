"""Run-time constants of the vector engines, and how they are packed into words of a program.

Constants of consecutive addresses are a run: entries of which the first is `isa.CONFIG_HEADER` and
the others are data, each of them sign-extended. In a wide run a datum is two entries, the lower
first. Entries stand two to a word, the first one lower; the last word's upper entry may be zero.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from vitrtl.sw.accelerator.isa import (
    CONFIG_ADDRESS_BITS,
    CONFIG_DATA_BITS,
    CONFIG_ENTRY_BITS,
    CONFIG_HEADER,
    join_fields,
    split_fields,
)
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.unit import check_range

__all__ = ["ConfigWord", "load_cycles", "pack_config", "unpack_config"]

MASK = (1 << CONFIG_ENTRY_BITS) - 1
LONGEST_RUN = (1 << dict(CONFIG_HEADER)["count"]) - 1
NARROW, WIDE = Format(CONFIG_ENTRY_BITS, True), Format(CONFIG_DATA_BITS, True)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConfigWord:
    """One run-time constant of a vector engine.

    Parameters
    ----------
    requantizer : whether it is the requantizer's and not the unit's.
    address, data : of the configuration stream; data is signed, and a register takes the low bits
        that it has.
    """

    requantizer: bool
    address: int
    data: int

    def __post_init__(self) -> None:
        check_range("address of a constant", self.address, 0, (1 << CONFIG_ADDRESS_BITS) - 1)
        check_range("constant", self.data, WIDE.lo, WIDE.hi)


def pack_config(config: Iterable[ConfigWord]) -> list[int]:
    """Return the words of a program that load constants."""
    entries = [entry for run in _runs(config) for entry in _entries(run)]
    if len(entries) % 2:
        entries.append(0)
    return [low | high << CONFIG_ENTRY_BITS
            for low, high in zip(entries[::2], entries[1::2], strict=True)]


def unpack_config(words: Iterable[int]) -> list[ConfigWord]:
    """Undo `pack_config`.

    Raises
    ------
    ValueError
        If the words are not whole runs, or hold what no constant can be.
    """
    entries = [entry for word in words for entry in (word & MASK, word >> CONFIG_ENTRY_BITS)]
    found: list[ConfigWord] = []
    place = 0
    while place < len(entries):
        if place == len(entries) - 1 and not entries[place]:
            break
        header = split_fields(CONFIG_HEADER, entries[place])
        count, each, start = header["count"], 1 + header["wide"], place + 1
        if not count:
            raise ValueError("a run of constants must have one at least")
        place = start + count * each
        if place > len(entries):
            raise ValueError("configuration ends inside a run of constants")
        found += [ConfigWord(requantizer=bool(header["requantizer"]), address=header["address"] + i,
                             data=_signed(entries[start + i * each:start + (i + 1) * each]))
                  for i in range(count)]
    return found


def load_cycles(config: Iterable[ConfigWord]) -> int:
    """Return the cycles in which an engine unpacks constants: one for each entry."""
    return sum(len(_entries(run)) for run in _runs(config))


def _runs(config: Iterable[ConfigWord]) -> list[list[ConfigWord]]:
    """Return constants cut into as few runs as there can be."""
    runs: list[list[ConfigWord]] = []
    for word in config:
        if runs and len(run := runs[-1]) < LONGEST_RUN and (
                (word.requantizer, word.address) == (run[0].requantizer, run[-1].address + 1)):
            run.append(word)
        else:
            runs.append([word])
    return runs


def _entries(run: Sequence[ConfigWord]) -> list[int]:
    """Return a run's header and data."""
    wide = not all(NARROW.lo <= word.data <= NARROW.hi for word in run)
    header = join_fields(CONFIG_HEADER, {
        "address": run[0].address, "count": len(run), "wide": wide,
        "requantizer": run[0].requantizer})
    return [header, *(word.data >> CONFIG_ENTRY_BITS * part & MASK
                      for word in run for part in range(1 + wide))]


def _signed(parts: Sequence[int]) -> int:
    """Return the signed integer of some entries, the lowest first."""
    value = sum(part << CONFIG_ENTRY_BITS * i for i, part in enumerate(parts))
    return value - (parts[-1] >> CONFIG_ENTRY_BITS - 1 << CONFIG_ENTRY_BITS * len(parts))
