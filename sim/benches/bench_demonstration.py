"""An accelerator on a board by its pins: the host's code in a thread, at the simulated line."""

import dataclasses
import json
import os
from pathlib import Path

import cocotb
import numpy as np
from cocotb.handle import SimHandleBase
from cocotb.task import bridge

from vitrtl.sim.benches.serial_line import SimulatedPort, powered
from vitrtl.sim.board import FOUND
from vitrtl.sw.accelerator.program import load
from vitrtl.sw.boards.accelerator_client import AcceleratorClient
from vitrtl.sw.boards.demonstration import demonstrate
from vitrtl.sw.files import json_text, write_if_changed

JOB = json.loads(Path(os.environ["VITRTL_JOB"]).read_text())
FOLDER = Path(JOB["folder"])

PATIENCE_SECONDS = 3600
"""That the simulator may take for an image."""


def host(port: SimulatedPort) -> list[dict]:
    """Do what `vitrtl demo` does."""
    client = AcceleratorClient(port, load(FOLDER))
    client.start()
    assert client.holds_program(), "the memory must hold the program from the start"
    return [dataclasses.asdict(shown) for shown in demonstrate(
        client, np.load(FOLDER / "images.npy"), np.load(FOLDER / "golden.npy"),
        PATIENCE_SECONDS)]


@cocotb.test
async def the_board_answers(dut: SimHandleBase) -> None:
    """Every image, over the serial pins."""
    port = await powered(dut, JOB)
    write_if_changed(FOLDER / FOUND, json_text(await bridge(host)(port)))
