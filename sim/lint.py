"""Verilator's strictest reading of generated Verilog, and the list of what is let pass and why."""

import dataclasses
import re
import subprocess
import tempfile
from pathlib import Path

from vitrtl.sim.build import RTL
from vitrtl.sim.toolchain import compile_environment, require_programs, verilator_program

__all__ = ["WAIVERS", "Waiver", "lint"]


@dataclasses.dataclass(frozen=True, slots=True)
class Waiver:
    """Warnings that are let pass.

    Parameters
    ----------
    rule : Verilator's name of the warning.
    pattern : regular expression that the message must match.
    reason : why it says nothing about the design.
    """

    rule: str
    pattern: str
    reason: str


WAIVERS = (
    Waiver("WIDTHEXPAND", r"", "Yosys lets Verilog extend the narrower operand, which is exact"),
    Waiver("WIDTHTRUNC", r"Logical operator LOGNOT", "Yosys writes `!vector` for `vector == 0`"),
    Waiver("UNUSEDSIGNAL", r"", "Amaranth names every field of a stream, also where none reads it"),
    Waiver("PROCASSINIT", r"", "the initial value is the one after configuration; reset sets it"),
    Waiver("CASEINCOMPLETE", r"", "Yosys assigns the default before the case"),
    Waiver("CMPCONST", r"limited range", "a clamp that the widths of this spec never need"),
    Waiver("PINMISSING", r"Instance has missing pin: '(CLK|CE|RST|SIGNEDP|DO[AB])",
           "inputs of the device's blocks that are not used have defaults, outputs no reader"),
    Waiver("DECLFILENAME", r"", "one file holds a unit with all its inner modules"),
    Waiver("VARHIDDEN", r"in upper scope", "a signal may have the name of the instance it is in"),
)

MESSAGE = re.compile(r"%(?:Warning|Error)-?(?P<rule>\w*): (?P<place>[^:]*):\d+:\d+: (?P<text>.*)")


def lint(verilog: str, module: str) -> list[str]:
    """Return the warnings about one unit that no waiver covers."""
    require_programs()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{module}.v"
        path.write_text(verilog)
        models = sorted(str(model) for model in RTL.glob("*.v")
                        if model.stem.upper() in verilog)
        result = subprocess.run(
            [str(verilator_program()), "--lint-only", "-Wall", "-Wno-fatal", "--top-module", module,
             str(path), *models], env=compile_environment(Path(folder)), capture_output=True,
            text=True, check=False)
    found = []
    for line in result.stderr.splitlines():
        message = MESSAGE.match(line)
        if message is None:
            if line.startswith("%Error"):
                found.append(line)
        elif message["place"].endswith(f"{module}.v") and not _waived(message):
            found.append(f"{message['rule'] or 'error'}: {message['text']}")
    return found


def _waived(message: re.Match[str]) -> bool:
    return any(waiver.rule == message["rule"] and re.search(waiver.pattern, message["text"])
               for waiver in WAIVERS)

