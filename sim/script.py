"""Scripts for the players in the bench, and the records that come back: bits to integers."""

import dataclasses
from pathlib import Path

import numpy as np

from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.matmul import MatMulSpec, derive, tile
from vitrtl.sw.golden.unit import VectorSpec, config_words
from vitrtl.sw.vectors import Case, MatMulCase

__all__ = ["BeatFields", "EntryFormat", "Script", "beat_count", "expected_beats", "matmul_scripts",
           "read_stamps", "result_fields", "side_by_side_scripts", "unpack_beats", "vector_fields",
           "vector_script"]

KIND_WIDTH = 2
BEAT_KIND = 0
CONFIG_KIND = 1
FENCE_KIND = 2
GATE_KIND = 3
FENCE_WIDTH = 24


@dataclasses.dataclass(frozen=True, slots=True)
class BeatFields:
    """Payload of one beat: flags, elements and which of them count, least significant first.

    Parameters
    ----------
    flags : number of one-bit flags below the elements.
    lanes : elements.
    width : bits of an element.
    keep : whether one bit per lane follows the elements.
    """

    flags: int
    lanes: int
    width: int
    keep: bool

    @property
    def total(self) -> int:
        """Bits of the payload."""
        return self.flags + self.lanes * self.width + self.lanes * self.keep


@dataclasses.dataclass(frozen=True, slots=True)
class EntryFormat:
    """One line of a script: payload above the kind, a whole number of bytes.

    Parameters
    ----------
    beat : payload of the unit's own stream, kind 0.
    address_width, data_width : payload of a configuration word, kind 1.
    """

    beat: BeatFields
    address_width: int
    data_width: int

    @property
    def bytes(self) -> int:
        """Size of an entry."""
        payload = max(self.beat.total, self.address_width + self.data_width, FENCE_WIDTH)
        return (payload + KIND_WIDTH + 7) // 8


class Script:
    """Entries of one player, collected in order and written as one file.

    Parameters
    ----------
    entry : format of an entry.
    """

    def __init__(self, entry: EntryFormat) -> None:
        self.entry = entry
        self._parts: list[np.ndarray] = []

    def config(self, words: list[tuple[int, int]]) -> None:
        """Append configuration words."""
        pairs = np.array(words, np.int64).reshape(-1, 2)
        rows = self._entries(len(pairs), kind=CONFIG_KIND)
        _put(rows, KIND_WIDTH, self.entry.data_width, pairs[:, 1])
        _put(rows, KIND_WIDTH + self.entry.data_width, self.entry.address_width, pairs[:, 0])
        self._parts.append(rows)

    def fence(self, rest: int = 0) -> None:
        """Append a fence: wait for every row begun, then `rest` cycles."""
        self._wait(FENCE_KIND, rest)

    def gate(self, progress: int) -> None:
        """Append a gate: wait until another stream has come to `progress`."""
        self._wait(GATE_KIND, progress)

    def rows(self, x: np.ndarray, lengths: np.ndarray) -> None:
        """Append the beats of some rows; lanes past a row's end carry noise and are masked."""
        beat = self.entry.beat
        number, lane, first, last = _places(lengths, beat.lanes)
        beats = self._entries(first.size, kind=BEAT_KIND)
        padded = np.random.default_rng(0).integers(0, 1 << beat.width, (first.size, beat.lanes))
        padded[number, lane] = x
        used = np.zeros((first.size, beat.lanes), np.int64)
        used[number, lane] = 1
        _put(beats, KIND_WIDTH, 1, first)
        _put(beats, KIND_WIDTH + 1, 1, last)
        self._elements(beats, padded, used)

    def beats(self, elements: np.ndarray, flags: np.ndarray) -> None:
        """Append beats given whole: elements (beats, lanes) and flags (beats, flags)."""
        beats = self._entries(len(elements), kind=BEAT_KIND)
        for place in range(self.entry.beat.flags):
            _put(beats, KIND_WIDTH + place, 1, flags[:, place])
        self._elements(beats, elements, np.ones_like(elements))

    def write(self, path: Path) -> None:
        """Write the file that a player reads: entries with their most significant byte first."""
        with open(path, "wb") as file:
            for words in self._parts:
                octets = words.view(np.uint8).reshape(len(words), -1)
                file.write(np.ascontiguousarray(octets[:, self.entry.bytes - 1::-1]).tobytes())

    def _wait(self, kind: int, payload: int) -> None:
        rows = self._entries(1, kind)
        _put(rows, KIND_WIDTH, FENCE_WIDTH, np.array([payload]))
        self._parts.append(rows)

    def _entries(self, count: int, kind: int) -> np.ndarray:
        rows = np.zeros((count, self.entry.bytes // 4 + 1), "<u4")
        rows[:, 0] = kind
        return rows

    def _elements(self, beats: np.ndarray, elements: np.ndarray, used: np.ndarray) -> None:
        beat = self.entry.beat
        base = KIND_WIDTH + beat.flags
        for lane in range(beat.lanes):
            _put(beats, base + lane * beat.width, beat.width, elements[:, lane])
            _put(beats, base + beat.lanes * beat.width + lane, int(beat.keep), used[:, lane])
        self._parts.append(beats)


def vector_fields(lanes: int, fmt: Format) -> BeatFields:
    """Return the beat of a vector unit: `first`, `last`, elements, `keep`."""
    return BeatFields(flags=2, lanes=lanes, width=fmt.width, keep=True)


def vector_entry(spec: VectorSpec) -> EntryFormat:
    """Return the script format of a vector unit."""
    return EntryFormat(vector_fields(spec.lanes, spec.in_format), spec.config_address_width,
                       spec.config_data_width)


def vector_script(spec: VectorSpec, cases: list[Case], fence_cases: bool = False,
                  fence_rows: bool = False) -> Script:
    """Return the script that plays some cases, each with its own constants.

    Parameters
    ----------
    fence_cases, fence_rows : wait for an empty unit before each case, before each row.
    """
    script = Script(vector_entry(spec))
    for case in cases:
        if fence_cases:
            script.fence()
        script.config(config_words(spec, case.constants))
        if not fence_rows:
            script.rows(case.x, case.lengths)
            continue
        for number, row in enumerate(np.split(case.x, np.cumsum(case.lengths)[:-1])):
            script.fence(number % 4)
            script.rows(row, np.array([row.size]))
    return script


def side_by_side_scripts(spec: VectorSpec, cases: list[Case]) -> tuple[Script, Script]:
    """Return a script of rows and one of constants that waits for them side by side.

    The constants of a case are offered once the last row before it has begun, while the first
    row of the case is offered behind that row.
    """
    rows, constants = Script(vector_entry(spec)), Script(vector_entry(spec))
    begun = 0
    for case in cases:
        words = config_words(spec, case.constants)
        if begun:
            constants.gate(begun)
        else:
            rows.gate(len(words))
        constants.config(words)
        rows.rows(case.x, case.lengths)
        begun += case.rows
    return rows, constants


def matmul_scripts(spec: MatMulSpec, cases: list[MatMulCase]) -> tuple[Script, Script]:
    """Return the scripts of the two players: constants and activations, and weights."""
    activations = Script(EntryFormat(
        BeatFields(flags=2, lanes=spec.rows, width=spec.in_format.width, keep=False),
        spec.config_address_width, spec.config_data_width))
    weights = Script(EntryFormat(
        BeatFields(flags=0, lanes=spec.columns, width=spec.weight_format.width, keep=False), 0, 0))
    taken = 0
    for case in cases:
        constants, _ = derive(spec, case.a.shape[1], case.transposed)
        words = config_words(spec, constants)
        activations.config(words)
        taken += len(words)
        weights.gate(taken)
        tiles = tile(case.a, case.b, spec, case.transposed)
        weights.beats(tiles.weights.reshape(-1, spec.columns), np.empty((0, 0), np.int64))
        ends = np.cumsum([len(rows) for rows in tiles.passes])
        flags = np.zeros((ends[-1], 2), np.int64)
        flags[np.concatenate([[0], ends[:-1]]), 0] = 1
        flags[ends - 1, 1] = 1
        activations.beats(np.concatenate(tiles.passes), flags)
    return activations, weights


def result_fields(spec: MatMulSpec) -> BeatFields:
    """Return the result beat of the matrix multiplication: `first`, `last`, elements."""
    return BeatFields(flags=2, lanes=spec.columns, width=spec.out_format.width, keep=False)


def beat_count(lengths: np.ndarray, lanes: int) -> np.ndarray:
    """Return the beats of rows of these lengths."""
    return -(-lengths // lanes)


def unpack_beats(path: Path, fields: BeatFields, fmt: Format) -> tuple[np.ndarray, np.ndarray,
                                                                      np.ndarray]:
    """Read a recorder's file.

    Returns
    -------
    Flags (beats, flags), elements (beats, lanes) and keep (beats, lanes).
    """
    words = np.fromfile(path, "<u4").reshape(-1, (fields.total + 31) // 32)
    flags = np.stack([_get(words, i, 1) for i in range(fields.flags)], axis=1)
    elements = np.stack([_get(words, fields.flags + i * fields.width, fields.width)
                         for i in range(fields.lanes)], axis=1)
    if fmt.signed:
        elements -= (elements >> (fmt.width - 1)) << fmt.width
    base = fields.flags + fields.lanes * fields.width
    keep = (np.stack([_get(words, base + i, 1) for i in range(fields.lanes)], axis=1)
            if fields.keep else np.ones_like(elements))
    return flags, elements, keep


def expected_beats(case: Case, lanes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what `unpack_beats` must return for a case; elements of masked lanes are zero."""
    number, lane, first, last = _places(case.lengths, lanes)
    elements = np.zeros((first.size, lanes), np.int64)
    elements[number, lane] = case.expected
    keep = np.zeros_like(elements)
    keep[number, lane] = 1
    return np.stack([first, last], axis=1).astype(np.int64), elements, keep


def read_stamps(path: Path) -> np.ndarray:
    """Read the cycles of each row's first and last beat: (rows, 2)."""
    return np.fromfile(path, "<u4").reshape(-1, 2).astype(np.int64)


def _places(lengths: np.ndarray, lanes: int) -> tuple[np.ndarray, ...]:
    """Return each element's beat and lane, and for each beat whether it begins or ends a row."""
    beats = beat_count(lengths, lanes)
    ends = np.cumsum(beats)
    within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    number = np.repeat(ends - beats, lengths) + within // lanes
    first = np.zeros(int(beats.sum()), np.int64)
    last = np.zeros_like(first)
    first[ends - beats] = 1
    last[ends - 1] = 1
    return number, within % lanes, first, last


def _put(words: np.ndarray, offset: int, width: int, values: np.ndarray) -> None:
    """Write `width` <= 32 bits at `offset` into each row of 32-bit words."""
    if not width:
        return
    index, shift = divmod(offset, 32)
    bits = (values.astype(np.int64) & ((1 << width) - 1)).astype(np.uint64) << np.uint64(shift)
    words[:, index] |= (bits & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    if shift + width > 32:
        words[:, index + 1] |= (bits >> np.uint64(32)).astype(np.uint32)


def _get(words: np.ndarray, offset: int, width: int) -> np.ndarray:
    """Read `width` <= 32 bits at `offset` of each row of 32-bit words, unsigned."""
    index, shift = divmod(offset, 32)
    bits = words[:, index].astype(np.int64) >> shift
    if shift + width > 32:
        bits |= words[:, index + 1].astype(np.int64) << (32 - shift)
    return bits & ((1 << width) - 1)
