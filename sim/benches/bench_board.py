"""A unit on a board by its pins: the host's code in a thread, at the simulated line."""

import dataclasses
import json
import os
from pathlib import Path

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.task import bridge

from vitrtl.sim.benches.serial_line import SimulatedPort, powered
from vitrtl.sim.board import FOUND
from vitrtl.sw.boards.exercise import Comparison, exercise
from vitrtl.sw.boards.unit_client import UnitClient
from vitrtl.sw.catalog import unit
from vitrtl.sw.files import json_text, write_if_changed

JOB = json.loads(Path(os.environ["VITRTL_JOB"]).read_text())

def host(port: SimulatedPort) -> Comparison:
    """Do what `vitrtl exercise` does."""
    client = UnitClient(port, JOB["unit"], type(unit(JOB["unit"]).golden.spec()).fromdict(
        JOB["spec"]))
    client.start()
    return exercise(client, JOB["values"])


@cocotb.test
async def the_board_answers_as_the_golden_model(dut: SimHandleBase) -> None:
    """Every value, over the serial pins."""
    port = await powered(dut, JOB)
    found = await bridge(host)(port)
    write_if_changed(Path(JOB["folder"]) / FOUND, json_text(dataclasses.asdict(found)))
