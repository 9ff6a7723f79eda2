"""Registers at the ports of a netlist."""

import copy
import re

import pytest

from vitrtl.sw.cost.harness import register_ports
from vitrtl.sw.cost.report import ReportError
from vitrtl.sw.cost.target import load_target

REGISTER = load_target("ecp5-85k").place_and_route.register

# y[0] = a[0] and a[1], y[1] is constant.
NETLIST = {"creator": "a test", "modules": {
    "unused": {},
    "top": {
        "attributes": {"top": "1"},
        "ports": {"clk": {"direction": "input", "bits": [2]},
                  "a": {"direction": "input", "bits": [3, 4]},
                  "y": {"direction": "output", "bits": [5, "0"]}},
        "cells": {"and": {"type": "LUT4", "connections": {"A": [3], "B": [4], "Z": [5]}}},
        "netnames": {"a": {"bits": [3, 4]}, "y": {"bits": [5, "0"]}},
    },
}}


def test_every_port_bit_but_clock_and_constants_gets_one_register() -> None:
    module = register_ports(copy.deepcopy(NETLIST), "top", REGISTER)["modules"]["top"]
    assert list(module["ports"]) == ["clk"]
    added = {name: cell["connections"] for name, cell in module["cells"].items()
             if cell["type"] == REGISTER.cell}
    assert added.keys() == {"harness.a[0]", "harness.a[1]", "harness.y[0]"}
    assert all(pins["CLK"] == [2] for pins in added.values())
    assert added["harness.a[1]"]["Q"] == [4]
    assert added["harness.y[0]"]["DI"] == [5]
    assert added["harness.y[0]"]["Q"] == [6], "a net of its own"


def test_the_unit_itself_and_the_given_netlist_stay_as_they_were() -> None:
    netlist = copy.deepcopy(NETLIST)
    result = register_ports(netlist, "top", REGISTER)
    assert netlist == NETLIST
    assert result["modules"]["top"]["cells"]["and"] == NETLIST["modules"]["top"]["cells"]["and"]
    assert list(result["modules"]) == ["top"]


@pytest.mark.parametrize("top", ["unused", "absent"])
def test_a_netlist_without_the_module_or_its_clock_is_refused(top) -> None:
    message = f"netlist of {top}: no module {top} with one clk"
    with pytest.raises(ReportError, match=f"^{re.escape(message)}$"):
        register_ports(NETLIST, top, REGISTER)
