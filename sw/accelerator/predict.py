"""Cycles of a program, instruction by instruction, without running it.

Instructions are taken in an order that their waits permit, and each gets its first and last cycle
from the numbers that the gates state: when its words are there and what it waits for has ended,
when its engine is free, how fast operands come and results go. Nothing steps from cycle to cycle.
"""

import bisect
import contextlib
import dataclasses
import functools
import gc
import itertools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from vitrtl.sw.accelerator.configuration_words import ConfigWord, load_cycles
from vitrtl.sw.accelerator.hazards import in_some_order
from vitrtl.sw.accelerator.instruction import length_of, waits_of, words_of_tile
from vitrtl.sw.accelerator.isa import HEADER_WORDS, OPCODES, VECTOR, WORD_BITS, words_of
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.spec import ARRAY, DMA, AcceleratorSpec

__all__ = ["Bus", "Prediction", "predict", "predict_instructions"]

Instructions = Sequence[Sequence[tuple[Mapping[str, int], Iterable[ConfigWord]]]]
"""Fields and constants of each engine's instructions."""

NOTICED = 3
"""Cycles from the end of an instruction to the start of one that waits for it."""

DECODED = 3
"""Cycles from an instruction's last word to its start."""

STARTED = 3
"""Cycles from the start of a run to the request for the program's first words, beside those that
the end of the reset takes from part to part."""

ASKED = 5
"""Cycles from a reader's request to the port of the bus, and from there back to the reader, beside
those of the memory."""

UNPACKED = 2
"""Cycles that constants take from the last word to the start, beside one for each entry."""

PREPARED = 1
"""Cycles in which a vector engine finds out that there is room for a run."""

FETCHED_AHEAD = 32
"""Beats of its program that each engine has room for."""

LOADED_AHEAD = 256
"""Beats of loads that are asked for before the first of them comes; programs wait behind them."""

FINISHED = 6
"""Cycles from the last instruction's end to the end of the run."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bus:
    """The memory that a program runs from.

    Parameters
    ----------
    latency : cycles by which it answers later than it could.
    bandwidth : beats that it reads in 256 cycles, 256 at most.
    """

    latency: int = 0
    bandwidth: int = 256

    def cycles(self, beats: int) -> int:
        """Return the cycles that some beats take."""
        return -(-beats * 256 // self.bandwidth)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prediction:
    """What a run on one image takes.

    Parameters
    ----------
    cycles : of the run, as the register CYCLES counts them.
    spans : for each engine, the cycle in which every instruction begins and the one in which it
        has ended, (instructions, 2).
    """

    cycles: int
    spans: tuple[np.ndarray, ...]


def predict(program: Program, bus: Bus | None = None) -> Prediction:
    """Return the cycles of a program, which are the same for every image.

    Parameters
    ----------
    bus : the memory; one that answers at once if not given.
    """
    return predict_instructions(program.instructions, program.spec, bus)


def predict_instructions(instructions: Instructions, spec: AcceleratorSpec,
                         bus: Bus | None = None) -> Prediction:
    """Return the cycles of instructions, as `predict` those of a program."""
    bus = bus or Bus()
    engines = _engines(instructions, spec, bus)
    programs = [[fields for fields, _ in one] for one in instructions]
    for engine, index in in_some_order(programs):
        fields, config = instructions[engine][index]
        ready = max((engines[other].ends[count - 1] + NOTICED
                     for other, count in waits_of(fields).items()), default=0)
        engines[engine].take(fields, load_cycles(config), ready)
    spans = tuple(np.array([one.starts, one.ends], np.int64).T.reshape(-1, 2)
                  for one in engines)
    last = max(int(one[-1, 1]) for one in spans if len(one))
    return Prediction(cycles=last + FINISHED, spans=spans)


class _Engine(ABC):
    """Cycles of the instructions of one engine, so far.

    Parameters
    ----------
    engine : its number.
    first_word : cycle in which the first word of its program is there.
    fetches : beats of its program up to the end of each instruction.
    """

    def __init__(self, engine: int, first_word: int, fetches: Sequence[int],
                 spec: AcceleratorSpec, bus: Bus) -> None:
        self.engine, self.words = engine, words_of(engine)
        self.spec, self.bus = spec, bus
        self.starts: list[int] = []
        self.ends: list[int] = []
        self._collects = first_word
        self._first_word, self._fetches = first_word, fetches

    @property
    def fetched_first(self) -> int:
        """Beats of this engine's program that are asked for before anything is taken."""
        return min(FETCHED_AHEAD, self._fetches[-1])

    def fetched(self, cycle: int) -> int:
        """Return the beats of this engine's program that were asked for until a cycle."""
        # The first instruction is there before it starts, and then as much as there is room for.
        taken = max(1, bisect.bisect_right(self.starts, cycle))
        return min(self._fetches[taken - 1] + FETCHED_AHEAD, self._fetches[-1])

    def take(self, fields: Mapping[str, int], loading: int, ready: int) -> None:
        """Note the next instruction.

        Parameters
        ----------
        loading : cycles in which its constants are unpacked.
        ready : cycle in which all that it waits for has ended.
        """
        start, end = self._span(fields, loading, ready)
        self.starts.append(start)
        self.ends.append(max([end, *self.ends[-1:]]))
        self._collects = start + 1

    @abstractmethod
    def _span(self, fields: Mapping[str, int], loading: int, ready: int) -> tuple[int, int]:
        """Return the first and the last cycle of an instruction, as in `Prediction`."""

    def _decoded(self) -> int:
        """Return the first cycle in which the next instruction can start."""
        return self._collects + self.words + DECODED - 1


class _Array(_Engine):
    """The array: what goes in, and what comes out, of passes one behind the other."""

    IN_FLIGHT = 5

    def __init__(self, engine: int, first_word: int, fetches: Sequence[int],
                 spec: AcceleratorSpec, bus: Bus) -> None:
        super().__init__(engine, first_word, fetches, spec, bus)
        array = _array_cycles(dataclasses.replace(spec, engines=()))
        self.shortest, self.per_word = array["shortest_pass"], array["result_cycles"]
        self.places, self.result = array["queued_results"], array["result"]
        self.requantized, self.first = array["requantized"], array["first_beat"]
        self._free = 0
        self._written = 0

    def _span(self, fields: Mapping[str, int], loading: int, ready: int) -> tuple[int, int]:
        begin = max(ready, self._decoded())
        if len(self.ends) >= self.IN_FLIGHT:
            begin = max(begin, self.ends[-self.IN_FLIGHT] + 1)
        rows, k_tiles, words = fields["rows"], fields["k_tiles"], words_of_tile(fields)
        passed = max(rows, self.shortest)
        at = max(begin + self.first, self._free)
        for _ in range(fields["n_tiles"]):
            at += (k_tiles - 1) * passed
            last = max(at + rows - 1, self._place_for_last(at, rows, words))
            self._written = max(at + self.result + (rows * words - 1) * self.per_word,
                                self._written + rows * words * self.per_word,
                                last + self.result + (words - 1) * self.per_word)
            at = max(at + passed, last + 1)
        self._free = at
        # Skid buffer and register.
        return begin, self._written + 1

    def _place_for_last(self, at: int, rows: int, words: int) -> int:
        """Return the first cycle in which a last pass's last beat has a place in the queue.

        Parameters
        ----------
        words : of each beat, whose place is free when the last of them leaves.
        """
        before = (rows - self.places) * words - 1
        if before >= 0:
            written = max(at + self.result, self._written + self.per_word) + before * self.per_word
        else:
            written = self._written + (before + 1) * self.per_word
        return written - self.requantized


class _Vector(_Engine):
    """A unit with its requantizer: rows one behind the other."""

    def __init__(self, engine: int, first_word: int, fetches: Sequence[int],
                 spec: AcceleratorSpec, bus: Bus, runs: frozenset[tuple[int, int]]) -> None:
        super().__init__(engine, first_word, fetches, spec, bus)
        self._cycles = _vector_cycles(
            dataclasses.replace(spec, engines=(spec.engines[engine - VECTOR],)), runs)

    def _span(self, fields: Mapping[str, int], loading: int, ready: int) -> tuple[int, int]:
        begin = self._decoded()
        if loading and self.ends:
            # Constants of another layer are taken when nothing is in flight.
            begin = max(begin + UNPACKED, self.ends[-1] + 1) + loading
        elif loading:
            # Those of the first layer come beside the first loads.
            beats = -(-length_of(self.engine, fields) * WORD_BITS // (8 * self.spec.bus_bytes))
            begin += UNPACKED + max(loading, self.bus.cycles(max(0, beats - FETCHED_AHEAD) * (
                FETCHED_AHEAD + LOADED_AHEAD) // FETCHED_AHEAD))
        begin = max(begin, ready) + PREPARED
        if not fields["rows"]:
            return begin, begin + 1
        alone, behind = self._cycles[fields["rows"], fields["elements"]]
        return begin, max(begin + alone, self.ends[-1] + behind if self.ends else 0)


class _Dma(_Engine):
    """Loads, whose beats follow each other and those of the programs, and stores.

    Parameters
    ----------
    engines : all of them, whose programs come over the same bus.
    """

    IN_FLIGHT = 8

    def __init__(self, engine: int, first_word: int, fetches: Sequence[int],
                 spec: AcceleratorSpec, bus: Bus, engines: "Sequence[_Engine]") -> None:
        super().__init__(engine, first_word, fetches, spec, bus)
        self._engines = engines
        self._fetched: int | None = None
        self._free = 0

    def _span(self, fields: Mapping[str, int], loading: int, ready: int) -> tuple[int, int]:
        begin = max(ready, self._decoded())
        if self.starts:
            begin = max(begin, self.starts[-1] + 3)
        if len(self.ends) >= self.IN_FLIGHT:
            begin = max(begin, self.ends[-self.IN_FLIGHT] + 1)
        beats = fields["beats"]
        # Check, begin, and the first burst.
        first = begin + 4 + ASKED + self.bus.latency
        if fields["opcode"] == OPCODES["store"]:
            return begin, first + self.bus.cycles(beats) + 4 + self.bus.latency
        if self._fetched is None:
            self._fetched = sum(one.fetched_first for one in self._engines)
            self._free = self._first_word + self.bus.cycles(self._fetched)
        # A cycle from the last beat of one load to the first of the next.
        free = max(first, self._free + 1)
        # Each engine fetches what it has room for in the time of as many loads as are asked for.
        share = beats * FETCHED_AHEAD * len(self._engines) // LOADED_AHEAD
        others = min(sum(one.fetched(free) for one in self._engines) - self._fetched, share)
        self._fetched += others
        self._free = free + self.bus.cycles(beats + others)
        return begin, self._free + 1


def _engines(instructions: Instructions, spec: AcceleratorSpec, bus: Bus) -> list[_Engine]:
    """Return the engines, each with the cycle in which its program begins."""
    per_beat = 8 * spec.bus_bytes // WORD_BITS
    trip = ASKED + bus.latency
    header = STARTED + _reset_stages(spec) + trip
    found: list[_Engine] = []
    for engine, one in enumerate(instructions):
        entry = header + bus.cycles(-(-(HEADER_WORDS + engine) // per_beat)) + engine
        word = entry + 4 + trip
        words = itertools.accumulate(length_of(engine, fields) for fields, _ in one)
        fetches = [-(-count // per_beat) for count in words] or [0]
        if engine == DMA:
            found.append(_Dma(engine, word, fetches, spec, bus, found))
        elif engine == ARRAY:
            found.append(_Array(engine, word, fetches, spec, bus))
        else:
            runs = frozenset((fields["rows"], fields["elements"])
                             for fields, _ in one if fields["rows"])
            found.append(_Vector(engine, word, fetches, spec, bus, runs))
    return found


@contextlib.contextmanager
def _parts() -> Iterator[None]:
    """Let components be made to ask them for their cycles, and thrown away."""
    with warnings.catch_warnings():
        # Amaranth warns of a component that never becomes part of a design, when it goes.
        warnings.filterwarnings("ignore", ".* created but never used")
        # All that is made before the next collection is young, and to collect that alone is quick.
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            gc.collect(0)
            if collects:
                gc.enable()


def _reset_stages(spec: AcceleratorSpec) -> int:
    """Return the cycles from the end of the reset to that of its last part."""
    from vitrtl.hw.accelerator.accelerator import reset_stages

    return reset_stages(spec)


@functools.cache
def _array_cycles(spec: AcceleratorSpec) -> dict[str, int]:
    """Return what the array engine's gates state of their cycles.

    Parameters
    ----------
    spec : without vector engines, on which nothing here depends.
    """
    from vitrtl.hw.accelerator.array_engine import ArrayEngine
    from vitrtl.hw.accelerator.banked_memory import BankedMemory
    from vitrtl.hw.accelerator.result_requantizer import ResultRequantizer

    with _parts():
        engine, requantizer = ArrayEngine(spec), ResultRequantizer(spec)
        numbers = {"shortest_pass": engine.shortest_pass, "result_cycles": engine.result_cycles,
                   "queued_results": engine.queued_results, "result": engine.result,
                   "requantized": requantizer.latency,
                   "first_beat": engine.first_beat(BankedMemory.LATENCY)}
        del engine, requantizer
    return numbers


@functools.cache
def _vector_cycles(spec: AcceleratorSpec, runs: frozenset[tuple[int, int]]
                   ) -> dict[tuple[int, int], tuple[int, int]]:
    """Return the cycles of runs of so many rows and elements, alone and behind another run.

    Parameters
    ----------
    spec : with the engine in question alone, since nothing here depends on others.
    """
    from vitrtl.hw.accelerator.vector_engine import VectorEngine

    with _parts():
        engine = VectorEngine(spec, VECTOR)
        found = {run: (engine.cycles(*run), engine.interval(*run)) for run in runs}
        del engine
    return found
