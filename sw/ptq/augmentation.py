"""Changes of training images that leave their class: moved, mirrored, recoloured."""

import math
from collections.abc import Callable

import torch
from torch.nn import functional

__all__ = ["AUGMENTATIONS", "Augmentation", "mirror", "warp"]

Augmentation = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
"""`augment(planes, generator)`; shape (images, planes, height, width), kept."""

COLOURS = 3


def warp(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Rotate by up to 12 degrees, scale by up to 12 % and shift by up to 1.5 pixels of 16.

    Shape
    -----
    (images, channels, height, width), kept; the border is the darkest level.
    """
    count = len(images)
    uniform = torch.rand((count, 4), generator=generator) * 2 - 1
    angle = uniform[:, 0] * math.radians(12)
    zoom = 1 + 0.12 * uniform[:, 1]
    theta = torch.stack([
        torch.stack([zoom * torch.cos(angle), -zoom * torch.sin(angle), uniform[:, 2] * 3 / 16], 1),
        torch.stack([zoom * torch.sin(angle), zoom * torch.cos(angle), uniform[:, 3] * 3 / 16], 1),
    ], dim=1)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    # Sampled as distances above black, so that what comes in from outside is black.
    return functional.grid_sample(images + 1, grid, align_corners=False) - 1


def mirror(planes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror and roll a batch by up to 4 pixels, exchange its colours and change their contrast.

    Shape
    -----
    (images, planes, height, width), kept. The first three planes are colours; others, such as the
    mask of what is shown, only move along.
    """
    for axis in (-1, -2):
        if torch.rand((), generator=generator) < 0.5:
            planes = planes.flip(axis)
    shift = torch.randint(-4, 5, (2,), generator=generator).tolist()
    planes = planes.roll(shift, (-2, -1))
    colours = planes[:, torch.randperm(COLOURS, generator=generator)]
    gain = 0.8 + 0.4 * torch.rand((len(planes), COLOURS, 1, 1), generator=generator)
    return torch.cat([colours * gain, planes[:, COLOURS:]], dim=1)


AUGMENTATIONS: dict[str, Augmentation] = {"warp": warp, "mirror": mirror}
"""Augmentations by name."""
