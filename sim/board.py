"""A whole design of a board in Verilator, pins and all, with the host's own code outside."""

import dataclasses
import json
from pathlib import Path

from vitrtl.hw.board_top import board_verilog
from vitrtl.hw.stream_shell import StreamShell
from vitrtl.hw.verilog import module_name
from vitrtl.sim.build import RTL, BuildError, build_model
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.boards.board import Board
from vitrtl.sw.boards.exercise import Comparison
from vitrtl.sw.boards.protocol import identity
from vitrtl.sw.catalog import unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.golden.unit import Spec

__all__ = ["BENCH", "FOUND", "simulate_exercise"]

BENCH = "bench_board"
FOUND = "found.json"
"""What the bench leaves: the fields of a `Comparison`."""


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
    if board.flow.name == "vivado":
        raise UserError(f"board must have an ECP5 or iCE40 to be simulated, not {board.part}")
    if verilog is None:
        verilog = board_verilog(board, StreamShell(unit(name).gates(spec), identity(name, spec)))
    models = [(RTL / "ecp5" / "ehxplll.v").read_text()] if "EHXPLLL" in verilog else []
    defines = {"UNIT": f"{board.name}.{name}", "HALF_PERIOD": round(5e5 / board.oscillator_mhz)}
    model = build_model("\n".join([*models, verilog]), BENCH, defines, build)
    folder = build / "boards" / board.name / module_name(name, spec)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FOUND).unlink(missing_ok=True)
    write_if_changed(folder / "job.json", json_text({
        "folder": str(folder.resolve()), "unit": name, "spec": spec.asdict(), "values": values,
        "baud": board.baud, "led_inverted": board.pins["led"].inverted}))
    if failures := run_bench(BENCH, model, folder):
        raise BuildError("; ".join(failures))
    found = json.loads((folder / FOUND).read_text())
    return Comparison(**{field.name: found[field.name]
                         for field in dataclasses.fields(Comparison)})
