"""What an integer network is made from: the float network, its images and its calibration."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vitrtl.sw.data import ImageSet
from vitrtl.sw.errors import UserError
from vitrtl.sw.files import digest
from vitrtl.sw.network import IntegerNetwork
from vitrtl.sw.ptq.calibration import Calibration, calibrate
from vitrtl.sw.ptq.images import images_of
from vitrtl.sw.ptq.models import FloatModel, build
from vitrtl.sw.ptq.quantize import export, provenance_of
from vitrtl.sw.ptq.scheme import Scheme

__all__ = ["Origin", "float_model_of", "origin_of"]


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """All that it takes to make integer networks that differ in their methods alone.

    Parameters
    ----------
    given : the float network as it was given.
    images : where the calibration images come from.
    ids : of the calibration images.
    seed : that chose them.
    pixels_digest : checksum of their pixels.
    calibration : its ranges, and the scheme that they are for.
    """

    given: FloatModel
    images: ImageSet
    ids: np.ndarray
    seed: int
    pixels_digest: str
    calibration: Calibration

    @classmethod
    def calibrated(cls, model: FloatModel, images: ImageSet, ids: np.ndarray, seed: int,
                   scheme: Scheme,
                   progress: Callable[[int], None] = lambda images: None) -> "Origin":
        """Calibrate on some images; `progress` is called as `calibrate` does."""
        pixels = images.pixels[ids]
        return cls(model, images, ids, seed, digest(pixels.tobytes()),
                   calibrate(model, pixels, scheme, progress))

    @property
    def model(self) -> FloatModel:
        """The float network that integer networks stand for: of the same function."""
        return self.calibration.model

    @property
    def pixels(self) -> np.ndarray:
        """Calibration images."""
        return self.images.pixels[self.ids]

    def network(self, methods: Mapping[str, str]) -> IntegerNetwork:
        """Return the integer network with a unit for each layer, and its provenance.

        The same one for the same methods; networks share the tensors that they have in common.
        """
        key = frozenset(methods.items())
        if key not in self._networks:
            self._networks[key] = export(self.calibration, methods, provenance_of(
                self.given, self.images, self.ids, self.pixels_digest, self.seed,
                self.calibration.scheme))
        return self._networks[key]

    @functools.cached_property
    def _networks(self) -> dict[frozenset[tuple[str, str]], IntegerNetwork]:
        """Networks that were made, by the method of each layer."""
        return {}


def float_model_of(network: IntegerNetwork, checkpoint: Path | None = None,
                   pretrained: bool = False) -> FloatModel:
    """Return the float network that an integer network was made from.

    Parameters
    ----------
    network : made by `vitrtl quantize`.
    checkpoint, pretrained : where the weights are, if they neither ship nor come from a seed.

    Raises
    ------
    UserError
        If the weights must be given, or are others.
    """
    says = network.provenance
    weights, options = _of(says, "weights", str), dict(says.get("model_options", {}))
    ours = weights == "shipped" or "random_weights" in options
    if not ours and checkpoint is None and not pretrained:
        raise UserError(f"float weights of {network.name} ({weights}) must be given: --checkpoint "
                        "FILE or --pretrained")
    model = build(network.name, checkpoint, pretrained, **options)
    if model.digest != _of(says, "weights_digest", str):
        raise UserError(f"float weights must be those that {network.name} was made from "
                        f"({weights}, {says['weights_digest']}), not {model.digest}")
    return model


def origin_of(network: IntegerNetwork, checkpoint: Path | None = None, pretrained: bool = False,
              progress: Callable[[int], None] = lambda images: None, *,
              data: str | None = None) -> Origin:
    """Return what a network says that it was made from, after making it again.

    Parameters
    ----------
    network : made by `vitrtl quantize`.
    checkpoint, pretrained : where its float weights are, if they are not the shipped ones.
    progress : called as `calibrate` does.
    data : where its images are, if they have moved.

    Raises
    ------
    UserError
        If weights or images are others, or today's export does not give the same integers.
    """
    says = network.provenance
    model, images = float_model_of(network, checkpoint, pretrained), images_of(network, data)
    ids = np.array(_of(says, "calibration_images", list))
    if ids.dtype.kind != "i" or not np.isin(ids, images.train).all():
        raise UserError(f"calibration images of {network.name} must be of the training part of "
                        f"{images.name}")
    wanted = _of(says, "calibration_digest", str)
    if digest(images.pixels[ids].tobytes()) != wanted:
        raise UserError(f"calibration images of {network.name} must have the pixels that they had "
                        f"when it was made ({wanted}): {images.name} has changed")
    origin = Origin.calibrated(model, images, ids, _of(says, "seed", int),
                               Scheme.of_provenance(says), progress)
    again = origin.network(network.methods)
    if again.digest != network.digest:
        raise UserError(f"network {network.digest} cannot be made again from what it says, which "
                        f"gives {again.digest} now: quantize anew")
    return origin


def _of(provenance: Mapping[str, Any], name: str, kind: type) -> Any:
    value = provenance.get(name)
    if not isinstance(value, kind):
        raise UserError(f"the network's provenance must have {name!r}: quantize anew")
    return value
