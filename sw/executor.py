"""Runs an integer network on the golden functions."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import threadpool_limits

from vitrtl.sw import structure
from vitrtl.sw.catalog import ALL, unit
from vitrtl.sw.errors import UserError
from vitrtl.sw.fast import fast_path
from vitrtl.sw.golden.fixed_point import Format
from vitrtl.sw.network import IntegerNetwork, Node

__all__ = ["Executor", "Observer", "storage"]

Observer = Callable[[Node, Sequence[np.ndarray], np.ndarray], None]
"""`observe(node, inputs, output)`: called after each node with a batch of codes."""

CHUNK_ELEMENTS = 1 << 17
"""Elements of the largest value that pass the network together: few enough for the caches."""


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
        self._steps = []
        remaining: dict[str, int] = {}
        for node in network.nodes:
            for name in node.inputs:
                remaining[name] = remaining.get(name, 0) + 1
        for node in network.nodes:
            done = []
            for name in node.inputs:
                remaining[name] -= 1
                if not remaining[name] and name not in network.operands:
                    done.append(name)
            self._steps.append((node, _function(network, node, plain), tuple(set(done))))

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
        chunks = [images[i:i + self._chunk] for i in range(0, len(images), self._chunk)]
        # Batches side by side use the cores better than BLAS does within these small matrices.
        with threadpool_limits(1, "blas"):
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
        for node, function, done in self._steps:
            inputs = [values[name] for name in node.inputs]
            output = function(inputs)
            if observe is not None:
                observe(node, inputs, output)
            values[node.output] = output
            for name in done:
                del values[name]
        return output.reshape(len(images), -1).astype(np.int64)


def storage(fmt: Format) -> np.dtype:
    """Return the narrowest integer type that holds a format."""
    width = next(w for w in (8, 16, 32, 64) if fmt.width <= w)
    return np.dtype(f"{'int' if fmt.signed else 'uint'}{width}")


def _function(network: IntegerNetwork, node: Node,
              plain: bool) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Return `inputs -> output` of one node, its constants bound."""
    dtype = storage(network.values[node.output].format)
    if node.op not in ALL:
        function = structure.OPERATIONS[node.op].function
        return lambda inputs: function(inputs, node.attributes)
    golden, spec, constants = unit(node.op).golden, node.spec, node.unit_constants
    path = None if plain else fast_path(node.op, spec, constants)
    if node.op == "matmul":
        multiply = path or (lambda a, b: golden.function(a, b, spec))
        if constants.transposed:
            return lambda inputs: multiply(inputs[0], inputs[1].swapaxes(-1, -2)).astype(
                dtype, copy=False)
        return lambda inputs: multiply(*inputs).astype(dtype, copy=False)
    apply = path or (lambda x: golden.function(x, spec, constants))
    return lambda inputs: apply(inputs[0]).astype(dtype, copy=False)
