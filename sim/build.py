"""From generated Verilog to a simulator program: Verilator and the C++ compiler, cached."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from vitrtl.sim.toolchain import (
    compile_environment,
    require_programs,
    verilator_program,
    versions,
    vpi_sources,
)
from vitrtl.sw.files import digest, digest_files, write_if_changed

__all__ = ["RTL", "BuildError", "build_model", "rtl_sources"]

RTL = Path(__file__).with_name("rtl")


class BuildError(RuntimeError):
    """Verilator or the compiler failed: the end of what it said."""


def rtl_sources(top: str) -> list[Path]:
    """Return the file of one bench, of the modules in it, and of models of device primitives."""
    modules = {path.stem: path for path in RTL.glob("*.sv")}
    found, waiting = set(), [modules[top]]
    while waiting:
        path = waiting.pop()
        found.add(path)
        named = set(re.findall(r"\w+", path.read_text()))
        waiting += [modules[name] for name in named & modules.keys() if modules[name] not in found]
    return sorted([*found, *RTL.glob("*.v")])


def build_model(verilog: str, top: str, defines: dict[str, object], build: Path,
                waves: bool = False, quick: bool = False) -> Path:
    """Build the simulator of generated Verilog in its bench.

    Parameters
    ----------
    verilog : text of what is simulated.
    top : module of the bench.
    defines : macros that the bench is written in terms of.
    build : folder of the simulation.
    waves : whether it can record waveforms, which makes it slower.
    quick : whether it is built rather than run quickly.

    Returns
    -------
    Folder that holds the program, under the name of `top`.
    """
    key = digest(verilog, top, repr(sorted(defines.items())), digest_files(rtl_sources(top)),
                 repr(versions()), str(waves), str(quick), Path(__file__).read_text())
    folder = build / "models" / f"{defines['UNIT']}.{key}"
    if (folder / top).is_file():
        return folder
    require_programs()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=folder.parent) as scratch:
        source = Path(scratch) / "unit.v"
        write_if_changed(source, verilog)
        main, libraries = vpi_sources()
        environment = compile_environment(build / "objects")
        _run([str(verilator_program()), "-cc", "--exe", "--vpi", "--timing", "-O3",
              "--prefix", "Vtop", "--top-module", top, "-Mdir", f"{scratch}/obj", "-o", top,
              # Style is `vitrtl.sim.lint`'s business; the model of a primitive has spare pins.
              "-Wno-lint", "-Wno-PINMISSING", *(["--trace"] if waves else []),
              "-LDFLAGS", f"-Wl,-rpath,{libraries} -L{libraries} -lcocotbvpi_verilator",
              *(f"-D{name}={value}" for name, value in defines.items()),
              str(main), *map(str, rtl_sources(top)), str(source)], environment)
        _run(["make", "-s", "-j2", "-C", f"{scratch}/obj", "-f", "Vtop.mk",
              f"OPT_FAST={'-O0' if quick else '-O2'}", "OPT_SLOW=-O0",
              f"VM_TRACE={int(waves)}"], environment)
        folder.mkdir(exist_ok=True)
        # The program appears under its name in one step, so an interrupted build is no build.
        shutil.copy2(f"{scratch}/obj/{top}", folder / f".{top}.part")
        os.replace(folder / f".{top}.part", folder / top)
    return folder


def _run(command: list[str], environment: dict[str, str]) -> None:
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode:
        said = (result.stderr + result.stdout).strip().splitlines()
        lines = [line for line in said if "error" in line.lower()] or said[-3:]
        raise BuildError(f"{Path(command[0]).name} failed: " + " / ".join(lines[:5]))
