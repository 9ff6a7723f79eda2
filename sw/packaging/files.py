"""The files of an IP core's package: Verilog, FuseSoC, Vivado, template, page."""

import dataclasses
from typing import Any

import jinja2

from vitrtl.sw.accelerator import registers
from vitrtl.sw.accelerator.program import BINARY_NAME
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.packaging.core import VERSION, AcceleratorCore, IpCore, UnitCore

__all__ = ["package_files"]


@dataclasses.dataclass(frozen=True, slots=True)
class Beat:
    """A line of the page's table of streams."""

    stream: str
    elements: int
    format: Format
    meaning: str

    @property
    def bytes(self) -> int:
        """Bytes of an element."""
        return -(-self.format.width // 8)


def package_files(core: IpCore) -> dict[str, str | bytes]:
    """Return the files of a core's folder, name to content."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("vitrtl.sw.packaging"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)

    def filled(template: str, **facts: Any) -> str:
        return environment.get_template(template).render(core=core, version=VERSION, **facts)

    files = {
        f"{core.module}.v": core.verilog,
        f"{core.module}.core": filled("fusesoc.core"),
        "package_ip.tcl": filled("package_ip.tcl"),
        f"{core.module}_template.v": filled("instance.v"),
    }
    if isinstance(core, AcceleratorCore):
        return files | {
            "README.md": filled("accelerator.md", registers=registers.markdown()),
            "vitrtl_accelerator.h": registers.c_header(core.spec),
            BINARY_NAME: core.program.memory,
        }
    return files | {"README.md": filled("unit.md", beats=_beats(core))}


def _beats(core: UnitCore) -> list[Beat]:
    """Return what a beat of each stream holds."""
    spec = core.spec
    if core.operator == "matmul":
        tile = f"a row of a weight tile, {spec.rows} beats to a tile; no TLAST"
        return [Beat("s_axis_w", spec.columns, spec.weight_format, tile),
                Beat("s_axis_a", spec.rows, spec.in_format,
                     "a slice of an activation row; TLAST ends the pass"),
                Beat("m_axis", spec.columns, spec.out_format,
                     "a slice of a result row; TLAST ends a block of rows")]
    return [Beat("s_axis", spec.lanes, spec.in_format, "elements of a row; TLAST ends it"),
            Beat("m_axis", spec.lanes, spec.out_format,
                 "elements of the row's result; TLAST ends it")]
