"""Scripts of the bench: what the players read, and what the recorders wrote."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vitrtl.sim.script import (
    expected_beats,
    matmul_scripts,
    read_stamps,
    unpack_beats,
    vector_fields,
    vector_script,
)
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.stimuli import answer
from vitrtl.sw.vectors import MatMulCase


def entries(path: Path, size: int) -> list[int]:
    """Return the entries of a script as integers."""
    content = path.read_bytes()
    return [int.from_bytes(content[i:i + size], "big") for i in range(0, len(content), size)]


def test_script_holds_constants_then_beats(tmp_path: Path) -> None:
    entry = unit("softmax_shiftmax")
    spec = entry.golden.spec(lanes=2)
    constants, _ = entry.golden.derive(spec, Fraction(1, 20))
    case = answer(entry, spec, "random", "r", constants, [np.array([5, -6, 7])])
    script = vector_script(spec, [case], fence_cases=True)
    script.write(tmp_path / "s")
    fence, first_word, _, one, two = entries(tmp_path / "s", script.entry.bytes)
    assert fence & 3 == 2
    assert first_word & 3 == 1
    assert (first_word >> 2) & ((1 << spec.config_data_width) - 1) == constants.i0
    # Least significant first: kind, first, last, two elements, two bits of keep.
    assert one == 0 | 1 << 2 | 0 << 3 | 5 << 4 | 0xFA << 12 | 3 << 20
    assert two & ~(0xFF << 12) == 0 | 0 << 2 | 1 << 3 | 7 << 4 | 1 << 20


@pytest.mark.parametrize("lanes, fmt", [(1, Format(8, True)), (2, Format(15, False)),
                                        (8, Format(32, True))])
def test_recorded_beats_are_read_back(lanes: int, fmt: Format, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fields = vector_fields(lanes, fmt)
    values = rng.integers(fmt.lo, fmt.hi, (50, lanes), endpoint=True)
    values[0, 0], values[1, 0] = fmt.lo, fmt.hi
    flags = rng.integers(0, 2, (50, 2))
    keep = rng.integers(0, 2, (50, lanes))
    words = bytearray()
    for row in range(50):
        bits, place = 0, 0
        for value, width in [*((int(f), 1) for f in flags[row]),
                             *((int(v), fmt.width) for v in values[row]),
                             *((int(k), 1) for k in keep[row])]:
            bits |= (value & ((1 << width) - 1)) << place
            place += width
        words += bits.to_bytes(4 * -(-fields.total // 32), "little")
    (tmp_path / "o").write_bytes(words)
    for want, got in zip((flags, values, keep), unpack_beats(tmp_path / "o", fields, fmt),
                         strict=True):
        np.testing.assert_array_equal(got, want)


def test_expected_beats_mark_rows_and_padding() -> None:
    entry = unit("gelu_ierf")
    spec = entry.golden.spec(lanes=2)
    constants, _ = entry.golden.derive(spec, Fraction(1, 20))
    case = answer(entry, spec, "random", "r", constants, [np.array([1, 2, 3]), np.array([4])])
    flags, elements, keep = expected_beats(case, 2)
    assert flags.tolist() == [[1, 0], [0, 1], [1, 1]]
    assert keep.tolist() == [[1, 1], [1, 0], [1, 0]]
    assert elements[keep.astype(bool)].tolist() == case.expected.tolist()


def test_weights_wait_for_their_constants(tmp_path: Path) -> None:
    spec = unit("matmul").golden.spec(rows=2, columns=2)
    a, b = np.array([[1, 2], [3, 4]]), np.array([[5, 6], [7, 8]])
    case = MatMulCase(kind="random", name="r", transposed=False, a=a, b=b, expected=a @ b)
    activations, weights = matmul_scripts(spec, [case, case])
    weights.write(tmp_path / "w")
    gates = [e >> 2 for e in entries(tmp_path / "w", weights.entry.bytes) if e & 3 == 3]
    assert gates == [2, 4]
    activations.write(tmp_path / "a")
    kinds = [e & 3 for e in entries(tmp_path / "a", activations.entry.bytes)]
    assert kinds == [1, 1, 0, 0] * 2


def test_stamps_are_pairs(tmp_path: Path) -> None:
    (tmp_path / "s").write_bytes(np.array([1, 2, 3, 4], "<u4").tobytes())
    assert read_stamps(tmp_path / "s").tolist() == [[1, 2], [3, 4]]
