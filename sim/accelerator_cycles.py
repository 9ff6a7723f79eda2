"""Where the cycles of a run go: layer by layer, as predicted and as simulated."""

import dataclasses
import re
from collections.abc import Sequence

import numpy as np

from vitrtl.sim.accelerator_records import Records
from vitrtl.sw.accelerator.cycles import summarize
from vitrtl.sw.accelerator.predict import Prediction
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.spec import ARRAY

__all__ = ["BLOCK", "LayerCycles", "Spans", "Usage", "layer_cycles", "merged",
           "node_window", "simulated_spans", "usage"]

BLOCK = re.compile(r"\.(\d+)\.")

Spans = tuple[np.ndarray, ...]
"""For each engine, first and last cycle of every instruction, (instructions, 2)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LayerCycles:
    """A layer's part of a run, see `vitrtl.sw.accelerator.cycles.summarize`.

    Parameters
    ----------
    name : of the layer.
    macs : useful multiplications.
    predicted, simulated : cycles.
    """

    name: str
    macs: int
    predicted: int
    simulated: int

    @property
    def difference(self) -> float:
        """Simulated minus predicted, as a share of the simulated cycles."""
        return (self.simulated - self.predicted) / max(1, self.simulated)

    def utilization(self, size: int) -> float:
        """Return useful multiplications per multiplier and cycle, two at most if paired."""
        return self.macs / max(1, self.simulated) / size**2


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How a run used the accelerator.

    Parameters
    ----------
    cycles : of the run.
    utilization : useful multiplications per multiplier and cycle, two at most if paired.
    array : share of the cycles in which the array took activations.
    exposed : share of the cycles in which the array had nothing to do while a vector engine worked.
    engines : share of the cycles in which each engine had an instruction, by name.
    """

    cycles: int
    utilization: float
    array: float
    exposed: float
    engines: dict[str, float]


def simulated_spans(records: Records) -> Spans:
    """Return the spans of a run that ended well."""
    return tuple(np.stack([issued, done], axis=1)
                 for issued, done in zip(records.issued, records.done, strict=True))


def node_window(program: Program, records: Records, node: str) -> tuple[int, int] | None:
    """Return the cycle in which a node's first instruction begins, and the one after its last one
    ends; None if none has ended."""
    found = [(issued, done) for engine, steps in enumerate(program.steps)
             for step, issued, done in zip(steps, records.issued[engine], records.done[engine],
                                           strict=False)
             if step.node == node]
    if not found:
        return None
    return int(min(first for first, _ in found)), int(max(last for _, last in found)) + 1


def layer_cycles(program: Program, prediction: Prediction, simulated: Spans,
                 cycles: int) -> list[LayerCycles]:
    """Return the parts of all layers, in the order in which they begin.

    Parameters
    ----------
    cycles : of the simulated run.
    """
    planned, done = (summarize(program, total, spans)["layers"] for total, spans in (
        (prediction.cycles, prediction.spans), (cycles, simulated)))
    return [LayerCycles(name=one["name"], macs=one["macs"], predicted=one["cycles"],
                        simulated=other["cycles"])
            for one, other in zip(planned, done, strict=True)]


def merged(layers: Sequence[LayerCycles]) -> list[LayerCycles]:
    """Return the layers with those of all blocks taken together."""
    found: dict[str, LayerCycles] = {}
    for layer in layers:
        name = BLOCK.sub(".*.", layer.name)
        before = found.get(name, LayerCycles(name=name, macs=0, predicted=0, simulated=0))
        found[name] = LayerCycles(name=name, macs=before.macs + layer.macs,
                                  predicted=before.predicted + layer.predicted,
                                  simulated=before.simulated + layer.simulated)
    return list(found.values())


def usage(program: Program, simulated: Spans, cycles: int, beats: int) -> Usage:
    """Return how a run used the accelerator.

    Parameters
    ----------
    cycles, beats : of the run, from its registers.
    """
    spec = program.spec
    busy = np.stack([_busy(spans, cycles) for spans in simulated])
    total = summarize(program, cycles, simulated)
    exposed = busy[ARRAY + 1:].any(axis=0) & ~busy[ARRAY]
    return Usage(cycles=cycles, utilization=total["utilization"], array=beats / cycles,
                 exposed=float(exposed.mean()),
                 engines={f"{i} {spec.engine_name(i)}": float(row.mean())
                          for i, row in enumerate(busy)})


def _busy(spans: np.ndarray, cycles: int) -> np.ndarray:
    """Return for every cycle whether an instruction is at work."""
    change = np.zeros(cycles + 2, np.int64)
    inside = np.minimum(spans, cycles)
    np.add.at(change, inside[:, 0], 1)
    np.add.at(change, inside[:, 1] + 1, -1)
    return np.cumsum(change)[:cycles] > 0
