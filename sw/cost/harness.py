"""Registers at every port of a synthesized unit, so that every path is from register to register.

The registers are added to the netlist after synthesis: the gates that are placed are exactly
those that were counted.
"""

from collections.abc import Mapping
from typing import Any

from vitrtl.sw.cost.report import ReportError
from vitrtl.sw.cost.target import Register

__all__ = ["CLOCK", "register_ports"]

CLOCK = "clk"
"""Name of every unit's clock port."""

Netlist = dict[str, Any]


def register_ports(netlist: Netlist, top: str, register: Register) -> Netlist:
    """Return a netlist of the top module alone, with a register at every port bit but the clock.

    Parameters
    ----------
    netlist : as `write_json` of Yosys writes it.
    top : name of the unit's module.
    register : the target's flip-flop.

    Raises
    ------
    ReportError
        If the netlist has no such module, or the module no clock.
    """
    try:
        module = netlist["modules"][top]
        ports, cells = module["ports"], module["cells"]
        (clock,) = ports[CLOCK]["bits"]
    except (KeyError, TypeError, ValueError):
        raise ReportError(f"netlist of {top}: no module {top} with one {CLOCK}") from None

    net = 1 + max(_nets(module))
    added = {}
    for name, port in ports.items():
        if name == CLOCK:
            continue
        for index, bit in enumerate(port["bits"]):
            if port["direction"] == "output":
                # A result that synthesis found constant ends no path.
                if not isinstance(bit, int):
                    continue
                data, output = bit, net
                net += 1
            else:
                data, output = "0", bit
            added[f"harness.{name}[{index}]"] = _register(register, clock, data, output)
    return {"creator": netlist.get("creator", ""), "modules": {top: {
        **module, "ports": {CLOCK: ports[CLOCK]}, "cells": {**cells, **added}}}}


def _nets(module: Mapping[str, Any]) -> set[int]:
    """Return the numbers of all nets."""
    groups = [port["bits"] for port in module["ports"].values()]
    groups += [net["bits"] for net in module["netnames"].values()]
    groups += [bits for cell in module["cells"].values() for bits in cell["connections"].values()]
    return {bit for bits in groups for bit in bits if isinstance(bit, int)}


def _register(register: Register, clock: int, data: int | str, output: int) -> dict[str, Any]:
    """Build one flip-flop cell."""
    connections = {register.clock: [clock], register.data: [data], register.output: [output],
                   **{pin: [value] for pin, value in register.tied.items()}}
    return {
        "hide_name": 0,
        "type": register.cell,
        "parameters": dict(register.parameters),
        "attributes": {},
        "port_directions": {pin: "output" if pin == register.output else "input"
                            for pin in connections},
        "connections": connections,
    }
