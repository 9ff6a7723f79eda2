"""The digits: enlargement, split, choice of calibration images."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from vitrtl.sw.data import ImageSet, enlarge, load
from vitrtl.sw.errors import UserError


def test_enlarge_is_bilinear_interpolation_times_sixteen():
    levels = np.random.default_rng(0).integers(0, 17, (3, 5, 7))
    wanted = functional.interpolate(torch.tensor(levels, dtype=torch.float64)[:, None],
                                    scale_factor=2, mode="bilinear", align_corners=False)
    np.testing.assert_array_equal(enlarge(levels), 16 * wanted[:, 0].numpy())


def test_digits_are_small_grey_images_of_ten_classes(digits):
    assert digits.pixels.shape == (1797, 1, 16, 16)
    assert digits.pixels.dtype == np.uint8
    assert (digits.pixels.min(), digits.pixels.max()) == (0, 255)
    assert digits.classes == 10


def test_split_is_the_one_that_the_shipped_weights_never_saw(digits):
    # Another split would let training images into the test part: this checksum must not change.
    assert digits.digest == "afea54d3360f3042"
    assert len(digits.test) == 540
    assert not set(digits.train) & set(digits.test)
    np.testing.assert_array_equal(np.sort(np.concatenate([digits.train, digits.test])),
                                  np.arange(len(digits.labels)))


def test_calibration_takes_training_images_by_seed(digits):
    first, again, other = (digits.calibration(100, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len(set(first.tolist())) == 100
    assert set(first.tolist()) <= set(digits.train.tolist())


@pytest.mark.parametrize("count", [0, 1258])
def test_calibration_refuses_more_images_than_there_are(digits, count):
    with pytest.raises(UserError, match=r"^calibration images must be 1\.\.1257 \(the training "
                                        rf"part of digits\), not {count}$"):
        digits.calibration(count, 0)


def test_unknown_data_set_is_refused():
    with pytest.raises(UserError, match="^data set must be one of digits, shapes, not 'cats'$"):
        load("cats")


def test_image_set_refuses_what_does_not_fit():
    pixels, labels = np.zeros((4, 1, 2, 2), np.uint8), np.zeros(4, np.int64)
    ids = np.arange(4)
    with pytest.raises(ValueError, match=r"^pixels must be u8 of shape \(images, channels, height,"
                                         r" width\), not float64 of shape \(4, 1, 2, 2\)$"):
        ImageSet("x", pixels.astype(float), labels, ids[:2], ids[2:])
    with pytest.raises(ValueError, match=r"^labels must be one per image \(4\), not of shape "
                                         r"\(3,\)$"):
        ImageSet("x", pixels, labels[:3], ids[:2], ids[2:])
    with pytest.raises(ValueError, match="^train and test must be disjoint$"):
        ImageSet("x", pixels, labels, ids[:3], ids[2:])
