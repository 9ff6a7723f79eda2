"""Where the cycles of a program go: layer by layer and engine by engine."""

from collections.abc import Mapping, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from vitrtl.sw.accelerator.compiler import predict_network
from vitrtl.sw.accelerator.instruction import Step
from vitrtl.sw.accelerator.predict import Bus, predict
from vitrtl.sw.accelerator.program import Program
from vitrtl.sw.accelerator.sizing import size_accelerator
from vitrtl.sw.accelerator.spec import ARRAY
from vitrtl.sw.errors import UserError
from vitrtl.sw.network import IntegerNetwork

__all__ = ["END", "layer_cycles", "network_cycles", "summarize", "summary"]

END = "results to memory"
"""Name of what follows the array's last result."""


_FOUND: WeakKeyDictionary[IntegerNetwork, dict[str, int] | None] = WeakKeyDictionary()


def network_cycles(network: IntegerNetwork) -> int | None:
    """Return the predicted cycles of one image on the accelerator that suits a network.

    None if no accelerator runs it, as that of a Swin, of log2 codes or of layers in float.
    """
    found = layer_cycles(network)
    return None if found is None else sum(found.values())


def layer_cycles(network: IntegerNetwork) -> Mapping[str, int] | None:
    """Return the cycles of `network_cycles` by the array's layers, as in `summarize`.

    Predicted once for each network.
    """
    if network not in _FOUND:
        _FOUND[network] = _layer_cycles(network)
    return _FOUND[network]


def _layer_cycles(network: IntegerNetwork) -> dict[str, int] | None:
    try:
        steps, prediction = predict_network(network, size_accelerator(network))
    except UserError:
        return None
    return _by_layer(steps[ARRAY], prediction.spans[ARRAY], prediction.cycles)


def summary(program: Program, bus: Bus | None = None) -> dict[str, Any]:
    """Return the predicted cycles of a program, as JSON values, see `summarize`.

    Parameters
    ----------
    bus : the memory; one that answers at once if not given.
    """
    if bus is None:
        return summarize(program, program.predicted_cycles, [
            np.array(one, np.int64).reshape(-1, 2) for one in program.predicted])
    prediction = predict(program, bus)
    return summarize(program, prediction.cycles, prediction.spans)


def summarize(program: Program, cycles: int, spans: Sequence[np.ndarray]) -> dict[str, Any]:
    """Return where the cycles of a run go, as JSON values.

    The array ends one instruction after the other, so the time between two ends belongs to the
    later one, with all that it waited for: the cycles of the layers add up to those of the run.

    Parameters
    ----------
    cycles : of the run, predicted or simulated.
    spans : as in `Prediction`.

    Returns
    -------
    `cycles` of the run; `macs`, the multiplications that the network asks for; `utilization`,
    useful multiplications per multiplier and cycle, two at most where they are paired; `engines`,
    the cycles in which each has an instruction; `layers`, each with its name, `cycles`, `busy`
    cycles in which the array takes activations, `macs` and `utilization`.
    """
    size = program.spec.size
    layers = {name: {"name": name, "cycles": of_layer, "busy": 0, "macs": 0} for name, of_layer
              in _by_layer(program.steps[ARRAY], spans[ARRAY], cycles).items()}
    for step, (fields, _) in zip(program.steps[ARRAY], program.instructions[ARRAY], strict=True):
        layer = layers[_layer(step)]
        layer["busy"] += fields["rows"] * fields["k_tiles"] * fields["n_tiles"]
        layer["macs"] += step.macs
    for layer in layers.values():
        layer["utilization"] = layer["macs"] / max(1, layer["cycles"]) / size**2
    macs = sum(layer["macs"] for layer in layers.values())
    return {"cycles": cycles, "macs": macs, "utilization": macs / cycles / size**2,
            "engines": {f"{i} {program.spec.engine_name(i)}": _busy(one)
                        for i, one in enumerate(spans)},
            "layers": list(layers.values())}


def _by_layer(steps: Sequence[Step], spans: np.ndarray, cycles: int) -> dict[str, int]:
    """Return the cycles between the ends of the array's instructions by layer, and those after."""
    found: dict[str, int] = {}
    before = 0
    for step, end in zip(steps, spans[:, 1].tolist(), strict=True):
        found[_layer(step)] = found.get(_layer(step), 0) + end - before
        before = end
    return found | {END: cycles - before}


def _layer(step: Step) -> str:
    """Return the name of the layer that an instruction of the array is of."""
    return step.label.split()[0]


def _busy(spans: np.ndarray) -> int:
    """Return the cycles in which an engine has an instruction; those overlap."""
    if not len(spans):
        return 0
    # An engine begins its instructions in order.
    reached = np.maximum.accumulate(spans[:, 1])
    before = np.concatenate([[0], reached[:-1]])
    return int(np.maximum(0, spans[:, 1] - np.maximum(spans[:, 0], before)).sum())
