"""Whether an exported network computes what the integer network computes, value by value."""

from collections.abc import Sequence

import numpy as np

from vitrtl.sw.executor import Executor, storage
from vitrtl.sw.network import IntegerNetwork, Node
from vitrtl.sw.onnx_graph import to_onnx
from vitrtl.sw.onnx_session import run_model

__all__ = ["compare", "differences", "random_images"]


def compare(network: IntegerNetwork, count: int, seed: int) -> int:
    """Compare every value of seeded random images; return how many codes were equal.

    Raises
    ------
    RuntimeError
        Naming the first node that differs: the export, or onnxruntime, is wrong.
    """
    compared, differing = differences(network, random_images(network, count, seed))
    if differing:
        raise RuntimeError(f"onnxruntime computes other codes than the integer network in "
                           f"{differing[0]} and {len(differing) - 1} other nodes")
    return compared


def differences(network: IntegerNetwork, images: np.ndarray) -> tuple[int, list[str]]:
    """Return how many codes were compared, and the nodes whose codes are not all equal."""
    found = run_model(to_onnx(network, every_value=True), images)
    seen: dict[str, list[np.ndarray]] = {}

    def observe(node: Node, inputs: Sequence[np.ndarray], output: np.ndarray) -> None:
        seen.setdefault(node.output, []).append(output)

    Executor(network).run(images, observe)
    wanted = {name: np.concatenate(parts) for name, parts in seen.items()}
    differing = [node.name for node in network.nodes
                 if found[node.output].dtype != wanted[node.output].dtype
                 or not np.array_equal(found[node.output], wanted[node.output])]
    return sum(codes.size for codes in wanted.values()), differing


def random_images(network: IntegerNetwork, count: int, seed: int) -> np.ndarray:
    """Return images of random codes in the format of the network's input."""
    value = network.values[network.input]
    codes = np.random.RandomState(seed).randint(value.format.lo, value.format.hi + 1,
                                                (count, *value.shape))
    return codes.astype(storage(value.format))
