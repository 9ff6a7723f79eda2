"""Runs an integer network on the golden functions."""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import ThreadpoolController

from vitrtl.sw import structure
from vitrtl.sw.catalog import ALL, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.fast.paths import STRUCTURAL, fast_path, fixed_matmul
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.storage import storage

__all__ = ["Executor", "Observer", "node_function"]

Observer = Callable[[Node, Sequence[np.ndarray], np.ndarray], None]
"""`observe(node, inputs, output)`: called after each node with a batch of codes."""

CHUNK_ELEMENTS = 1 << 19
"""Elements of the largest value that pass the network together: few enough for the caches, and
enough that calling a unit is little beside its work."""


class Executor:
    """An integer network, made ready to run.

    Parameters
    ----------
    network : what to run.
    plain : call nothing but the golden functions, which check the width of every intermediate;
        else the paths of `vitrtl.sw.fast`, proved equal, are taken where there is one.
    threads : batches that run side by side; as many as there are cores if not given.
    """

    def __init__(self, network: IntegerNetwork, plain: bool = False,
                 threads: int | None = None) -> None:
        self.network = network
        self.threads = threads or len(os.sched_getaffinity(0))
        largest = max(int(np.prod(network.values[node.output].shape)) for node in network.nodes)
        self._chunk = max(1, CHUNK_ELEMENTS // largest)
        functions = {node.name: node_function(network, node, plain) for node in network.nodes}
        last = {name: node.name for node in network.nodes for name in node.inputs}
        self._steps = [
            (node, functions[node.name], storage(network.values[node.output].format),
             [name for name in dict.fromkeys(node.inputs)
              if last[name] == node.name and name not in network.operands])
            for node in network.nodes]
        self._accumulators = frozenset() if plain else _accumulators(network)

    def run(self, images: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        """Return the integer logits of a batch.

        Parameters
        ----------
        images : pixels in the input's format.
        observe : called after each node, batch by batch in the order of the images.

        Shape
        -----
        (images, channels, height, width) to (images, classes).
        """
        return np.concatenate([np.empty((0, self._classes), np.int64),
                               *self.iterate(images, observe)])

    def iterate(self, images: np.ndarray,
                observe: Observer | None = None) -> Iterator[np.ndarray]:
        """Yield the logits of a batch piece by piece, so that the caller can show progress."""
        images = self._checked(images)
        count = -(-len(images) // self._chunk)
        # As many of one size as keep all threads busy to the end.
        chunks = [chunk for chunk in np.array_split(images, -(-count // self.threads)
                                                    * self.threads or 1) if len(chunk)]
        # Batches side by side use the cores better than BLAS does within these small matrices.
        with _libraries().limit(limits=1, user_api="blas"):
            if observe is not None or self.threads == 1:
                yield from (self._run_chunk(chunk, observe) for chunk in chunks)
            else:
                with ThreadPoolExecutor(self.threads) as pool:
                    yield from pool.map(self._run_chunk, chunks)

    @property
    def _classes(self) -> int:
        return int(np.prod(self.network.values[self.network.output].shape))

    def _checked(self, images: np.ndarray) -> np.ndarray:
        wanted = self.network.values[self.network.input]
        images = np.asarray(images)
        if images.ndim != 1 + len(wanted.shape) or images.shape[1:] != wanted.shape:
            raise UserError(f"images must have shape (images, {', '.join(map(str, wanted.shape))})"
                            f", not {images.shape}")
        if images.dtype != storage(wanted.format):
            raise UserError(f"images must be {storage(wanted.format)} codes, not {images.dtype}")
        return images

    def _run_chunk(self, images: np.ndarray, observe: Observer | None = None) -> np.ndarray:
        values = {self.network.input: images, **self.network.operands}
        for node, function, dtype, done in self._steps:
            inputs = [values[name] for name in node.inputs]
            output = function(inputs)
            if observe is not None or node.name not in self._accumulators:
                output = output.astype(dtype, copy=False)
            if observe is not None:
                observe(node, inputs, output)
            values[node.output] = output
            for name in done:
                del values[name]
        return output.reshape(len(images), -1).astype(np.int64)


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return what limits the threads of BLAS; to look for its libraries takes milliseconds."""
    return ThreadpoolController()


def _accumulators(network: IntegerNetwork) -> frozenset[str]:
    """Return the values that may stay in floating point, as BLAS leaves them.

    Whatever reads them takes integers of any type.
    """
    readers: dict[str, list[Node]] = {}
    for node in network.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return frozenset(node.output for node in network.nodes if node.op == "matmul"
                     and all(_rescales(reader) for reader in readers.get(node.output, ())))


def _rescales(node: Node) -> bool:
    return (node.op == "requantize"
            and fast_path(node.op, node.spec, node.unit_constants) is not None)


def node_function(network: IntegerNetwork, node: Node,
                  plain: bool = False) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Return `inputs -> output` of one node, its constants bound."""
    if node.op not in ALL:
        function = None if plain else STRUCTURAL.get(node.op)
        function = function or structure.OPERATIONS[node.op].function
        return lambda inputs: function(inputs, node.attributes)
    golden, spec, constants = unit(node.op).golden, node.spec, node.unit_constants
    if node.op == "matmul":
        return _multiplication(network, node, plain)
    path = None if plain else fast_path(node.op, spec, constants)
    apply = path or (lambda x: golden.function(x, spec, constants))
    return lambda inputs: apply(inputs[0])


def _multiplication(network: IntegerNetwork, node: Node,
                    plain: bool) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    spec, transposed = node.spec, node.unit_constants.transposed
    weights = network.operands.get(node.inputs[1])
    if weights is not None and weights.ndim == 2 and not plain:
        multiply = fixed_matmul(weights.T if transposed else weights, spec)
        return lambda inputs: multiply(inputs[0])
    golden = unit(node.op).golden.function
    path = (lambda a, b: golden(a, b, spec)) if plain else fast_path(node.op, spec, None)
    if transposed:
        return lambda inputs: path(inputs[0], inputs[1].swapaxes(-1, -2))
    return lambda inputs: path(*inputs)
