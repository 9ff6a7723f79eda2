"""What must wait for what: accesses of several engines to the same words.

An instruction may not read a word before it is written, nor overwrite one before it is read. An
engine works in order: what an instruction reads, it reads before the next one reads or writes, and
it writes before the next one writes. But its results may reach a memory after the next
instruction has begun to read, so that an engine waits for itself, too.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from vitrtl.sw.accelerator.instruction import (
    Access,
    Instruction,
    accesses,
    waits_of,
    with_waits,
    words_in,
)
from vitrtl.sw.accelerator.isa import MEMORIES, fields_of
from vitrtl.sw.accelerator.spec import ARRAY, DMA, AcceleratorSpec

__all__ = ["HazardError", "check", "in_some_order", "with_all_waits"]

Fields = Mapping[str, int]


class HazardError(ValueError):
    """Instructions that would deadlock, or whose accesses are in no sure order."""


def with_all_waits(instructions: Sequence[Instruction],
                   spec: AcceleratorSpec) -> list[dict[str, int]]:
    """Return the fields of instructions with the waits that keep their order where it matters.

    Parameters
    ----------
    instructions : of all engines, in an order in which running them one by one is right.

    Raises
    ------
    ValueError
        If an instruction must wait for more engines than it can name.
    """
    history, clocks = _History(spec), _Clocks(spec)
    result = []
    for instruction in instructions:
        engine = instruction.engine
        fields = {name: instruction.fields.get(name, 0) for name, _ in fields_of(engine)}
        touched = accesses(engine, fields, spec)
        waits = clocks.reduced(engine, history.required(engine, touched))
        result.append(with_waits(fields, waits))
        history.record(engine, clocks.start(engine, waits), touched)
    return result


def check(programs: Sequence[Sequence[Fields]], spec: AcceleratorSpec) -> None:
    """Prove that all conflicting accesses are ordered, and that every instruction can run.

    Parameters
    ----------
    programs : fields of the instructions of each engine, in order.

    Raises
    ------
    HazardError
        Naming the first instruction that is wrong.
    """
    history, clocks = _History(spec), _Clocks(spec)
    for engine, index in in_some_order(programs):
        fields = programs[engine][index]
        touched = accesses(engine, fields, spec)
        here = f"instruction {index} of {spec.engine_name(engine)}"
        for access in touched:
            if access.words.size and access.words.max() >= words_in(access.memory, spec):
                raise HazardError(f"{here} must stay below word {words_in(access.memory, spec)} "
                                  f"of {access.memory}, not reach {access.words.max()}")
        if not _in_place_is_safe(engine, fields, touched):
            raise HazardError(f"{here} must not overwrite what it still reads")
        required = history.required(engine, touched)
        clocks.start(engine, waits_of(fields))
        for other, count in required.items():
            if clocks.knows(engine, other) < count:
                raise HazardError(f"{here} must wait for instruction {count - 1} of "
                                  f"{spec.engine_name(other)}")
        history.record(engine, index, touched)


def _in_place_is_safe(engine: int, fields: Fields, touched: Sequence[Access]) -> bool:
    """Whether an instruction reads each word before it writes it.

    A vector engine may put rows where it found them. The array reads its operands more than once,
    but a word of the stream right before it writes it.
    """
    if engine == DMA:
        return True
    written = np.concatenate([a.words for a in touched if a.writes and a.memory == "scratch"]
                             or [np.empty(0, np.int64)])
    read = np.concatenate([a.words for a in touched if not a.writes and a.memory == "scratch"]
                          or [np.empty(0, np.int64)])
    if engine != ARRAY and (fields["i_base"], fields["i_row"]) == (fields["o_base"],
                                                                  fields["o_row"]):
        return True
    return not np.isin(written, read).any()


def in_some_order(programs: Sequence[Sequence[Fields]]) -> Iterator[tuple[int, int]]:
    """Yield engine and index of every instruction, in an order that the waits permit.

    Raises
    ------
    HazardError
        If there is none.
    """
    ended = [0] * len(programs)
    moved = True
    while moved:
        moved = False
        for engine, program in enumerate(programs):
            while ended[engine] < len(program) and all(
                    other < len(ended) and ended[other] >= count
                    for other, count in waits_of(program[ended[engine]]).items()):
                yield engine, ended[engine]
                ended[engine] += 1
                moved = True
    for engine, program in enumerate(programs):
        if ended[engine] < len(program):
            raise HazardError(f"engine {engine} waits for ever at instruction {ended[engine]}: "
                              f"{waits_of(program[ended[engine]])} against {ended}")


class _History:
    """Who wrote each word last, and who has read it since."""

    def __init__(self, spec: AcceleratorSpec) -> None:
        self.engines = spec.engine_count
        # Numbers of instructions, from 1; 0 for none.
        self._writes, self._reads = (
            {memory: np.zeros((self.engines, words_in(memory, spec)), np.int32)
             for memory in MEMORIES} for _ in range(2))

    def required(self, engine: int, touched: Sequence[Access]) -> dict[int, int]:
        """Return how many instructions of which engines must have ended before these accesses."""
        required: dict[int, int] = {}
        for access in touched:
            if not access.words.size:
                continue
            memory = access.memory
            writes = self._writes[memory][:, access.words].max(axis=1)
            reads = self._reads[memory][:, access.words].max(axis=1) if access.writes else None
            for other in range(self.engines):
                # An engine's own writes come in order, and but for the DMA, whose transfers
                # overlap, it has read before it writes.
                count = 0
                if not (access.writes and other == engine):
                    count = writes[other]
                if reads is not None and (other != engine or engine == DMA):
                    count = max(count, reads[other])
                if count:
                    required[other] = max(int(count), required.get(other, 0))
        return required

    def record(self, engine: int, index: int, touched: Sequence[Access]) -> None:
        """Note the accesses of an engine's instruction."""
        for access in touched:
            if access.writes:
                # What came before is ordered before this, and need not be waited for again.
                self._writes[access.memory][:, access.words] = 0
                self._reads[access.memory][:, access.words] = 0
                self._writes[access.memory][engine, access.words] = index + 1
            else:
                self._reads[access.memory][engine, access.words] = index + 1


class _Clocks:
    """What is known to have ended when each instruction starts."""

    def __init__(self, spec: AcceleratorSpec) -> None:
        self._starts: list[list[np.ndarray]] = [[] for _ in range(spec.engine_count)]
        self._now = np.zeros((spec.engine_count, spec.engine_count), np.int64)

    def knows(self, engine: int, other: int) -> int:
        """Return how many instructions of another are known to have ended."""
        return int(self._now[engine, other])

    def start(self, engine: int, waits: Mapping[int, int]) -> int:
        """Begin the next instruction of an engine; return its index."""
        now = self._now[engine]
        for other, count in waits.items():
            np.maximum(now, self._after(other, count), out=now)
        self._starts[engine].append(now.copy())
        return len(self._starts[engine]) - 1

    def _after(self, engine: int, count: int) -> np.ndarray:
        """Return what is known once an engine has ended some instructions."""
        known = self._starts[engine][count - 1].copy()
        known[engine] = max(known[engine], count)
        return known

    def reduced(self, engine: int, waits: Mapping[int, int]) -> dict[int, int]:
        """Return the waits that do not follow from others or from earlier instructions."""
        left = {other: count for other, count in waits.items()
                if self._now[engine, other] < count}
        return {other: count for other, count in left.items()
                if not any(self._after(third, third_count)[other] >= count
                           for third, third_count in left.items() if third != other)}
