"""Coloured, textured shapes on photographs: images made from a seed, in integers alone.

An image is a crop of one of the two photographs that ship inside scikit-learn, with one shape on
it. The class is shape and texture together; colour, size, place, both directions, contrast,
opacity and noise are left to chance, so that neither the colour nor the outline alone tells it.
The test part shows the right-hand third of the photographs, the training part the rest.
"""

import dataclasses

import numpy as np

__all__ = ["SHAPES", "SIDE", "TEXTURES", "Photographs", "draw", "photographs"]

SHAPES = ("disc", "triangle", "cross", "ring")
TEXTURES = ("rows", "columns", "diagonals", "checks", "dots")

SIDE = 64
"""Height and width of an image."""

TEST_FROM = 424
"""Column of the photographs from which on the test part is cut."""

TURN = 12
"""Largest turn of shape and texture, in 256ths of a full one."""

FRACTION = 10
"""Fraction bits of coordinates in pixels."""

CHUNK = 128
"""Images that are drawn together: few enough for the caches."""


@dataclasses.dataclass(frozen=True, eq=False)
class Photographs:
    """What is behind the shapes: RGB levels, at full and at half size.

    Shape
    -----
    Each (photographs, height, width, 3), u8.
    """

    full: np.ndarray
    half: np.ndarray

    def columns(self, first: int, end: int) -> "Photographs":
        """Return the part between two columns of the full size."""
        return Photographs(self.full[:, :, first:end], self.half[:, :, (first + 1) // 2:end // 2])


def photographs() -> Photographs:
    """Return the two photographs of `sklearn.datasets.load_sample_images`."""
    from sklearn.datasets import load_sample_images

    full = np.stack(load_sample_images().images)
    even = full[:, :full.shape[1] // 2 * 2].astype(np.int32)
    half = (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2] + 2)
    return Photographs(full, (half >> 2).astype(np.uint8))


def draw(labels: np.ndarray, behind: Photographs, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw one image for each label; say which of its pixels the shape covers.

    NumPy guarantees the stream of `RandomState` for every future version, and everything else is
    integers: a seed gives the same pixels everywhere.

    Parameters
    ----------
    labels : class of each image, `shape * len(TEXTURES) + texture`.
    behind : photographs to cut from.
    seed : of everything that is left to chance.

    Shape
    -----
    `labels` (images,) to u8 (images, 3, `SIDE`, `SIDE`) and bool (images, `SIDE`, `SIDE`).
    """
    random = np.random.RandomState(seed)
    pixels = np.empty((len(labels), 3, SIDE, SIDE), np.uint8)
    covered = np.empty((len(labels), SIDE, SIDE), bool)
    for i in range(0, len(labels), CHUNK):
        chunk = slice(i, i + CHUNK)
        pixels[chunk], covered[chunk] = _draw_chunk(labels[chunk], behind, random)
    return pixels, covered


def _draw_chunk(labels: np.ndarray, behind: Photographs,
                random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
    count = len(labels)

    def uniform(low: int, high: int, *shape: int) -> np.ndarray:
        """Draw integers of `low..high` for each image, with axes for the pixels."""
        drawn = random.randint(low, high + 1, (count, *shape))
        return drawn.reshape(count, *shape, 1, 1).astype(np.int32)

    ground = _crops(count, behind, random).astype(np.int32)
    radius = uniform(18, 26)
    at = [uniform(24, SIDE - 25) for _ in range(2)]
    inside = _inside(labels // len(TEXTURES), *_frame(at, uniform(-TURN, TURN)), radius << FRACTION)

    period = uniform(7, 9) << FRACTION
    phase = [uniform(0, SIDE) for _ in range(2)]
    bright = _pattern(labels % len(TEXTURES), *_frame(phase, uniform(-TURN, TURN)), period)
    middle, contrast = uniform(56, 199, 3), uniform(28, 56)[:, np.newaxis]
    paint = middle + np.where(bright[:, np.newaxis], contrast, -contrast)

    opacity = uniform(170, 256)[:, np.newaxis] * inside[:, np.newaxis]
    noise = random.randint(-12, 13, ground.shape, dtype=np.int8)
    mixed = ((opacity * paint + (256 - opacity) * ground + 128) >> 8) + noise
    return np.clip(mixed, 0, 255).astype(np.uint8), inside


def _crops(count: int, behind: Photographs, random: np.random.RandomState) -> np.ndarray:
    """Cut squares out of the photographs, at either size, turned over and made lighter or darker.

    Shape
    -----
    (count, 3, `SIDE`, `SIDE`).
    """
    cut = np.empty((count, 3, SIDE, SIDE), np.uint8)
    for i in range(count):
        source = (behind.full, behind.half)[random.randint(2)]
        photograph, height, width, _ = source.shape
        y, x = random.randint(height - SIDE + 1), random.randint(width - SIDE + 1)
        square = source[random.randint(photograph), y:y + SIDE, x:x + SIDE]
        cut[i] = square[::2 * random.randint(2) - 1, ::2 * random.randint(2) - 1].transpose(2, 0, 1)
    gain = random.randint(160, 257, (count, 1, 1, 1))
    lift = random.randint(-30, 31, (count, 3, 1, 1))
    return np.clip((cut * gain >> 8) + lift, 0, 255)


def _frame(origin: list[np.ndarray], angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both coordinates of each pixel in a turned frame, with `FRACTION` fraction bits."""
    table = np.arange(256) * (2 * np.pi / 256)
    cos, sin = (np.rint(f(table) * (1 << FRACTION)).astype(np.int32)[angle]
                for f in (np.cos, np.sin))
    y, x = np.arange(SIDE, dtype=np.int32)[:, np.newaxis], np.arange(SIDE, dtype=np.int32)
    y, x = y - origin[0], x - origin[1]
    return x * cos - y * sin, x * sin + y * cos


def _inside(shape: np.ndarray, u: np.ndarray, v: np.ndarray, radius: np.ndarray) -> np.ndarray:
    """Return which pixels a shape covers; `radius` is about that of the circle around it."""
    short, long = np.minimum(abs(u), abs(v)), np.maximum(abs(u), abs(v))
    # Six fraction bits are enough for a square that fits its 32 bits.
    distance = (u >> 4) ** 2 + (v >> 4) ** 2
    outer, inner = (radius * 7 >> 7) ** 2, (radius >> 5) ** 2
    covered = [
        distance <= outer,
        (v >= -radius >> 1) & (v * 256 + abs(u) * 443 <= radius * 256),
        (long * 8 <= radius * 7) & (short * 16 <= radius * 5),
        (distance <= outer) & (distance >= inner),
    ]
    return np.choose(shape.reshape(-1, 1, 1), covered)


def _pattern(texture: np.ndarray, u: np.ndarray, v: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Return which pixels a texture paints in its first colour; the others take the second."""
    along, across = u * 2 // period, v * 2 // period
    du, dv = (w % period - (period >> 1) for w in (u, v))
    painted = [
        across & 1 == 1,
        along & 1 == 1,
        (u + v) * 10 // (period * 7) & 1 == 1,
        (along ^ across) & 1 == 1,
        (du >> 4) ** 2 + (dv >> 4) ** 2 <= (period * 3 >> 7) ** 2,
    ]
    return np.choose(texture.reshape(-1, 1, 1), painted)
