"""What is kept of a set of runs: one JSON record, from which every table is made."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from vitrtl.sim.accelerator_cycles import layer_cycles, simulated_spans, usage
from vitrtl.sim.accelerator_run import ImageResult
from vitrtl.sw.accelerator.predict import Bus, predict
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.network import IntegerNetwork

__all__ = ["FORMAT", "Clock", "record_of", "sweep_points"]

FORMAT = "vitrtl.accelerator_run"
VERSION = 1
MOST_TROUBLES = 20


@dataclasses.dataclass(frozen=True, slots=True)
class Clock:
    """Rate of the accelerator's clock, and who says so."""

    mhz: float
    source: str


def record_of(network: IntegerNetwork, program: Program, device: str, bus: Bus,
              results: Sequence[ImageResult], names: Sequence[str],
              labels: Sequence[int | None], clock: Clock | None) -> dict[str, Any]:
    """Return the record of some images under one bus.

    Parameters
    ----------
    results : of all images, in any order; the first one's with its records.
    names, labels : of the images; a label is None where it is not known.
    clock : None if it is not known either.
    """
    results = sorted(results, key=lambda result: result.image)
    first = results[0]
    # Without an end of every instruction there is nothing to tell of cycles.
    well = all(result.result.well for result in results) and all(
        len(done) == len(issued) == len(steps) for done, issued, steps in zip(
            first.records.done, first.records.issued, program.steps, strict=True))
    cycles = max(result.result.cycles for result in results)
    layers, used = [], None
    prediction = predict(program, bus)
    if well:
        spans = simulated_spans(first.records)
        layers = [dataclasses.asdict(layer) for layer in layer_cycles(
            program, prediction, spans, first.result.cycles)]
        used = dataclasses.asdict(usage(program, spans, first.result.cycles, first.result.beats))
    return {
        "format": FORMAT, "version": VERSION,
        "passed": not any(result.troubles for result in results),
        "network": {"name": network.name, "digest": network.digest},
        "device": device, "spec": program.spec.asdict(), "spec_digest": program.spec.digest,
        "program": {"digest": program.digest, "bytes": len(program.memory),
                    "instructions": {f"{i} {program.spec.engine_name(i)}": len(steps)
                                     for i, steps in enumerate(program.steps)}},
        "bus": dataclasses.asdict(bus),
        "images": [_image(result, names[result.image], labels[result.image])
                   for result in results],
        "unseen": dict(first.comparison.unseen),
        "cycles": {"simulated": cycles, "predicted": prediction.cycles},
        "layers": layers, "usage": used,
        "clock_mhz": clock and clock.mhz, "clock_source": clock and clock.source,
        "images_per_second": clock and round(clock.mhz * 1e6 / cycles, 3),
    }


def is_current(record: Any, key: str) -> bool:
    """Return whether a record is of runs that passed and would give the same again."""
    return (isinstance(record, dict) and record.get("format") == FORMAT
            and record.get("version") == VERSION and record.get("key") == key
            and record.get("passed") is True)


def sweep_points(results: Mapping[tuple[int, int], ImageResult], program: Program
                 ) -> list[dict[str, Any]]:
    """Return cycles and comparison of one image from several memories.

    Parameters
    ----------
    results : by latency in cycles and bandwidth in bytes a cycle.
    """
    return [{"latency": latency, "bandwidth": bandwidth, "cycles": result.result.cycles,
             "predicted": predict(program, result.bus).cycles,
             "values": result.comparison.values, "mismatches": result.comparison.mismatches,
             "troubles": list(result.troubles[:MOST_TROUBLES])}
            for (latency, bandwidth), result in results.items()]


def _image(result: ImageResult, name: str, label: int | None) -> dict[str, Any]:
    return {"image": name, "label": label, "class": int(result.logits.argmax()),
            "logits": result.logits.tolist(), "cycles": result.result.cycles,
            "beats": result.result.beats, "values": result.comparison.values,
            "mismatches": result.comparison.mismatches,
            "troubles": list(result.troubles[:MOST_TROUBLES])}
