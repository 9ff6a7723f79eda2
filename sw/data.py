"""Images that networks are trained, calibrated and tested on: 8-bit pixels with a fixed split."""

import dataclasses
import functools
import hashlib
from collections.abc import Callable

import numpy as np

from vitrtl.sw import shapes
from vitrtl.sw.errors import UserError

__all__ = ["DATASETS", "ImageSet", "enlarge", "load"]

TEST_IMAGES = 540
SPLIT_SEED = 20
SHAPES_TRAIN, SHAPES_TEST = 6000, 5000
"""So many test images that a tenth of a percent point of accuracy is five of them."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images, divided once and for all into a training and a test part.

    Parameters
    ----------
    name : what `load` knows it by.
    pixels : levels, u8.
    labels : class of each image.
    train, test : image ids, that is, positions in `pixels`; disjoint, ascending.
    masks : which pixels show what is labelled, where that is known.

    Shape
    -----
    `pixels` (images, channels, height, width); `labels` (images,); `masks` (images, height,
    width).
    """

    name: str
    pixels: np.ndarray
    labels: np.ndarray
    train: np.ndarray
    test: np.ndarray
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.pixels.dtype != np.uint8 or self.pixels.ndim != 4:
            raise ValueError("pixels must be u8 of shape (images, channels, height, width), not "
                             f"{self.pixels.dtype} of shape {self.pixels.shape}")
        if self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(f"labels must be one per image ({len(self.pixels)}), not of shape "
                             f"{self.labels.shape}")
        if np.intersect1d(self.train, self.test).size:
            raise ValueError("train and test must be disjoint")

    @property
    def classes(self) -> int:
        """Number of classes."""
        return int(self.labels.max()) + 1

    @functools.cached_property
    def digest(self) -> str:
        """Checksum of pixels, labels and split."""
        total = hashlib.sha256()
        for array in (self.pixels, self.labels, self.train, self.test):
            total.update((8 * array.size).to_bytes(8, "little"))
            # All of it as 64 bits, whatever its type, and not all of it at once.
            for part in np.array_split(array, max(1, array.size >> 20)):
                total.update(np.ascontiguousarray(part, dtype="<i8"))
        return total.hexdigest()[:16]

    def some(self, ids: np.ndarray) -> np.ndarray:
        """Return the pixels of some images: an array, or what gives arrays when it is sliced."""
        return self.pixels[ids]

    def chosen_test(self, count: int | None) -> np.ndarray:
        """Return the ids of `count` test images, evenly from all; of all, if it is None."""
        if count is None:
            return self.test
        if not 1 <= count <= len(self.test):
            raise UserError(f"test images must be 1..{len(self.test)} (the test part of "
                            f"{self.name}), not {count}")
        return self.test[np.linspace(0, len(self.test) - 1, count).round().astype(int)]

    def calibration(self, count: int, seed: int) -> np.ndarray:
        """Return the ids of `count` training images, chosen by `seed`, ascending."""
        if not 1 <= count <= len(self.train):
            raise UserError(f"calibration images must be 1..{len(self.train)} (the training part "
                            f"of {self.name}), not {count}")
        # RandomState, because NumPy guarantees its stream for every future version.
        chosen = np.random.RandomState(seed).permutation(len(self.train))[:count]
        return np.sort(self.train[chosen])


def enlarge(levels: np.ndarray) -> np.ndarray:
    """Double height and width by bilinear interpolation, in integers.

    Each new pixel lies a quarter of a pixel from the nearest old one, so it is
    `(9 a + 3 b + 3 c + d) / 16` of its four neighbours, the edge repeated. The sum is returned
    undivided: 16 times the levels.

    Shape
    -----
    (..., height, width) to (..., 2 height, 2 width).
    """
    for axis in (-1, -2):
        old = np.moveaxis(np.asarray(levels, dtype=np.int64), axis, -1)
        before = np.concatenate([old[..., :1], old[..., :-1]], axis=-1)
        after = np.concatenate([old[..., 1:], old[..., -1:]], axis=-1)
        pairs = np.stack([3 * old + before, 3 * old + after], axis=-1)
        levels = np.moveaxis(pairs.reshape(*old.shape[:-1], -1), -1, axis)
    return levels


def _digits() -> ImageSet:
    """Return the 1797 handwritten digits that ship inside scikit-learn, 8x8 made 16x16."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # Levels 0..16 become 0..256 by the enlargement; 256, pure ink all around, is clipped to u8.
    pixels = np.minimum(enlarge(bunch.images.astype(np.int64)), 255).astype(np.uint8)
    labels = bunch.target.astype(np.int64)
    order = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    return ImageSet(name="digits", pixels=pixels[:, np.newaxis], labels=labels,
                    train=np.sort(order[TEST_IMAGES:]), test=np.sort(order[:TEST_IMAGES]))


def _shapes() -> ImageSet:
    """Return 11000 coloured textured shapes of 20 classes, each class equally often."""
    behind = shapes.photographs()
    width = behind.full.shape[2]
    kinds = len(shapes.SHAPES) * len(shapes.TEXTURES)
    parts = []
    for count, columns, seed in ((SHAPES_TRAIN, (0, shapes.TEST_FROM), 0),
                                 (SHAPES_TEST, (shapes.TEST_FROM, width), 1)):
        labels = np.random.RandomState(seed).permutation(count) % kinds
        parts.append((*shapes.draw(labels, behind.columns(*columns), seed), labels))
    pixels, masks, labels = (np.concatenate(of_parts) for of_parts in zip(*parts, strict=True))
    return ImageSet(name="shapes", pixels=pixels, labels=labels.astype(np.int64), masks=masks,
                    train=np.arange(SHAPES_TRAIN), test=np.arange(SHAPES_TRAIN, len(labels)))


DATASETS: dict[str, Callable[[], ImageSet]] = {"digits": _digits, "shapes": _shapes}
"""Image sets by name."""


@functools.cache
def load(name: str) -> ImageSet:
    """Return the image set of that name."""
    if name not in DATASETS:
        raise UserError(f"data set must be one of {', '.join(DATASETS)}, not {name!r}")
    return DATASETS[name]()
