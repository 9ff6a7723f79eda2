"""A unit on a board, used from the host: test cases to beats, and beats back to integers."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from vitrtl.sw.boards.link import Link, Port
from vitrtl.sw.boards.protocol import beat_bytes, identity
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.golden.matmul import MatMulSpec, derive, tile, untile
from vitrtl.sw.golden.unit import Spec, config_words
from vitrtl.sw.vectors import Case, MatMulCase

__all__ = ["UnitClient"]


@dataclasses.dataclass(frozen=True, slots=True)
class BeatWidths:
    """Fields of a beat, lowest first: elements, which of them count, `first`, `last`.

    Parameters
    ----------
    format : of an element.
    lanes : elements.
    keep : whether one bit per lane follows the elements.
    framed : whether `first` and `last` follow.
    """

    format: Format
    lanes: int
    keep: bool
    framed: bool = True

    @property
    def total(self) -> int:
        """Bits of the beat."""
        return self.lanes * (self.format.width + self.keep) + 2 * self.framed

    def pack(self, elements: np.ndarray, first: bool = False, last: bool = False) -> int:
        """Return a beat; elements missing at its end are padding."""
        mask = (1 << self.format.width) - 1
        beat = sum((int(x) & mask) << i * self.format.width for i, x in enumerate(elements))
        place = self.lanes * self.format.width
        if self.keep:
            beat |= ((1 << len(elements)) - 1) << place
            place += self.lanes
        return beat | first << place | last << place + 1

    def unpack(self, beat: int) -> tuple[list[int], bool]:
        """Return the elements that count, and whether the beat is the last of its row."""
        width, place = self.format.width, self.lanes * self.format.width
        used = beat >> place & (1 << self.lanes) - 1 if self.keep else (1 << self.lanes) - 1
        last = beat >> place + self.keep * self.lanes + 1 & 1
        elements = [beat >> i * width & (1 << width) - 1 for i in range(self.lanes)
                    if used >> i & 1]
        if self.format.signed:
            elements = [x - (x >> width - 1 << width) for x in elements]
        return elements, bool(last)


class UnitClient:
    """Plays cases on a unit behind a serial port.

    Parameters
    ----------
    port : an open serial port.
    unit : name in the catalogue.
    spec : its build-time numbers.
    """

    CONFIG, WEIGHTS = 0, 1

    def __init__(self, port: Port, unit: str, spec: Spec) -> None:
        self.unit, self.spec = unit, spec
        config = spec.config_address_width + spec.config_data_width
        if isinstance(spec, MatMulSpec):
            weights = BeatWidths(spec.weight_format, spec.columns, keep=False, framed=False)
            self._in = BeatWidths(spec.in_format, spec.rows, keep=False)
            self._out = BeatWidths(spec.out_format, spec.columns, keep=False)
            self._weights = weights
            widths = [config, weights.total, self._in.total]
        else:
            keep = spec.lanes > 1
            self._in = BeatWidths(spec.in_format, spec.lanes, keep)
            self._out = BeatWidths(spec.out_format, spec.lanes, keep)
            widths = [config, self._in.total]
        self._data = len(widths) - 1
        self.link = Link(port, [beat_bytes(w) for w in widths], [beat_bytes(self._out.total)])

    def start(self) -> None:
        """Reset the unit, and make sure that it is this one."""
        self.link.start(identity(self.unit, self.spec))

    def play(self, case: Case | MatMulCase) -> np.ndarray:
        """Return what the unit answers to a case, in the shape of `case.expected`."""
        if isinstance(case, MatMulCase):
            return self._multiply(case)
        self._configure(case.constants)
        rows = np.split(case.x, np.cumsum(case.lengths)[:-1])
        for row in rows:
            for beat in _beats(row, self._in):
                self.link.send(self._data, beat)
        return np.array([x for _ in rows for x in self._row()], np.int64)

    def _multiply(self, case: MatMulCase) -> np.ndarray:
        spec = self.spec
        constants, _ = derive(spec, case.a.shape[1], case.transposed)
        self._configure(constants)
        tiles = tile(case.a, case.b, spec, case.transposed)
        for weights, rows in zip(tiles.weights, tiles.passes, strict=True):
            for beat in weights:
                self.link.send(self.WEIGHTS, self._weights.pack(beat))
            for i, beat in enumerate(rows):
                self.link.send(self._data, self._in.pack(beat, i == 0, i == len(rows) - 1))
        m, n = case.expected.shape
        beats = m * -(-n // spec.columns)
        found = [self._out.unpack(self.link.receive()[1])[0] for _ in range(beats)]
        return untile(np.array(found, np.int64), m, n, spec)

    def _configure(self, constants: object) -> None:
        for address, word in config_words(self.spec, constants):
            self.link.send(self.CONFIG, address | word << self.spec.config_address_width)

    def _row(self) -> list[int]:
        """Return the elements of the next row."""
        row, last = [], False
        while not last:
            elements, last = self._out.unpack(self.link.receive()[1])
            row += elements
        return row


def _beats(row: np.ndarray, widths: BeatWidths) -> Iterator[int]:
    """Yield the beats of a row."""
    for start in range(0, row.size, widths.lanes):
        yield widths.pack(row[start:start + widths.lanes], start == 0,
                          start + widths.lanes >= row.size)
