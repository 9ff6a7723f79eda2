"""An exported network in onnxruntime, with the golden functions as the operators of our domain."""

import functools
import json

import numpy as np
import onnx
import onnxruntime
from onnxruntime_extensions import PyCustomOpDef, get_library_path, onnx_op

from vitrtl.sw import structure
from vitrtl.sw.catalog import ALL, unit
from vitrtl.sw.onnx_graph import DOMAIN

__all__ = ["run_model"]

ATTRIBUTES = ("dtypes", "constants", "spec", "attributes")


def run_model(model: onnx.ModelProto, images: np.ndarray) -> dict[str, np.ndarray]:
    """Return every output of a model of `vitrtl.sw.onnx_graph`, by name.

    Parameters
    ----------
    images : pixels in the input's storage type, (images, channels, height, width).
    """
    onnx.checker.check_model(model)
    functions = {function.name for function in model.functions}
    for node in model.graph.node:
        if node.domain == DOMAIN and node.op_type not in functions:
            _register(node.op_type, len(node.input))
    options = onnxruntime.SessionOptions()
    options.register_custom_ops_library(get_library_path())
    session = onnxruntime.InferenceSession(model.SerializeToString(), options,
                                           providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    found = session.run(names, {session.get_inputs()[0].name: images})
    return dict(zip(names, found, strict=True))


@functools.cache
def _register(op: str, inputs: int) -> None:
    """Tell onnxruntime of an operator: integers of 64 bits in, integers of 64 bits out."""
    def apply(*tensors: np.ndarray, **attributes: str) -> np.ndarray:
        return _reference(op, tensors, {name: json.loads(attributes[name]) for name in ATTRIBUTES})

    onnx_op(op_type=f"{DOMAIN}::{op}", inputs=[PyCustomOpDef.dt_int64] * inputs,
            outputs=[PyCustomOpDef.dt_int64],
            attrs={name: PyCustomOpDef.dt_string for name in ATTRIBUTES})(apply)


def _reference(op: str, tensors: tuple[np.ndarray, ...], attributes: dict) -> np.ndarray:
    """Compute one node: the golden function of a unit, or an operation of `structure`."""
    values = [x.astype(dtype) for x, dtype in zip(tensors, attributes["dtypes"], strict=False)]
    if op not in ALL:
        function = structure.OPERATIONS[op].function
        return function(values, attributes["attributes"]).astype(np.int64)
    golden = unit(op).golden
    constants = {name: array if array.ndim else int(array) for name, array in
                 zip(attributes["constants"], tensors[len(values):], strict=True)}
    spec = golden.spec.fromdict(attributes["spec"])
    if op == "matmul":
        a, b = values
        return golden.function(a, b.swapaxes(-1, -2) if constants["transposed"] else b, spec)
    return golden.function(values[0], spec, golden.constants(**constants))
