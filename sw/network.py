"""The integer network: a graph of units and integers that needs no float to run.

On disk it is a folder with `network.safetensors`, the integers, and `network.json`, the graph and
what made it. `vitrtl.sw.executor` runs it; `vitrtl.sw.ptq.quantize` makes it.
"""

import dataclasses
import functools
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
from safetensors.numpy import load as parse_tensors
from safetensors.numpy import save as dump_tensors

from vitrtl.sw import structure
from vitrtl.sw.candidate import candidate_of
from vitrtl.sw.catalog import ALL, OPERATORS, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, existing, json_text, read_json, write_if_changed
from vitrtl.sw.golden.fixed_point import Format, require
from vitrtl.sw.golden.unit import Spec, VectorSpec
from vitrtl.sw.reference import real

__all__ = ["FORMAT", "VERSION", "IntegerNetwork", "Node", "Value", "load", "save"]

FORMAT = "vitrtl.network"
VERSION = 2
JSON_NAME = "network.json"
TENSORS_NAME = "network.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """What flows from node to node, or a constant operand.

    Parameters
    ----------
    format : integer format of an element.
    shape : of one image's value, no batch axis; of the tensor for a constant operand.
    scale : what a code of 1 stands for, for information only: nothing is computed from it when
        the network runs. One for the value, or one per element of the last axis.
    operand : how a code stands for a number, see `VectorSpec`; a log2 code needs no scale.
    """

    format: Format
    shape: tuple[int, ...]
    scale: tuple[Fraction, ...]
    operand: str = "linear"

    def real(self, codes: np.ndarray) -> np.ndarray:
        """Return the float64 numbers that codes stand for, to compare them with a float network."""
        return real(codes, np.array([float(s) for s in self.scale]), self.operand)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Node:
    """One operation; its result is the value of the same name.

    Parameters
    ----------
    name : also of the value that it computes.
    op : name of a unit of the catalogue, or of an operation of `vitrtl.sw.structure`.
    inputs : names of values, activations before constant operands.
    spec : build-time numbers of the unit; None for a structural operation.
    constants : run-time constants of the unit by name; stored as tensors `<node>.<constant>`.
    attributes : integers that a structural operation needs.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    spec: Spec | None = None
    constants: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    attributes: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def output(self) -> str:
        """Name of the value that the node computes."""
        return self.name

    @property
    def unit_constants(self) -> Any:
        """Run-time constants as the unit's own `Constants`."""
        values = {name: array.astype(np.int64) if array.ndim else int(array)
                  for name, array in self.constants.items()}
        return unit(self.op).golden.constants(**values)


@dataclasses.dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """A whole network, image codes to integer logits.

    Parameters
    ----------
    name : of the float network.
    nodes : in an order in which they can run; the last one computes the logits.
    values : every value by name: the input, each node's result, the constant operands.
    operands : constant operands (weights, class token, position embedding) by value name.
    input : name of the value that holds the image's pixels.
    provenance : command, seed, calibration images, versions, checksums; JSON values.

    Raises
    ------
    UserError
        If an operation, an operand, a format or a shape does not fit.
    """

    name: str
    nodes: tuple[Node, ...]
    values: Mapping[str, Value]
    operands: Mapping[str, np.ndarray]
    input: str = "image"
    provenance: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self)

    @property
    def output(self) -> str:
        """Name of the value that holds the logits."""
        return self.nodes[-1].output

    @property
    def methods(self) -> dict[str, str]:
        """Candidate of each layer that offers a choice of method, by layer name."""
        return {node.name: candidate_of(node.op, node.spec).name for node in self.nodes
                if node.op in ALL and ALL[node.op].operator in OPERATORS}

    @property
    def units(self) -> dict[str, list[Spec]]:
        """Distinct specs of each unit that the network needs, by unit name."""
        specs: dict[str, dict[str, Spec]] = {}
        for node in self.nodes:
            if node.spec is not None:
                specs.setdefault(node.op, {})[node.spec.digest] = node.spec
        return {name: list(by_digest.values()) for name, by_digest in sorted(specs.items())}

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """Every integer of the network, by the name that it has in the file."""
        tensors = dict(self.operands)
        for node in self.nodes:
            for name, array in node.constants.items():
                tensors[f"{node.name}.{name}"] = array
        return tensors

    @functools.cached_property
    def digest(self) -> str:
        """Checksum of graph and integers: equal networks compute equal logits."""
        tensors = self.tensors
        parts: list[str | bytes] = [json_text(_graph(self))]
        for name in sorted(tensors):
            # Not ascontiguousarray, which would give a scalar an axis.
            array = np.asarray(tensors[name], _little(tensors[name].dtype), order="C")
            parts += [f"{name} {array.dtype.str} {array.shape}", array.tobytes()]
        return digest(*parts)

    def node(self, name: str) -> Node:
        """Return the node of that name."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise UserError(f"network {self.name} has no node {name!r}")


def save(network: IntegerNetwork, folder: Path) -> None:
    """Write `network.safetensors` and then `network.json`, which vouches for it.

    An interruption between the two leaves a pair that `load` refuses.
    """
    folder = Path(folder)
    blob = dump_tensors({name: np.asarray(array, order="C")
                         for name, array in network.tensors.items()})
    head = {"format": FORMAT, "version": VERSION, "digest": network.digest,
            "tensors": digest(blob), "provenance": network.provenance, **_graph(network)}
    write_if_changed(folder / TENSORS_NAME, blob)
    write_if_changed(folder / JSON_NAME, json_text(head))


def load(folder: Path) -> IntegerNetwork:
    """Read a network that `save` wrote.

    Raises
    ------
    UserError
        One line, if a file is missing or damaged, of another format or version, or if the two
        files do not belong together.
    """
    path = Path(folder) / JSON_NAME
    head = read_json(path)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise UserError(f"{path} is not a {FORMAT} file")
    if head.get("version") != VERSION:
        raise UserError(f"{path} must have version {VERSION}, not {head.get('version')!r}")
    tensors_path = Path(folder) / TENSORS_NAME
    blob = existing(tensors_path).read_bytes()
    if digest(blob) != head.get("tensors"):
        raise UserError(f"{tensors_path} does not have the checksum that {path} states; "
                        "make the network again")
    try:
        tensors = parse_tensors(blob)
        network = _parse(head, tensors)
    except safetensors.SafetensorError as error:
        raise UserError(f"{tensors_path} is damaged: {error}") from None
    except KeyError as error:
        raise UserError(f"{path} or its tensors lack {error}") from None
    except (TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} is damaged: {error}") from None
    if network.digest != head.get("digest"):
        raise UserError(f"{path} does not have the digest that it states; make the network again")
    return network


def _graph(network: IntegerNetwork) -> dict[str, Any]:
    """Return everything but integers and provenance as JSON values."""
    return {
        "name": network.name,
        "input": network.input,
        "values": {name: {"format": str(value.format), "shape": list(value.shape),
                          "scale": [str(s) for s in value.scale], "operand": value.operand}
                   for name, value in network.values.items()},
        "operands": sorted(network.operands),
        "nodes": [{"name": node.name, "op": node.op, "inputs": list(node.inputs),
                   "spec": None if node.spec is None else node.spec.asdict(),
                   "constants": sorted(node.constants), "attributes": dict(node.attributes)}
                  for node in network.nodes],
    }


def _parse(head: dict[str, Any], tensors: dict[str, np.ndarray]) -> IntegerNetwork:
    nodes = []
    for node in head["nodes"]:
        spec = node["spec"]
        if spec is not None:
            spec = unit(node["op"]).golden.spec.fromdict(spec)
        nodes.append(Node(
            name=node["name"], op=node["op"], inputs=tuple(node["inputs"]), spec=spec,
            constants={name: tensors[f"{node['name']}.{name}"] for name in node["constants"]},
            attributes=node["attributes"]))
    values = {name: Value(format=Format.parse(value["format"]), shape=tuple(value["shape"]),
                          scale=tuple(Fraction(s) for s in value["scale"]),
                          operand=value["operand"])
              for name, value in head["values"].items()}
    return IntegerNetwork(name=head["name"], nodes=tuple(nodes), values=values,
                          operands={name: tensors[name] for name in head["operands"]},
                          input=head["input"], provenance=head["provenance"])


def _check(network: IntegerNetwork) -> None:
    """Walk the graph: every operand there, every format and shape what its producer states."""
    values = network.values
    if not network.nodes:
        raise UserError(f"network {network.name} must have nodes")
    for name, array in network.operands.items():
        if name not in values:
            raise UserError(f"constant operand {name} must be among the values")
        if array.shape != values[name].shape:
            raise UserError(f"constant operand {name} must have shape {values[name].shape}, "
                            f"not {array.shape}")
        _checked(array, values[name].format, f"constant operand {name}")
    known = {network.input, *network.operands}
    for node in network.nodes:
        where = f"node {node.name} ({node.op})"
        if node.name in known:
            raise UserError(f"{where} must have a name of its own")
        for name in node.inputs:
            if name not in known:
                raise UserError(f"{where} reads {name}, which nothing before it computes")
        if node.name not in values:
            raise UserError(f"{where} must have its result among the values")
        if node.op not in ALL and node.op not in structure.OPERATIONS:
            known_ops = ", ".join([*ALL, *structure.OPERATIONS])
            raise UserError(f"{where} must be one of {known_ops}")
        inputs = [values[name] for name in node.inputs]
        if node.op in ALL:
            fmt, shape = _check_unit(where, node, inputs)
        else:
            rule = structure.OPERATIONS[node.op].result
            try:
                fmt, shape = rule([(v.format, v.shape) for v in inputs], node.attributes)
            except (ValueError, KeyError) as error:
                raise UserError(f"{where}: {error}") from None
        made = node.spec.operand if isinstance(node.spec, VectorSpec) else "linear"
        if values[node.name].operand != made:
            raise UserError(f"{where} must give {made} codes, not {values[node.name].operand}")
        if (fmt, shape) != (values[node.name].format, values[node.name].shape):
            raise UserError(f"{where} must give {fmt} of shape {shape}, not "
                            f"{values[node.name].format} of shape {values[node.name].shape}")
        known.add(node.name)


def _check_unit(where: str, node: Node, inputs: list[Value]) -> tuple[Format, tuple[int, ...]]:
    """Check one unit's spec, constants and inputs; return its result's format and shape."""
    if not isinstance(node.spec, unit(node.op).golden.spec):
        raise UserError(f"{where} must have a spec of its unit")
    names = _constants_of(node)
    if names != set(node.constants):
        raise UserError(f"{where} must have the constants {', '.join(sorted(names))}, not "
                        f"{', '.join(sorted(node.constants))}")
    for register in node.spec.registers:
        array = node.constants[register.name]
        _checked(array, register.format, f"{register.name} of {where}")
        if array.size > register.depth:
            raise UserError(f"{where} holds {register.depth} words of {register.name}, "
                            f"not {array.size}")
    wanted = [node.spec.in_format]
    shape = inputs[0].shape
    taken = node.spec.operand if node.op == "matmul" else "linear"
    if inputs[0].operand != taken:
        raise UserError(f"{where} takes {taken} codes, not {inputs[0].operand}")
    if node.op == "matmul":
        wanted.append(node.spec.weight_format)
        if len(inputs) == 2:
            b = inputs[1].shape
            b = (*b[:-2], b[-1], b[-2]) if node.constants["transposed"] else b
            if len(b) < 2 or shape[-1] != b[-2]:
                raise UserError(f"{where} must have operands that fit, not of shapes {shape} "
                                f"and {b}")
            shape = (*shape[:-1], b[-1])
    if len(inputs) != len(wanted):
        raise UserError(f"{where} must have {len(wanted)} inputs, not {len(inputs)}")
    for value, fmt in zip(inputs, wanted, strict=True):
        if not (fmt.lo <= value.format.lo and value.format.hi <= fmt.hi):
            raise UserError(f"{where} takes {fmt}, not {value.format}")
    longest = getattr(node.spec, "longest_row", shape[-1])
    if shape[-1] > longest:
        raise UserError(f"{where} takes rows of 1..{longest}, not {shape[-1]}")
    return node.spec.out_format, shape


def _constants_of(node: Node) -> set[str]:
    """Return the names of a node's constants; a register that its spec lacks keeps its default."""
    needed = {field.name for field in dataclasses.fields(unit(node.op).golden.constants)
              if field.default is field.default_factory is dataclasses.MISSING}
    return needed | {register.name for register in node.spec.registers}


def _checked(array: np.ndarray, fmt: Format, name: str) -> None:
    try:
        require(array, fmt, name)
    except (TypeError, ValueError) as error:
        raise UserError(str(error)) from None


def _little(dtype: np.dtype) -> np.dtype:
    return dtype.newbyteorder("<")
