"""Training of the default network: seeded, on one CPU core, in about two minutes."""

import copy
import dataclasses
import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from vitrtl.sw.data import ImageSet
from vitrtl.sw.errors import UserError
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.shipped import untrained_digits_vit

__all__ = ["Recipe", "accuracy", "augment", "train"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of one training run.

    Parameters
    ----------
    seed : of the weights, the order of the images and the augmentation.
    epochs : passes over the training part.
    batch : images per step.
    rate : peak learning rate of AdamW; a linear warm-up leads to it, a cosine from it to zero.
    decay : weight decay.
    average : decay of the exponential moving average of the weights, which is what is kept.
    smoothing : label smoothing.
    """

    seed: int = 0
    epochs: int = 60
    batch: int = 32
    rate: float = 1.5e-3
    decay: float = 0.05
    average: float = 0.99
    smoothing: float = 0.05


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
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


def train(images: ImageSet, recipe: Recipe,
          progress: Callable[[int, float], None] = lambda epoch, loss: None) -> FloatModel:
    """Train the default network on the training part of `images`.

    Parameters
    ----------
    images : grey 16x16 images of 10 classes.
    recipe : the numbers; equal numbers give equal weights on one machine and thread count.
    progress : called after each epoch with its index and mean loss.
    """
    if images.pixels.shape[1:] != (1, 16, 16) or images.classes != 10:
        raise UserError("training images must be grey 16x16 of 10 classes, but those of "
                        f"{images.name} have shape {images.pixels.shape[1:]} and "
                        f"{images.classes} classes")
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    module = untrained_digits_vit()
    model = FloatModel(name="digits_vit", module=copy.deepcopy(module).eval(), mean=(0.5,),
                       std=(0.5,), weights="trained")
    averaged = model.module
    inputs = model.normalize(torch.from_numpy(images.pixels[images.train]))
    labels = torch.from_numpy(images.labels[images.train])

    # Weight decay on matrices only: on gains, biases and embeddings it does harm.
    decayed = [p for p in module.parameters() if p.ndim == 2]
    kept = [p for p in module.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": recipe.decay},
                                   {"params": kept, "weight_decay": 0.0}], lr=recipe.rate)
    steps_per_epoch = len(labels) // recipe.batch
    steps = recipe.epochs * steps_per_epoch
    warm_up = min(5 * steps_per_epoch, steps // 4 + 1)

    step = 0
    for epoch in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(labels), generator=generator)
        total = 0.0
        for batch in order[:steps_per_epoch * recipe.batch].split(recipe.batch):
            share = (step + 1) / warm_up if step < warm_up else 0.5 * (
                1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate * share
            logits = module(augment(inputs[batch], generator))
            loss = functional.cross_entropy(logits, labels[batch],
                                            label_smoothing=recipe.smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
            step += 1
            _average_weights(averaged, module, min(recipe.average, step / (step + 10)))
            total += loss.item()
        progress(epoch, total / steps_per_epoch)
    return model


def accuracy(model: FloatModel, images: ImageSet, ids: np.ndarray, batch: int = 64) -> float:
    """Return the share of the images `ids` that `model` classifies rightly."""
    right = 0
    with torch.inference_mode():
        for part in np.array_split(ids, math.ceil(len(ids) / batch)):
            logits = model.module(model.normalize(torch.from_numpy(images.pixels[part])))
            right += int((logits.argmax(-1).numpy() == images.labels[part]).sum())
    return right / len(ids)


@torch.no_grad()
def _average_weights(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move each averaged weight towards the current one."""
    for old, new in zip(averaged.parameters(), module.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
