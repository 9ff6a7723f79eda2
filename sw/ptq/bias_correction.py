"""Biases of an integer network that take the mean error off each linear layer's output."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from vitrtl.sw.executor import node_function
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.storage import storage

__all__ = ["corrected"]


def corrected(network: IntegerNetwork, pixels: np.ndarray, means: Mapping[str, np.ndarray],
              progress: Callable[[int], None] = lambda nodes: None) -> IntegerNetwork:
    """Return the network with biases at which each linear layer's output has its float mean.

    Node by node, all images go through the integer network as far as it is corrected; what the
    accumulators of a linear layer, bias added, are off in the mean goes into the bias. So each
    layer also makes up for what the layers before it still lack.

    Parameters
    ----------
    network : to correct.
    pixels : images, u8.
    means : of each output channel over the same images in float, by the linear layer's name.
    progress : called with 1 for each node.

    Source
    ------
    Nagel et al., Data-free quantization, arXiv:1906.04721, section 4.2, on data.
    """
    last = {name: node.name for node in network.nodes for name in node.inputs}
    values = {network.input: pixels, **network.operands}
    nodes = []
    for node in network.nodes:
        wanted = means.get(node.inputs[0]) if node.op == "requantize" else None
        if wanted is not None:
            node = _with_mean(network, node, values[node.inputs[0]], wanted)
        result = node_function(network, node)([values[name] for name in node.inputs])
        values[node.name] = result.astype(storage(network.values[node.output].format), copy=False)
        nodes.append(node)
        for name in node.inputs:
            if last[name] == node.name:
                values.pop(name, None)
        progress(1)
    return dataclasses.replace(network, nodes=tuple(nodes))


def _with_mean(network: IntegerNetwork, node: Node, accumulators: np.ndarray,
               wanted: np.ndarray) -> Node:
    """Return a requantizer whose bias gives accumulators a mean."""
    scale = np.array([float(s) for s in network.values[node.inputs[0]].scale])
    bias = node.constants["bias"].astype(np.int64)
    mean = accumulators.reshape(-1, accumulators.shape[-1]).mean(axis=0, dtype=np.float64)
    fmt = node.spec.in_format
    bias = np.clip(bias + np.rint(wanted / scale - mean - bias), fmt.lo // 2, fmt.hi // 2)
    return dataclasses.replace(node, constants={
        **node.constants, "bias": bias.astype(node.constants["bias"].dtype)})
