"""Vector files and the stimuli that need no network."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.golden.unit import config_words
from vitrtl.sw.stimuli import synthetic_cases
from vitrtl.sw.vectors import Case, VectorSet, golden_digest, load, save, vector_path

VECTOR_UNITS = [name for name in UNITS if name != "matmul"]


def vectors_of(name: str) -> VectorSet:
    spec = unit(name).golden.spec()
    return VectorSet(unit=name, spec=spec, network=None, golden=golden_digest(name),
                     made_from="test", cases=tuple(synthetic_cases(unit(name), spec)))


@pytest.fixture(scope="module")
def requantize_vectors() -> VectorSet:
    return vectors_of("requantize")


@pytest.mark.parametrize("name", ["softmax_shiftmax", "layernorm_newton", "matmul"])
def test_file_gives_back_what_was_saved(name: str, tmp_path: Path) -> None:
    before = vectors_of(name)
    path = vector_path(tmp_path, name, before.spec)
    assert save(before, path)
    after = load(path)
    assert dataclasses.replace(after, cases=()) == dataclasses.replace(before, cases=())
    for old, new in zip(before.cases, after.cases, strict=True):
        assert (old.kind, old.name, old.rows) == (new.kind, new.name, new.rows)
        np.testing.assert_array_equal(old.expected, new.expected)
        if isinstance(old, Case):
            assert config_words(before.spec, old.constants) == config_words(after.spec,
                                                                            new.constants)
    assert not save(after, path), "the same vectors must be the same bytes"


def test_incomplete_file_is_refused(requantize_vectors: VectorSet, tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    save(requantize_vectors, path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="incomplete or damaged"):
        load(path)


def test_file_with_one_wrong_byte_is_refused(requantize_vectors: VectorSet,
                                             tmp_path: Path) -> None:
    path = tmp_path / "v.npz"
    save(requantize_vectors, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        load(path)


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        load(tmp_path / "v.npz")


@pytest.mark.parametrize("name", VECTOR_UNITS)
def test_same_seed_gives_the_same_cases(name: str) -> None:
    spec = unit(name).golden.spec()
    for one, two in zip(synthetic_cases(unit(name), spec), synthetic_cases(unit(name), spec),
                        strict=True):
        np.testing.assert_array_equal(one.x, two.x)


@pytest.mark.parametrize("name", VECTOR_UNITS)
def test_every_code_and_every_extreme_length_occurs(name: str) -> None:
    vector_set = vectors_of(name)
    fmt = vector_set.spec.in_format
    if fmt.width <= 8:
        for case in vector_set.of_kind("codes"):
            assert set(case.x) == set(range(fmt.lo, fmt.hi + 1))
    lengths = set(np.concatenate([case.lengths for case in vector_set.of_kind("corners")]))
    longest = getattr(vector_set.spec, "longest_row", 256)
    assert {1, 2, longest - 1, longest} <= lengths
    values = np.concatenate([case.x for case in vector_set.of_kind("corners")])
    assert {fmt.lo, fmt.hi} <= set(values)


def test_lanes_get_rows_that_do_not_fill_the_last_beat() -> None:
    spec = unit("softmax_shiftmax").golden.spec(lanes=4)
    cases = synthetic_cases(unit("softmax_shiftmax"), spec)
    rests = {int(n) % 4 for case in cases for n in case.lengths}
    assert rests == {0, 1, 2, 3}


def test_difference_is_located_by_row_and_element(requantize_vectors: VectorSet) -> None:
    case = Case(kind="random", name="r", constants=None, x=np.arange(6),
                lengths=np.array([2, 3, 1]), expected=np.arange(6))
    assert [case.locate(i) for i in range(6)] == [
        "row 0, element 0", "row 0, element 1", "row 1, element 0", "row 1, element 1",
        "row 1, element 2", "row 2, element 0"]


def test_shortened_case_keeps_whole_rows() -> None:
    case = Case(kind="random", name="r", constants=None, x=np.arange(6),
                lengths=np.array([2, 3, 1]), expected=np.arange(6))
    assert list(case.shortened(5).lengths) == [2, 3]
    assert list(case.shortened(1).lengths) == [2]
    assert case.shortened(5).expected.size == 5
