"""A whole design of a board in Verilator, pins and all, with the host's own code outside."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.hw.accelerator.system import serial_system
from vitrtl.hw.board_top import board_verilog
from vitrtl.hw.stream_shell import StreamShell
from vitrtl.hw.verilog import module_name
from vitrtl.sim.build import RTL, BuildError, build_model
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.accelerator.program import Program, save
from vitrtl.sw.boards.board import Board
from vitrtl.sw.boards.demonstration import Shown
from vitrtl.sw.boards.exercise import Comparison
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.golden.unit import Spec

__all__ = ["BENCH", "FOUND", "simulate_demonstration", "simulate_exercise"]

BENCH = "bench_board"
FOUND = "found.json"
"""What the bench leaves: the fields of a `Comparison`, or of each `Shown`."""


def simulate_exercise(board: Board, name: str, spec: Spec, values: int, build: Path,
                      verilog: str | None = None) -> Comparison:
    """Play the cases of `vitrtl.sw.boards.exercise` on a simulated board.

    Parameters
    ----------
    board : with an ECP5, whose clock multiplier has a model, or without a multiplier.
    name, spec : the unit on it.
    values : of each kind of case at most.
    build : folder of the simulation.
    verilog : of the whole design; what `vitrtl build` would take if not given.

    Raises
    ------
    UserError
        If the board's device has no model.
    BuildError
        If the design does not answer.
    """
    _check(board)
    if verilog is None:
        verilog = board_verilog(board, StreamShell(unit(name).gates(spec), identity(name, spec)))
    found = _simulate(board, f"{board.name}.{name}", verilog, BENCH, build, module_name(name, spec),
                      {"unit": name, "spec": spec.asdict(), "values": values})
    return Comparison(**{field.name: found[field.name]
                         for field in dataclasses.fields(Comparison)})


def simulate_demonstration(board: Board, program: Program, images: np.ndarray,
                           golden_logits: np.ndarray, build: Path, *,
                           quick: bool = False) -> list[Shown]:
    """Show images to the accelerator on a simulated board.

    Parameters
    ----------
    board : as for `simulate_exercise`.
    program : what is in its memory from the start.
    images, golden_logits : as for `vitrtl.sw.boards.demonstration.demonstrate`.
    build : folder of the simulation.
    quick : whether it is built rather than run quickly.

    Raises
    ------
    UserError
        If the board's device has no model.
    BuildError
        If the design does not answer.
    """
    _check(board)
    verilog = board_verilog(board, serial_system(program))
    folder = build / "boards" / board.name / program.network
    save(program, folder)
    np.save(folder / "images.npy", images)
    np.save(folder / "golden.npy", golden_logits)
    found = _simulate(board, f"{board.name}.accelerator", verilog, "bench_demonstration", build,
                      program.network, {}, quick)
    return [Shown(**fields) for fields in found]


def _check(board: Board) -> None:
    if board.flow.name == "vivado":
        raise UserError(f"board must have an ECP5 or iCE40 to be simulated, not {board.part}")


def _simulate(board: Board, title: str, verilog: str, module: str, build: Path, place: str,
              job: dict[str, Any], quick: bool = False) -> Any:
    """Return what a bench of a whole design finds.

    Parameters
    ----------
    title : of the simulator.
    module : of the bench's tests.
    place : name of the folder where it works.
    job : what the tests need to know, beside the board.
    quick : whether it is built rather than run quickly.
    """
    models = [(RTL / "ecp5" / "ehxplll.v").read_text()] if "EHXPLLL" in verilog else []
    defines = {"UNIT": title, "HALF_PERIOD": round(5e5 / board.oscillator_mhz)}
    model = build_model("\n".join([*models, verilog]), BENCH, defines, build, quick=quick)
    folder = build / "boards" / board.name / place
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FOUND).unlink(missing_ok=True)
    write_if_changed(folder / "job.json", json_text({
        **job, "folder": str(folder.resolve()), "baud": board.baud,
        "led_inverted": board.pins["led"].inverted}))
    if failures := run_bench(BENCH, model, folder, module=module):
        raise BuildError("; ".join(failures))
    return json.loads((folder / FOUND).read_text())
