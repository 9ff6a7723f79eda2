"""Images for a float network: by name, from a folder in ImageNet's layout, or random.

Pixels of a folder are decoded when they are asked for, as timm does it for the network's
evaluation, but for the normalisation: that is in the network's first layer.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sw.data import DATASETS, ImageSet, load
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest, json_text
from vitrtl.sw.network import IntegerNetwork

__all__ = ["RANDOM", "LazyImageSet", "Preprocessing", "folder_images", "images_for", "images_of",
           "random_images"]

RANDOM = "random"
"""Name of the random images."""
RANDOM_TRAIN, RANDOM_TEST = 1024, 256
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
TRAIN_FOLDERS, TEST_FOLDERS = ("train",), ("val", "test", "valid", "validation")
SPLIT = 5
"""Of a folder that has no parts of its own, every so-manieth image of a class is a test image."""


@dataclasses.dataclass(frozen=True, slots=True)
class Preprocessing:
    """How an image becomes pixels for a network, as timm names it.

    Parameters
    ----------
    shape : channels, height and width of the result.
    interpolation : of the resizing.
    crop_pct : share of the resized image's shorter side that is kept.
    crop_mode : `center`, `squash` or `border`.
    """

    shape: tuple[int, int, int]
    interpolation: str = "bicubic"
    crop_pct: float = 1.0
    crop_mode: str = "center"

    @classmethod
    def fromdict(cls, fields: Mapping[str, Any]) -> "Preprocessing":
        """Build from what a provenance says."""
        return cls(**{**fields, "shape": tuple(fields["shape"])})

    def asdict(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return {**dataclasses.asdict(self), "shape": list(self.shape)}

    def decoder(self) -> Callable[[Path], np.ndarray]:
        """Return what reads an image file.

        Shape
        -----
        (channels, height, width), u8.
        """
        from PIL import Image
        from timm.data import create_transform

        transform = create_transform(self.shape, is_training=False, normalize=False,
                                     interpolation=self.interpolation, crop_pct=self.crop_pct,
                                     crop_mode=self.crop_mode)
        mode = {1: "L", 3: "RGB"}.get(self.shape[0])
        if mode is None:
            raise UserError(f"image files have 1 or 3 channels, but the network takes "
                            f"{self.shape[0]}")

        def decode(path: Path) -> np.ndarray:
            try:
                with Image.open(path) as image:
                    return transform(image.convert(mode)).numpy()
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                raise UserError(f"{path} cannot be read as an image: {error}") from None

        return decode


class _LazyPixels:
    """Pixels that are made when they are asked for, by image ids.

    Parameters
    ----------
    shape : images, channels, height, width.
    make : `make(id) -> pixels` of one image.
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, shape: tuple[int, int, int, int], make: Callable[[int], np.ndarray]) -> None:
        self.shape = shape
        self._make = make

    def __len__(self) -> int:
        return self.shape[0]

    def some(self, ids: np.ndarray) -> "_LazyPixels":
        """Return those of some images, not made yet either."""
        make = self._make
        return _LazyPixels((len(ids), *self.shape[1:]), lambda i: make(int(ids[i])))

    def __getitem__(self, ids: np.ndarray | slice) -> np.ndarray:
        chosen = np.arange(len(self))[ids]
        return np.stack([self._make(int(i)) for i in chosen]) if len(chosen) else np.empty(
            (0, *self.shape[1:]), self.dtype)


@dataclasses.dataclass(frozen=True, eq=False)
class LazyImageSet(ImageSet):
    """Images whose pixels are not held in memory.

    Parameters
    ----------
    source : checksum of what the pixels are made from.
    """

    source: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """Checksum of source, labels and split."""
        arrays = (self.labels, self.train, self.test)
        return digest(self.source, *(np.asarray(a, "<i8").tobytes() for a in arrays))

    def some(self, ids: np.ndarray) -> _LazyPixels:
        """Return the pixels of some images, made when they are asked for by slices."""
        return self.pixels.some(ids)


def images_for(data: str | None, preprocessing: Preprocessing,
               classes: int | None = None) -> ImageSet:
    """Return the images that a user names.

    Parameters
    ----------
    data : a name in `DATASETS`, `random`, or a folder.
    preprocessing : what the network asks for; sets by name are taken as they are.
    classes : that the images must be of, if they are from a folder.

    Raises
    ------
    UserError
        If there are none of that name, or the folder does not hold what it should.
    """
    if data is None:
        raise UserError("images must be given: --data FOLDER, or --data random for noise")
    if data in DATASETS:
        return load(data)
    if data == RANDOM:
        return random_images(preprocessing.shape)
    if not Path(data).is_dir():
        raise UserError(f"images must be a folder, {RANDOM} or one of {', '.join(DATASETS)}, but "
                        f"there is no folder {data}")
    images = folder_images(Path(data), preprocessing)
    if classes is not None and images.classes != classes:
        raise UserError(f"{data} has {images.classes} classes, but the network has {classes}: "
                        "--classes builds one of another number")
    return images


def images_of(network: IntegerNetwork, data: str | None = None) -> ImageSet:
    """Return the images that a network says it was calibrated on, training and test part.

    Parameters
    ----------
    network : made by `vitrtl quantize`.
    data : where they are now, if they have moved.

    Raises
    ------
    UserError
        If they are others now.
    """
    says = network.provenance
    name = data or says.get("data", "digits")
    shape = network.values[network.input].shape
    preprocessing = Preprocessing.fromdict({"shape": shape, **says.get("preprocessing", {})})
    images = images_for(name, preprocessing)
    if says.get("data_digest", images.digest) != images.digest:
        raise UserError(f"{network.name} was calibrated on other images of the name {name}")
    return images


def folder_images(folder: Path, preprocessing: Preprocessing) -> LazyImageSet:
    """Return the images of a folder in ImageNet's layout.

    The folder has `train` and one of `val`, `test`, `valid` or `validation`, each with a folder
    per class; or the classes' folders alone, of whose images in the order of their names every
    fifth is a test image. Classes are numbered in the order of their names. The checksum is of the
    files' names and sizes; what is in them is checked where they are used.

    Parameters
    ----------
    folder : that holds them.
    preprocessing : how a file becomes pixels.

    Raises
    ------
    UserError
        If there are no classes, if one has no images, or if a test class is no training class.
    """
    train = next((folder / n for n in TRAIN_FOLDERS if (folder / n).is_dir()), None)
    test = next((folder / n for n in TEST_FOLDERS if (folder / n).is_dir()), None)
    if (train is None) != (test is None):
        there, lacking = ("test", "train") if train is None else ("train", "val or test")
        raise UserError(f"{folder} has a {there} part but no folder {lacking}")
    parts = [_files(folder)] if train is None else [_files(train), _files(test)]
    names = list(parts[0])
    if unknown := sorted(set(parts[-1]) - set(names)):
        raise UserError(f"{test} has a class {unknown[0]} that {train} has not "
                        f"({len(unknown)} such in all)")
    paths, labels, is_test = [], [], []
    for number, of_part in enumerate(parts):
        for label, name in enumerate(names):
            files = of_part.get(name, [])
            paths += files
            labels += [label] * len(files)
            is_test += [bool(number) if train is not None else i % SPLIT == SPLIT - 1
                        for i in range(len(files))]
    ids, chosen = np.arange(len(paths)), np.array(is_test)
    if not chosen.any():
        raise UserError(f"{folder} must have a class of at least {SPLIT} images for a test part")
    decode = preprocessing.decoder()
    listing = [[path.relative_to(folder).as_posix(), path.stat().st_size] for path in paths]
    return LazyImageSet(
        name=str(folder), labels=np.array(labels), train=ids[~chosen], test=ids[chosen],
        pixels=_LazyPixels((len(paths), *preprocessing.shape), lambda i: decode(paths[i])),
        source=digest(json_text([listing, preprocessing.asdict()])))


def random_images(shape: tuple[int, int, int]) -> LazyImageSet:
    """Return images of coloured noise, coarse and fine, with random labels of two classes.

    They are the same on every machine. What a network makes of them shows that it runs, and how
    far integers follow float; its accuracy means nothing.

    Parameters
    ----------
    shape : channels, height, width.
    """
    channels, height, width = shape

    def make(index: int) -> np.ndarray:
        random = np.random.RandomState([index, *shape])
        total = np.zeros(shape, np.int64)
        for cells in (2, 7, max(height, width)):
            noise = random.randint(-80, 81, (channels, cells, cells))
            total += noise[:, np.arange(height)[:, np.newaxis] * cells // height,
                           np.arange(width) * cells // width]
        return np.clip(total + random.randint(64, 192), 0, 255).astype(np.uint8)

    count = RANDOM_TRAIN + RANDOM_TEST
    return LazyImageSet(
        name=RANDOM, pixels=_LazyPixels((count, *shape), make), labels=np.arange(count) % 2,
        train=np.arange(RANDOM_TRAIN), test=np.arange(RANDOM_TRAIN, count),
        source=digest(RANDOM, str(shape)))


def _files(folder: Path) -> dict[str, list[Path]]:
    """Return the image files of each class, both in the order of their names."""
    classes = sorted(path for path in folder.iterdir()
                     if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise UserError(f"{folder} must have a folder for each class")
    found = {path.name: sorted(file for file in path.rglob("*")
                               if file.suffix.lower() in EXTENSIONS) for path in classes}
    if empty := [name for name, files in found.items() if not files]:
        raise UserError(f"class {folder / empty[0]} must have images ({', '.join(EXTENSIONS)}); "
                        f"{len(empty)} without in all")
    return found
