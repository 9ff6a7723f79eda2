"""The accelerator's IP core in Verilator between cocotbext-axi's drivers."""

from pathlib import Path

import numpy as np

from vitrtl.sim.axi import BENCH
from vitrtl.sim.build import build_model
from vitrtl.sim.simulator import run_bench
from vitrtl.sw.accelerator.program import save
from vitrtl.sw.executor import Executor
from vitrtl.sw.files import json_text, write_if_changed
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.packaging.core import AcceleratorCore

__all__ = ["simulate_accelerator_core"]

TESTS = "bench_accelerator_axi"


def simulate_accelerator_core(core: AcceleratorCore, network: IntegerNetwork, images: np.ndarray,
                              build: Path, seed: int = 1, quick: bool = False) -> list[str]:
    """Run images on a core, with and without pauses; return what failed, one line each.

    Parameters
    ----------
    core : what is simulated, by its Verilog.
    network : that its program was compiled from; gives the logits that are expected.
    images : u8, (images, channels, height, width).
    build : folder of the simulation.
    seed : of the pauses.
    quick : see `build_model`.

    Raises
    ------
    BuildError
        If the simulation ends early.
    """
    width = {port.name: port.width for port in core.ports}
    model = build_model(core.verilog, BENCH, {
        "UNIT": core.module, "ACCELERATOR": 1, "BUS_BYTES": width["m_axi_rdata"] // 8,
        "ID_BITS": width["m_axi_arid"], "ADDRESS_BITS": width["s_axi_awaddr"]}, build, quick=quick)
    folder = (build / "cores" / core.module).resolve()
    save(core.program, folder / "program")
    np.save(folder / "images.npy", images)
    logits = Executor(network).run(images)
    write_if_changed(folder / "job.json", json_text({
        "program": str(folder / "program"), "images": str(folder / "images.npy"),
        "logits": logits.tolist(), "reset_cycles": core.reset_cycles, "seed": seed}))
    return run_bench(BENCH, model, folder, module=TESTS, seed=seed)
