"""Images from folders, and noise: what is read, how it is split, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from vitrtl.sw.data import load
from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.images import Preprocessing, folder_images, images_for, random_images

SMALL = Preprocessing(shape=(3, 8, 8), interpolation="bilinear", crop_pct=0.5)


def write(folder, counts, size=(24, 16)):
    """Write images of one grey level each, which tells class and place, into class folders."""
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (50 * label + i,) * 3).save(folder / name / f"{i:03}.png")
    return folder


def levels(images, ids):
    return images.pixels[ids][:, 0, 0, 0].tolist()


def test_parts_are_read_as_they_are(tmp_path):
    write(tmp_path / "train", {"cat": 2, "dog": 3})
    write(tmp_path / "val", {"cat": 1, "dog": 1})
    images = folder_images(tmp_path, SMALL)
    assert images.classes == 2 and images.pixels.shape == (7, 3, 8, 8)
    assert levels(images, images.train) == [0, 1, 50, 51, 52]
    assert levels(images, images.test) == [0, 50]
    assert images.labels[images.train].tolist() == [0, 0, 1, 1, 1]
    assert images.calibration(4, seed=0).tolist() == sorted(images.calibration(4, seed=0))


def test_every_fifth_image_of_a_class_is_a_test_image(tmp_path):
    images = folder_images(write(tmp_path / "data", {"cat": 11, "dog": 4}), SMALL)
    assert levels(images, images.test) == [4, 9]
    assert not set(images.test) & set(images.train) and len(images.train) == 13


def test_an_image_is_resized_and_cropped_as_timm_says(tmp_path):
    gradient = np.arange(64, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(32, 0).repeat(3, 2)
    (tmp_path / "a").mkdir()
    for i in range(5):
        Image.fromarray(gradient).save(tmp_path / "a" / f"{i}.png")
    # 32 x 64 to 16 x 32, then the 8 x 8 in the middle: columns 24 to 39 of the file, two by two.
    pixels = folder_images(tmp_path, SMALL).pixels[[0]]
    assert pixels.dtype == np.uint8
    np.testing.assert_allclose(pixels[0, 0, 0], np.arange(24.5, 40, 2), atol=1)


def test_grey_networks_read_grey_pixels(tmp_path):
    grey = Preprocessing(shape=(1, 8, 8))
    images = folder_images(write(tmp_path / "data", {"cat": 5}), grey)
    assert images.pixels[images.test].shape == (1, 1, 8, 8)


def test_the_checksum_follows_files_and_preprocessing(tmp_path):
    folder = write(tmp_path / "data", {"cat": 5, "dog": 5})
    first = folder_images(folder, SMALL).digest
    assert folder_images(folder, SMALL).digest == first
    assert folder_images(folder, Preprocessing(shape=(3, 8, 8))).digest != first
    (folder / "dog" / "004.png").rename(folder / "dog" / "005.png")
    assert folder_images(folder, SMALL).digest != first


def test_some_images_are_read_when_they_are_asked_for(tmp_path):
    folder = write(tmp_path / "data", {"cat": 11, "dog": 5})
    images = folder_images(folder, SMALL)
    some = images.some(images.test)
    assert some.shape == (3, 3, 8, 8)
    (folder / "cat" / "004.png").unlink()
    assert some[1:][:, 0, 0, 0].tolist() == levels(images, images.test[1:]) == [9, 54]
    with pytest.raises(UserError, match="004.png cannot be read"):
        some[:1]


def test_an_unreadable_image_is_named(tmp_path):
    folder = write(tmp_path / "data", {"cat": 5})
    (folder / "cat" / "002.png").write_bytes(b"no image")
    images = folder_images(folder, SMALL)
    with pytest.raises(UserError, match=r"cat/002\.png cannot be read as an image: "):
        images.pixels[[2]]
    assert images.pixels[[1, 3]].shape == (2, 3, 8, 8)


@pytest.mark.parametrize("parts, message", [
    ({"": {}}, "must have a folder for each class$"),
    ({"": {"cat": 5, "dog": 0}}, r"^class .*dog must have images \(\.jpg, .*\); 1 without in all$"),
    ({"": {"cat": 4, "dog": 3}}, "must have a class of at least 5 images for a test part$"),
    ({"train": {"cat": 1}}, "has a train part but no folder val or test$"),
    ({"val": {"cat": 1}}, "has a test part but no folder train$"),
    ({"train": {"cat": 1}, "test": {"cat": 1, "owl": 1}},
     r"has a class owl that .*train has not \(1 such in all\)$"),
])
def test_folders_that_are_no_image_sets_are_refused(tmp_path, parts, message):
    for part, counts in parts.items():
        (tmp_path / part).mkdir(exist_ok=True)
        write(tmp_path / part, counts)
    with pytest.raises(UserError, match=message):
        folder_images(tmp_path, SMALL)


def test_noise_is_the_same_for_all_and_different_from_image_to_image():
    images, again = random_images((3, 20, 24)), random_images((3, 20, 24))
    pixels = images.pixels[images.test[:3]]
    np.testing.assert_array_equal(pixels, again.pixels[again.test[:3]])
    assert images.digest == again.digest != random_images((3, 20, 20)).digest
    assert pixels.shape == (3, 3, 20, 24) and (pixels[0] != pixels[1]).mean() > 0.9
    assert len(images.pixels[2:2]) == 0 and pixels.std() > 30


def test_names_folders_and_nothing(tmp_path):
    assert images_for("digits", SMALL) is load("digits")
    assert images_for("random", SMALL).pixels.shape[1:] == (3, 8, 8)
    folder = str(write(tmp_path / "data", {"cat": 5, "dog": 5}))
    assert images_for(folder, SMALL, classes=2).name == folder
    with pytest.raises(UserError, match="has 2 classes, but the network has 10: --classes builds"):
        images_for(folder, SMALL, classes=10)
    with pytest.raises(UserError, match="^images must be given: --data FOLDER"):
        images_for(None, SMALL)
    with pytest.raises(UserError, match="^images must be a folder, random or one of digits.*, but "
                                        "there is no folder nowhere$"):
        images_for("nowhere", SMALL)
