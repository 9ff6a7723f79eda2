"""Places in the memories: buffers that share the scratchpad, and rings that loads go round."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from random import Random

from vitrtl.sw.accelerator.spec import AcceleratorSpec
from vitrtl.sw.errors import UserError

__all__ = ["Buffer", "Piece", "Ring", "fits", "place"]

ORDERS = 200
"""Orders of placing buffers that are tried; the order decides what fits and what collides."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Buffer:
    """Rows of words in the scratchpad.

    Parameters
    ----------
    name : for messages.
    rows, row : number of rows, and words of each.
    phases : when it holds something that is wanted; buffers with a phase in common must not
        share words.
    beside : buffers whose words are read or written in the same cycles, and how often; better in
        another bank.
    base : address of the first word.
    """

    name: str
    rows: int
    row: int
    phases: frozenset[str]
    beside: Mapping[str, int] = dataclasses.field(default_factory=dict, hash=False)
    base: int = 0

    @property
    def words(self) -> int:
        """Words in all."""
        return self.rows * self.row

    def at(self, row: int, word: int = 0) -> int:
        """Return the address of a word of a row."""
        return self.base + row * self.row + word


def place(buffers: Sequence[Buffer], spec: AcceleratorSpec) -> dict[str, Buffer]:
    """Return the buffers with their places in the scratchpad, by name.

    Each goes where it shares the fewest words of a bank with those that are accessed at the same
    time, the lowest such place first.

    Raises
    ------
    UserError
        If they do not fit.
    """
    placed = _best(tuple(buffers), _scratchpad(spec))
    if placed is not None:
        return dict(placed)
    sizes = ", ".join(f"{b.name} {b.words}" for b in buffers)
    raise UserError(f"scratchpad must hold {_needed(buffers)} words at once, and place whole "
                    f"buffers ({sizes}), not {spec.scratch_words}")


def fits(buffers: Sequence[Buffer], spec: AcceleratorSpec) -> bool:
    """Whether `place` finds places."""
    return _needed(buffers) <= spec.scratch_words and _fits(tuple(buffers), _scratchpad(spec))


def _scratchpad(spec: AcceleratorSpec) -> AcceleratorSpec:
    """Return what places depend on, and nothing else that differs from network to network."""
    return AcceleratorSpec(banks=spec.banks, bank_words=spec.bank_words)


@functools.cache
def _best(buffers: tuple[Buffer, ...], spec: AcceleratorSpec) -> dict[str, Buffer] | None:
    """Return the best places that any order gives, None if none does."""
    found = [_placed(order, spec) for order in _orders(buffers)]
    fitting = [(cost, i, placed) for i, (placed, cost) in enumerate(found) if placed is not None]
    return min(fitting, key=lambda one: one[:2])[2] if fitting else None


@functools.cache
def _fits(buffers: tuple[Buffer, ...], spec: AcceleratorSpec) -> bool:
    """Whether any order gives places."""
    return any(_placed(order, spec)[0] is not None for order in _orders(buffers))


def _needed(buffers: Sequence[Buffer]) -> int:
    """Return the most words that are wanted at once."""
    phases = frozenset().union(*(b.phases for b in buffers))
    return max(sum(b.words for b in buffers if phase in b.phases) for phase in phases)


def _orders(buffers: Sequence[Buffer]) -> Iterator[Sequence[Buffer]]:
    """Yield orders of placing: the given one, and others drawn at random, always the same."""
    yield buffers
    random = Random(0)
    for _ in range(ORDERS):
        yield random.sample(buffers, len(buffers))


def _placed(order: Iterable[Buffer], spec: AcceleratorSpec) -> tuple[dict[str, Buffer] | None, int]:
    placed: dict[str, Buffer] = {}
    total = 0
    for buffer in order:
        others = [b for b in placed.values() if b.phases & buffer.phases]
        starts = {0, *(b.base + b.words for b in others),
                  *(i * spec.bank_words for i in range(spec.banks)),
                  *(i * spec.bank_words - buffer.words for i in range(1, spec.banks + 1)),
                  *(b.base - buffer.words for b in others)}
        found = [(_conflicts(moved, placed.values(), spec), start, moved)
                 for start in sorted(starts)
                 if 0 <= start <= spec.scratch_words - buffer.words
                 for moved in [dataclasses.replace(buffer, base=start)]
                 if all(not _overlap(moved, b) for b in others)]
        if not found:
            return None, 0
        cost, _, moved = min(found, key=lambda one: one[:2])
        placed[buffer.name] = moved
        total += cost
    return placed, total


def _overlap(a: Buffer, b: Buffer) -> bool:
    return a.base < b.base + b.words and b.base < a.base + a.words


def _conflicts(buffer: Buffer, others: Iterable[Buffer], spec: AcceleratorSpec) -> int:
    """Return the words that lie in a bank with words of a buffer that is accessed meanwhile."""
    return sum((buffer.beside.get(other.name, 0) + other.beside.get(buffer.name, 0))
               * min(_in_bank(buffer, bank, spec), _in_bank(other, bank, spec))
               for other in others for bank in range(spec.banks))


def _in_bank(buffer: Buffer, bank: int, spec: AcceleratorSpec) -> int:
    low, high = bank * spec.bank_words, (bank + 1) * spec.bank_words
    return max(0, min(high, buffer.base + buffer.words) - max(low, buffer.base))


@dataclasses.dataclass(eq=False)
class Piece:
    """Words of a ring, held from their load to their last use."""

    base: int
    words: int
    held: bool = True

    def release(self) -> None:
        """Let later loads overwrite it."""
        self.held = False


class Ring:
    """A memory that loads go round, each behind the one before.

    Parameters
    ----------
    name : for messages.
    words : of the memory.
    multiple : what every address is a multiple of.
    """

    def __init__(self, name: str, words: int, multiple: int = 1) -> None:
        self.name = name
        self.words = words
        self.multiple = multiple
        self._next = 0
        self._pieces: list[Piece] = []

    @property
    def largest(self) -> int:
        """Words of the largest piece that leaves room for the next one beside it."""
        return self.words // 2

    def take(self, words: int, what: str) -> Piece:
        """Return a place for a load.

        Raises
        ------
        UserError
            If it would overwrite what is still wanted.
        """
        base = self._next if self._next + words <= self.words else 0
        self._pieces = [p for p in self._pieces if p.held]
        if words > self.words or any(p.base < base + words and base < p.base + p.words
                                     for p in self._pieces):
            held = sum(p.words for p in self._pieces)
            raise UserError(f"{self.name} must hold {words} words for {what} beside {held} in use, "
                            f"not {self.words}")
        piece = Piece(base, words)
        self._pieces.append(piece)
        self._next = base + -(-words // self.multiple) * self.multiple
        return piece
