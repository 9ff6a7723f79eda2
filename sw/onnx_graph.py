"""Export of an integer network to ONNX: integers in, integers out, no scale in the graph.

What ONNX has an operator for becomes that operator: `MatMulInteger`, `Gather` for element-wise
units and for what only moves integers, a function of `Mod` and `Div` for the requantizer. What it
has none for, softmax and LayerNorm in integers, becomes a node of the domain `vitrtl` that holds
the unit's spec and constants; its reference function is the golden one, which
`vitrtl.sw.onnx_session` gives to onnxruntime.
"""

import json
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
from onnx import TensorProto, helper, numpy_helper

from vitrtl.sw import structure
from vitrtl.sw.catalog import unit
from vitrtl.sw.executor import storage
from vitrtl.sw.files import digest
from vitrtl.sw.golden.requantize import RequantizeConstants, RequantizeSpec
from vitrtl.sw.golden.unit import VectorSpec
from vitrtl.sw.network import IntegerNetwork, Node

__all__ = ["DOMAIN", "to_onnx"]

DOMAIN = "vitrtl"
"""Of the operators and functions that ONNX does not have."""

OPSET = 21
IR_VERSION = 10


def to_onnx(network: IntegerNetwork, every_value: bool = False) -> onnx.ModelProto:
    """Return the network as an ONNX model.

    Parameters
    ----------
    network : what to export.
    every_value : make the result of every node an output, to compare them; else the logits alone.

    Shape
    -----
    The input is named as the network's, (images, channels, height, width) in its storage type; so
    are the outputs, with the axis of the images first.
    """
    return _Graph(network).model(every_value)


class _Graph:
    """The model under construction."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def model(self, every_value: bool) -> onnx.ModelProto:
        """Translate every node."""
        network = self.network
        for name, codes in network.operands.items():
            self.initializers[name] = numpy_helper.from_array(
                np.asarray(codes, storage(network.values[name].format), order="C"), name)
        for node in network.nodes:
            self._translate(node)
        outputs = [node.output for node in network.nodes] if every_value else [network.output]
        graph = helper.make_graph(
            self.nodes, network.name, [self._declared(network.input)],
            [self._declared(name) for name in outputs], list(self.initializers.values()))
        model = helper.make_model(
            graph, producer_name="vitrtl", ir_version=IR_VERSION, functions=[_requantize()],
            opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(DOMAIN, 1)])
        helper.set_model_props(model, {
            "digest": network.digest, "provenance": json.dumps(dict(network.provenance)),
            "logit_scale": json.dumps([str(s) for s in network.values[network.output].scale])})
        return model

    def _declared(self, name: str) -> onnx.ValueInfoProto:
        value = self.network.values[name]
        return helper.make_tensor_value_info(name, _type(storage(value.format)),
                                             ["images", *value.shape])

    def _translate(self, node: Node) -> None:
        """Add the nodes that compute one node of the network."""
        spec = node.spec
        if node.op == "matmul" and spec.operand == "linear":
            self._matmul(node)
        elif node.op == "requantize":
            self._requantize(node, spec, node.unit_constants)
        elif isinstance(spec, VectorSpec) and not spec.rowwise and spec.in_format.width <= 8:
            self._table(node)
        elif spec is None and node.op == "add":
            self._add(node)
        elif spec is None and (places := self._places(node)) is not None:
            self._move(node, places)
        else:
            self._reference(node)

    def _matmul(self, node: Node) -> None:
        a, b = node.inputs
        if node.unit_constants.transposed:
            axes = list(range(len(self.network.values[b].shape) + (b not in
                                                                   self.network.operands)))
            b = self._node("Transpose", [b], node, perm=[*axes[:-2], axes[-1], axes[-2]])
        self._node("MatMulInteger", [a, b], node, node.output)

    def _requantize(self, node: Node, spec: RequantizeSpec,
                    constants: RequantizeConstants) -> None:
        entries = slice(None) if constants.per_channel else slice(1)
        factor = constants.factor[entries]
        divisor = np.int64(1) << (spec.shift_min + spec.shift_step * (
            factor & (spec.shift_count - 1)))
        numbers = (constants.bias[entries], factor >> spec.code_width, divisor // 2, divisor,
                   np.array(spec.out_format.lo), np.array(spec.out_format.hi))
        wide = self._node("requantize", [self._wide(node.inputs[0], node),
                                         *(self._constant(n) for n in numbers)],
                          node, domain=DOMAIN)
        self._narrow(wide, node)

    def _table(self, node: Node) -> None:
        """Look up an element-wise unit, whose golden function has answered every code."""
        fmt = node.spec.in_format
        codes = np.arange(fmt.lo, fmt.hi + 1)
        table = unit(node.op).golden.function(codes, node.spec, node.unit_constants)
        place = self._node("Sub", [self._wide(node.inputs[0], node),
                                   self._constant(np.array(fmt.lo))], node)
        dtype = storage(self.network.values[node.output].format)
        self._node("Gather", [self._constant(table.astype(dtype)), place], node, node.output)

    def _add(self, node: Node) -> None:
        total = self._node("Add", [self._wide(name, node) for name in node.inputs], node)
        fmt = self.network.values[node.output].format
        bounds = [self._constant(np.array(bound)) for bound in (fmt.lo, fmt.hi)]
        self._narrow(self._node("Clip", [total, *bounds], node), node)

    def _places(self, node: Node) -> np.ndarray | None:
        """Return where each element of a result comes from, None if the node does not just move.

        The operation itself says so: it is given the places of its input's elements, and then
        random codes to see that it moves them alike.
        """
        value = self.network.values[node.inputs[0]]
        if len(node.inputs) > 1 or value.format != self.network.values[node.output].format:
            return None
        function = structure.OPERATIONS[node.op].function
        count = int(np.prod(value.shape))
        places = function([np.arange(count).reshape(1, *value.shape)], node.attributes).ravel()
        codes = np.random.RandomState(0).randint(value.format.lo, value.format.hi + 1, count)
        codes = codes.astype(storage(value.format))
        moved = function([codes.reshape(1, *value.shape)], node.attributes).ravel()
        if places.min() < 0 or places.max() >= count or not np.array_equal(codes[places], moved):
            return None
        return places

    def _move(self, node: Node, places: np.ndarray) -> None:
        flat = self._node("Flatten", [node.inputs[0]], node, axis=1)
        moved = self._node("Gather", [flat, self._constant(places)], node, axis=1)
        shape = np.array([-1, *self.network.values[node.output].shape])
        self._node("Reshape", [moved, self._constant(shape)], node, node.output)

    def _reference(self, node: Node) -> None:
        """Add a node of our own domain, which holds all that its reference function needs."""
        values = self.network.values
        constants = [self._constant(np.asarray(array, np.int64))
                     for _, array in sorted(node.constants.items())]
        dtypes = [str(storage(values[name].format)) for name in node.inputs]
        wide = self._node(
            node.op, [*(self._wide(name, node) for name in node.inputs), *constants], node,
            domain=DOMAIN, dtypes=json.dumps(dtypes), constants=json.dumps(sorted(node.constants)),
            spec=json.dumps(None if node.spec is None else node.spec.asdict()),
            attributes=json.dumps(dict(node.attributes)))
        self._narrow(wide, node)

    def _wide(self, name: str, node: Node) -> str:
        return self._node("Cast", [name], node, to=TensorProto.INT64)

    def _narrow(self, name: str, node: Node) -> None:
        dtype = storage(self.network.values[node.output].format)
        self._node("Cast", [name], node, node.output, to=_type(dtype))

    def _constant(self, array: np.ndarray) -> str:
        """Add a constant tensor; equal ones are one."""
        name = f"constant.{digest(str(array.dtype), str(array.shape), array.tobytes())}"
        self.initializers[name] = numpy_helper.from_array(np.asarray(array, order="C"), name)
        return name

    def _node(self, op: str, inputs: Sequence[str], of: Node, output: str | None = None,
              **attributes: object) -> str:
        output = output or f"{of.name}.{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output


def _requantize() -> onnx.FunctionProto:
    """Return `clip((x + bias) * multiplier + half >> shift)` in standard operators.

    ONNX has no arithmetic shift: `Mod`, whose result has the divisor's sign, leaves a multiple.
    """
    return onnx.parser.parse_function(f"""
        <domain: "{DOMAIN}", opset_import: ["" : {OPSET}]>
        requantize (x, bias, multiplier, half, divisor, lo, hi) => (y) {{
            biased = Add(x, bias)
            product = Mul(biased, multiplier)
            raised = Add(product, half)
            rest = Mod(raised, divisor)
            multiple = Sub(raised, rest)
            rounded = Div(multiple, divisor)
            y = Clip(rounded, lo, hi)
        }}""")


def _type(dtype: np.dtype) -> int:
    return helper.np_dtype_to_tensor_dtype(dtype)
