"""The coloured textured shapes: the same pixels everywhere, and parts that share none."""

import numpy as np
import pytest

from vitrtl.sw import shapes
from vitrtl.sw.data import load
from vitrtl.sw.files import digest
from vitrtl.sw.shapes import SHAPES, SIDE, TEST_FROM, TEXTURES, draw, photographs


@pytest.fixture(scope="module")
def drawn():
    """Two images of each class, and which of their pixels the shape covers."""
    return draw(np.arange(40) % 20, photographs(), seed=3)


def test_images_are_the_ones_that_the_shipped_weights_learnt_from():
    # Other pixels are other images: these checksums must not change.
    images = load("shapes")
    assert images.digest == "fb951c8ff97e55e1"
    learnt = (images.pixels[images.train], images.labels[images.train].astype("<i8"))
    assert digest(*(array.tobytes() for array in learnt)) == "6ed81c77d2bbbb4f"
    assert images.pixels.shape == (11000, 3, SIDE, SIDE) and len(images.test) == 5000
    assert images.classes == len(SHAPES) * len(TEXTURES)
    for part in (images.train, images.test):
        counts = np.bincount(images.labels[part])
        assert counts.min() == counts.max()


def test_parts_show_different_columns_of_the_photographs():
    both = photographs()
    width = both.full.shape[2]
    train, test = both.columns(0, TEST_FROM), both.columns(TEST_FROM, width)
    assert train.full.shape[2] + test.full.shape[2] == width
    np.testing.assert_array_equal(np.concatenate([train.full, test.full], axis=2), both.full)
    np.testing.assert_array_equal(np.concatenate([train.half, test.half], axis=2), both.half)
    # Nothing of the test part is read for an image of the training part, whatever the chance.
    blind = both.full.copy()
    blind[:, :, TEST_FROM:] = 0
    labels = np.zeros(64, np.int64)
    without = shapes.Photographs(blind, both.half).columns(0, TEST_FROM)
    np.testing.assert_array_equal(draw(labels, without, 0)[0], draw(labels, train, 0)[0])


def test_half_size_is_the_rounded_mean_of_four_pixels():
    both = photographs()
    four = both.full[1, 10:12, 20:22, 2].astype(int).sum()
    assert both.half[1, 5, 10, 2] == (four + 2) // 4


def test_seed_decides(drawn):
    again, other = (draw(np.arange(40) % 20, photographs(), seed)[0] for seed in (3, 4))
    np.testing.assert_array_equal(again, drawn[0])
    assert not np.array_equal(other, drawn[0])


def test_no_image_depends_on_how_many_there_are():
    labels = np.arange(shapes.CHUNK) % 20
    one, _ = draw(labels, photographs(), seed=3)
    more, _ = draw(np.concatenate([labels, labels]), photographs(), seed=3)
    np.testing.assert_array_equal(more[:shapes.CHUNK], one)


@pytest.mark.parametrize("shape, share", [
    ("disc", (0.7, 0.85)), ("triangle", (0.35, 0.45)), ("cross", (0.4, 0.65)),
    ("ring", (0.45, 0.65))])
def test_shapes_cover_their_share_of_the_circle_around_them(shape, share):
    radius = np.full((1, 1, 1), 20 << shapes.FRACTION, np.int32)
    origin = [np.full((1, 1, 1), 32, np.int32)] * 2
    frame = shapes._frame(origin, np.full((1, 1, 1), 9))
    inside = shapes._inside(np.array([SHAPES.index(shape)]), *frame, radius)
    assert share[0] < inside.sum() / (np.pi * 20**2) < share[1]


def test_each_texture_paints_about_half_of_its_own():
    period = np.full((1, 1, 1), 8 << shapes.FRACTION, np.int32)
    origin = [np.full((1, 1, 1), 32, np.int32)] * 2
    frame = shapes._frame(origin, np.full((1, 1, 1), 5))
    painted = [shapes._pattern(np.array([i]), *frame, period) for i in range(len(TEXTURES))]
    for i, one in enumerate(painted):
        assert 0.4 < one.mean() < 0.6
        assert all((one != other).mean() > 0.2 for other in painted[:i])


def test_empty_and_covered(drawn):
    pixels, covered = drawn
    assert pixels.dtype == np.uint8 and covered.dtype == bool
    assert 0.02 < covered.mean(axis=(1, 2)).min() and covered.mean(axis=(1, 2)).max() < 0.6
    assert draw(np.zeros(0, np.int64), photographs(), 0)[0].shape == (0, 3, SIDE, SIDE)
