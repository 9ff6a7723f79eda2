"""The mapped netlist of a unit as Verilog, with models of the device's primitives."""

import re
import tempfile
from pathlib import Path

from vitrtl.hw.verilog import generate, module_name
from vitrtl.sim.build import RTL
from vitrtl.sw.cost.flow import YOSYS
from vitrtl.sw.cost.netlist import netlist_script
from vitrtl.sw.cost.target import load_target
from vitrtl.sw.cost.tools import Tools, tool_versions
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, digest_files, json_text, write_if_changed
from vitrtl.sw.golden.unit import Spec

__all__ = ["TARGET", "mapped_netlist"]

TARGET = "ecp5-85k"
"""Target of the cost table whose synthesis makes the netlist."""

MODELS = RTL / "ecp5"
"""Models of the primitives that only synthesis puts in; `RTL` has those that units instance."""

INSTANCE = re.compile(r"^  ([A-Z][A-Z0-9_]+) (?:#\(|\S+ \()", re.MULTILINE)


def mapped_netlist(name: str, spec: Spec, folder: Path, tools: Tools) -> Path:
    """Return the Verilog file of a unit's netlist, made unless it is there.

    It is what the cost table counts: the same synthesis of the same Verilog. The module has the
    unit's own name and ports.

    Parameters
    ----------
    name : a unit of the catalogue.
    spec : its numbers.
    folder : of all netlists; this one is named after everything that decides it.

    Raises
    ------
    UserError
        If synthesis fails, or puts in a primitive without a model.
    """
    target, top = load_target(TARGET), module_name(name, spec)
    verilog = generate(name, spec, target.device)
    models = sorted(MODELS.glob("*.v"))
    key = digest(verilog, target.synthesis, json_text(tool_versions(None)), digest_files(models),
                 Path(__file__).read_text())
    path = folder / f"{top}-{key}.v"
    if path.is_file():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=folder) as scratch:
        at = Path(scratch)
        write_if_changed(at / "unit.v", verilog)
        script = netlist_script("unit.v", target.synthesis, top)
        tools.run(*YOSYS, ["-q", "-l", "synthesis.log", "-p",
                           f"{script}; write_verilog -noattr netlist.v"], at, at / "synthesis.out")
        text = (at / "netlist.v").read_text()
    write_if_changed(path, text + _models(top, text, models))
    return path


def _models(top: str, netlist: str, models: list[Path]) -> str:
    """Return the models of the primitives in a netlist that the bench does not bring."""
    found = {model.stem.upper(): model for model in models}
    brought = {model.stem.upper() for model in RTL.glob("*.v")}
    used = set(INSTANCE.findall(netlist))
    if unknown := sorted(used - found.keys() - brought):
        raise UserError(f"the netlist of {top} has a {unknown[0]}, of which there is no model")
    return "".join("\n" + found[name].read_text() for name in sorted(used & found.keys()))
