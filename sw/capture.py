"""Test vectors from a network: what each unit sees while the network runs on some images."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vitrtl.sw.catalog import OPERATORS, UNITS, Unit, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.executor import Executor
from vitrtl.sw.files import digest, json_text, read_json, write_if_changed
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.sources import digest_module
from vitrtl.sw.stimuli import answer, constants_for, synthetic_cases
from vitrtl.sw.vectors import (
    Case,
    MatMulCase,
    VectorSet,
    golden_digest,
    load,
    save,
    vector_path,
)

__all__ = ["INDEX", "Activations", "coverage_specs", "record", "specs_to_test", "write_index",
           "write_vectors"]

NARROW = {8: 6, 16: 8}
"""Width of an input that is tried beside the default one: of activations, of the stream."""

LONGEST_ROW = {"softmax": 1024, "gelu": 3072, "layernorm": 3072}
"""Row length that every unit must be able to hold, by operator."""

INDEX = "index.json"
"""Name of the file that lists the vector files of a folder."""


@dataclasses.dataclass(frozen=True, slots=True)
class Activations:
    """What passed through the nodes of a network.

    Parameters
    ----------
    network : which network.
    images : checksum of the images.
    seen : node name to its inputs and its result, each with a batch axis first.
    """

    network: IntegerNetwork
    images: str
    seen: dict[str, tuple[list[np.ndarray], np.ndarray]]


def record(network: IntegerNetwork, images: np.ndarray) -> Activations:
    """Run a network and keep what its units see."""
    parts: dict[str, list[tuple[list[np.ndarray], np.ndarray]]] = {}

    def observe(node: Node, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        if node.op in UNITS:
            batch = len(output)
            inputs = [np.broadcast_to(x, (batch, *x.shape)) if name in network.operands else x
                      for name, x in zip(node.inputs, inputs, strict=True)]
            parts.setdefault(node.name, []).append((list(inputs), output))

    Executor(network).run(images, observe)
    seen = {name: ([np.concatenate(column) for column in zip(*(i for i, _ in part), strict=True)],
                   np.concatenate([output for _, output in part]))
            for name, part in parts.items()}
    return Activations(network, digest(np.ascontiguousarray(images).tobytes()), seen)


def specs_to_test(network: IntegerNetwork | None) -> list[tuple[Unit, Spec]]:
    """Return every unit with each of the network's specs, or its default build if it has none.

    The variants that a unit names come as well.
    """
    used = network.units if network else {}
    pairs = []
    for entry in UNITS.values():
        golden = entry.golden
        specs = [*(used.get(entry.name) or [golden.spec()]), *golden.variants.values()]
        pairs += [(entry, spec) for spec in dict.fromkeys(specs)]
    return pairs


def coverage_specs() -> list[tuple[Unit, Spec]]:
    """Return every vector unit with 2, 4 and 8 lanes, narrow inputs and its longest rows."""
    pairs = []
    for entry in UNITS.values():
        default = entry.golden.spec()
        if not isinstance(default, VectorSpec):
            continue
        narrow = {"in_width": NARROW[default.in_format.width]} if hasattr(
            default, "in_width") and default.in_format.width in NARROW else {}
        longest = {"longest_row": LONGEST_ROW[entry.operator]} if hasattr(
            default, "longest_row") else {}
        pairs += [(entry, dataclasses.replace(default, lanes=lanes, **changes))
                  for lanes, changes in ((2, narrow), (4, {}), (8, longest))]
    return pairs


def write_vectors(folder: Path, entry: Unit, spec: Spec, activations: Activations | None) -> Path:
    """Write the vectors of one unit, unless they are there already."""
    network = activations.network.digest if activations else None
    made_from = digest(entry.name, spec.digest, golden_digest(entry.name), str(network),
                       activations.images if activations else "",
                       digest_module("vitrtl.sw.capture"))
    path = vector_path(folder, entry.name, spec)
    if path.is_file() and _made_from(path) == made_from:
        return path
    cases: list[Case | MatMulCase] = []
    if activations:
        for node in _nodes_of(activations.network, entry):
            cases += _network_cases(activations, node, entry, spec)
    cases += synthetic_cases(entry, spec)
    save(VectorSet(unit=entry.name, spec=spec, network=network,
                   golden=golden_digest(entry.name), made_from=made_from, cases=tuple(cases)),
         path)
    return path


def write_index(folder: Path, network: str | None, paths: list[Path], merge: bool = False) -> None:
    """List the vector files that belong together.

    Parameters
    ----------
    merge : keep the files of the same network that are listed already.
    """
    path = Path(folder) / INDEX
    files = [p.name for p in paths]
    if merge and path.is_file():
        before = read_json(path)
        if before["network"] == network:
            files += [name for name in before["files"] if name not in files]
    write_if_changed(path, json_text({"network": network, "files": sorted(files)}))


def _made_from(path: Path) -> str | None:
    """Return what an existing file was made from, None if it is damaged."""
    try:
        return load(path).made_from
    except UserError:
        return None


def _nodes_of(network: IntegerNetwork, entry: Unit) -> list[Node]:
    """Return the nodes of a unit's operator: any method must be able to take their rows."""
    return [node for node in network.nodes
            if node.op in UNITS and unit(node.op).operator == entry.operator]


def _network_cases(activations: Activations, node: Node, entry: Unit,
                   spec: Spec) -> list[Case | MatMulCase]:
    """Return the cases of one node, with the constants that it has or, by another method, had."""
    inputs, output = activations.seen[node.name]
    own = node.op == entry.name and node.spec.digest == spec.digest
    if entry.operator == "matmul":
        return _products(node, entry, spec, inputs, output) if own else []
    rows = inputs[0].reshape(-1, inputs[0].shape[-1]).astype(np.int64)
    if own:
        constants = node.unit_constants
    elif entry.operator in OPERATORS:
        scale = activations.network.values[node.inputs[0]].scale
        try:
            constants = constants_for(entry, spec, scale[0], rows)
        except ValueError as error:
            raise UserError(f"{entry.name} cannot take the place of {node.op} in {node.name}: "
                            f"{error}") from None
    else:
        return []
    case = answer(entry, spec, "network", node.name, constants, list(rows))
    if own and not np.array_equal(case.expected, output.ravel()):
        raise RuntimeError(f"{node.name}: the executor and the golden function differ")
    return [case]


def _products(node: Node, entry: Unit, spec: Spec, inputs: list[np.ndarray],
              output: np.ndarray) -> list[MatMulCase]:
    """Return one case per image and attention head."""
    transposed = bool(node.constants.get("transposed", 0))
    a, b = inputs
    # One weight matrix serves all windows of an image; attention has one for each head as well.
    b = b.reshape(len(b), *[1] * (a.ndim - b.ndim), *b.shape[1:])
    b = np.broadcast_to(b, (*a.shape[:-2], *b.shape[-2:]))
    a, b = (x.reshape(-1, *x.shape[-2:]).astype(np.int64) for x in (a, b))
    b = b.swapaxes(-1, -2) if transposed else b
    expected = entry.golden.function(a, b, spec)
    if not np.array_equal(expected.ravel(), output.ravel()):
        raise RuntimeError(f"{node.name}: the executor and the golden function differ")
    return [MatMulCase(kind="network", name=f"{node.name} {i}", transposed=transposed, a=a[i],
                       b=b[i], expected=expected[i]) for i in range(len(a))]
