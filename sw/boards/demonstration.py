"""Images through an accelerator behind a serial port, against the golden network."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from vitrtl.sw.boards.accelerator_client import AcceleratorClient

__all__ = ["Shown", "demonstrate"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What became of an image.

    Parameters
    ----------
    logits, golden_logits : of the board and of the golden network, as integers.
    cycles : of the accelerator.
    """

    logits: list[int]
    golden_logits: list[int]
    cycles: int

    @property
    def answer(self) -> int:
        """Class that the board gives."""
        return int(np.argmax(self.logits))

    @property
    def golden_answer(self) -> int:
        """Class that the golden network gives."""
        return int(np.argmax(self.golden_logits))

    @property
    def mismatches(self) -> int:
        """Logits that differ."""
        return sum(a != b for a, b in zip(self.logits, self.golden_logits, strict=True))


def demonstrate(client: AcceleratorClient, images: np.ndarray,
                golden_logits: np.ndarray, seconds: float = 60.0) -> Iterator[Shown]:
    """Yield what a board makes of each image.

    Parameters
    ----------
    client : that has been started, of an accelerator that holds its program.
    images : pixels, u8.  Shape: (images, channels, height, width).
    golden_logits : of the golden network.  Shape: (images, classes).
    seconds : that a run may take.
    """
    for image, golden in zip(images, golden_logits, strict=True):
        answer = client.run(image, seconds)
        yield Shown(logits=answer.logits.tolist(), golden_logits=golden.astype(int).tolist(),
                    cycles=answer.cycles)
