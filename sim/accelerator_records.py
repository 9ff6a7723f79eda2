"""What the accelerator's bench recorded of one run: words written, instructions, busy cycles."""

import dataclasses
from pathlib import Path

import numpy as np

from vitrtl.sim.build import BuildError
from vitrtl.sw.accelerator.spec import AcceleratorSpec

__all__ = ["LOAD_PERIOD", "Records", "Writes", "read_records"]

LOAD_PERIOD = 64
"""Cycles that `Records.loads` counts together, as in `event_recorder.sv`."""

RESIDUAL = 1 << 31
"""Bit of an address that says which memory it is of."""


@dataclasses.dataclass(frozen=True, slots=True)
class Writes:
    """Words that one engine wrote, in order.

    Parameters
    ----------
    residual : whether each is of the residual memory.
    addresses : of each.
    data : bytes of each; of a word of the scratchpad the first half counts.

    Shape
    -----
    (words,), (words,), (words, 2 * size).
    """

    residual: np.ndarray
    addresses: np.ndarray
    data: np.ndarray


@dataclasses.dataclass(frozen=True, slots=True)
class Records:
    """One run.

    Parameters
    ----------
    writes : of each engine; None for the DMA engine.
    issued, done : cycles in which each engine began and ended its instructions.
    array_load, bus_load : beats that went into the array and over the bus, for every
        `LOAD_PERIOD` cycles.
    """

    writes: tuple[Writes | None, ...]
    issued: tuple[np.ndarray, ...]
    done: tuple[np.ndarray, ...]
    array_load: np.ndarray
    bus_load: np.ndarray


def read_records(folder: Path, number: int, spec: AcceleratorSpec) -> Records:
    """Read the files of one run.

    Raises
    ------
    BuildError
        If a file is missing or ends inside a record.
    """
    events = _words(folder / f"events_{number}.bin", 2)
    loads = _words(folder / f"loads_{number}.bin", 1)[:, 0]
    engines = range(spec.engine_count)
    return Records(
        writes=(None, *(_writes(folder / f"tap{e}_{number}.bin", spec) for e in engines[1:])),
        issued=tuple(_cycles(events, e) for e in engines),
        done=tuple(_cycles(events, 16 + e) for e in engines),
        array_load=(loads & 0xFFFF).astype(np.int64), bus_load=(loads >> 16).astype(np.int64))


def _words(path: Path, columns: int) -> np.ndarray:
    if not path.is_file():
        raise BuildError(f"the simulation left no {path}")
    words = np.fromfile(path, "<u4")
    if words.size % columns:
        raise BuildError(f"{path} ends inside a record")
    return words.reshape(-1, columns)


def _writes(path: Path, spec: AcceleratorSpec) -> Writes:
    words = _words(path, 1 + spec.size // 2)
    return Writes(residual=(words[:, 0] & RESIDUAL) != 0,
                  addresses=(words[:, 0] & ~np.uint32(RESIDUAL)).astype(np.int64),
                  data=np.ascontiguousarray(words[:, 1:]).view(np.uint8))


def _cycles(events: np.ndarray, bit: int) -> np.ndarray:
    return events[events[:, 1] >> bit & 1 != 0, 0].astype(np.int64)
