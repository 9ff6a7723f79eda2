"""The layout's promises: packages, import direction, one page and two files for each unit."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from vitrtl.sw.catalog import UNITS, unit
from vitrtl.sw.golden.unit import Golden, Spec

ROOT = Path(__file__).parents[2]


def test_every_package_is_declared_so_that_a_wheel_has_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {"vitrtl." + ".".join(p.parent.relative_to(ROOT).parts)
             for top in ("hw", "sw", "sim", "constraints")
             for p in (ROOT / top).rglob("__init__.py")}
    assert set(project["packages"]) == found


@pytest.mark.parametrize(("modules", "banned"), [
    ("vitrtl.sw.golden.{}", ("torch", "timm", "amaranth", "cocotb", "scipy")),
    ("vitrtl.hw.{}", ("torch", "timm", "cocotb", "scipy")),
])
def test_imports_go_one_way(modules, banned):
    lines = [f"import {modules.format(name)}" for name in UNITS]
    lines += ["import sys", f"print([m for m in {banned!r} if m in sys.modules])"]
    result = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True,
                            text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_has_golden_gates_and_page(name):
    entry = unit(name)
    assert isinstance(entry.golden, Golden)
    assert entry.timing(entry.golden.spec()).latency_fixed >= 1
    assert (ROOT / "docs" / "units" / f"{name}.md").is_file()


@pytest.mark.parametrize("name", UNITS)
def test_a_spec_is_rebuilt_from_its_fields(name):
    spec = unit(name).golden.spec()
    again = type(spec).fromdict(spec.asdict())
    assert again == spec and again.digest == spec.digest


def test_specs_of_different_numbers_have_different_digests():
    kind = unit("requantize").golden.spec
    assert kind(out_width=8).digest != kind(out_width=16).digest


def test_an_unknown_field_is_named():
    with pytest.raises(ValueError, match="^RequantizeSpec has no field 'width'; its fields are "):
        unit("requantize").golden.spec.fromdict({"width": 3})


def test_an_unknown_unit_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="^unit must be one of softmax_.*, not 'sofmax'$"):
        unit("sofmax")


@pytest.mark.parametrize(("name", "fields", "message"), [
    ("softmax_shiftmax", {"in_width": 1}, "^in_width must be 2..8 bits, not 1$"),
    ("softmax_shiftmax", {"lanes": 3}, "^lanes must be 1, 2, 4 or 8, not 3$"),
    ("softmax_iexp", {"longest_row": 0}, "^longest_row must be 1..1024 elements, not 0$"),
    ("gelu_shiftgelu", {"n": 25}, "^n must be 1..24, not 25$"),
    ("gelu_ierf", {"coefficient_width": 2}, "^coefficient_width must be 4..24 bits, not 2$"),
    ("requantize", {"shift_count": 3}, "^shift_count must be 1, 2, 4, 8 or 16, not 3$"),
    ("layernorm_newton", {"in_width": 17}, "^in_width must be 4..16 bits, not 17$"),
])
def test_a_spec_refuses_what_cannot_work(name, fields, message):
    with pytest.raises(ValueError, match=message):
        unit(name).golden.spec(**fields)


def test_a_spec_field_of_the_wrong_kind_is_a_type_error():
    with pytest.raises(TypeError, match="^n must be an integer, not 1.5$"):
        unit("softmax_shiftmax").golden.spec(n=1.5)


def test_a_spec_is_frozen():
    spec: Spec = unit("softmax_shiftmax").golden.spec()
    with pytest.raises(AttributeError):
        spec.n = 3
