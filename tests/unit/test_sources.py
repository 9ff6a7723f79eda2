"""Which files a result depends on."""

import pytest

from vitrtl.sw.sources import digest_module, sources_of


def test_closure_holds_what_is_imported_and_nothing_else() -> None:
    names = {path.name for path in sources_of("vitrtl.sw.golden.softmax_shiftmax")}
    assert {"softmax_shiftmax.py", "shift_exp.py", "fixed_point.py", "unit.py"} <= names
    assert "softmax_iexp.py" not in names


@pytest.mark.parametrize("name", ["vitrtl.sw.golden.requantize", "vitrtl.hw.requantize"])
def test_digest_is_the_same_twice(name: str) -> None:
    assert digest_module(name) == digest_module(name)


def test_units_differ() -> None:
    assert digest_module("vitrtl.hw.requantize") != digest_module("vitrtl.hw.gelu_ierf")
