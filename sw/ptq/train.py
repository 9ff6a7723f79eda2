"""Training of the networks that ship: seeded, on one CPU core."""

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
from vitrtl.sw.ptq.augmentation import AUGMENTATIONS
from vitrtl.sw.ptq.models import FloatModel
from vitrtl.sw.ptq.shipped import SHIPPED

__all__ = ["RECIPES", "Recipe", "accuracy", "train"]

COVERED = 0.3
"""Share of a patch from which on its token is of the image's class, where it is trained too."""

BACKGROUND_WEIGHT = 0.2
"""Weight of the other tokens, most of which have nothing to tell."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Numbers of one training run.

    Parameters
    ----------
    seed : of the weights, the order of the images and the augmentation.
    epochs : passes over the training part.
    warm_up : epochs, of the linear rise to the peak learning rate.
    batch : images per step.
    rate : peak learning rate of AdamW; a linear warm-up leads to it, a cosine from it to zero.
    matrix_rate : peak learning rate of Muon, which then trains the matrices of the blocks; zero
        leaves them to AdamW.
    decay : weight decay of matrices.
    average : decay of the exponential moving average of the weights, which is what is kept.
    smoothing : label smoothing.
    augmentation : name in `AUGMENTATIONS`.
    token_labels : weight of a loss at each token, whose label says what its patch shows (token
        labelling, as LV-ViT has it); a deep network learns from few images by it. Zero for none.
    held_out : images of the training part that are left out, to choose by.
    half : round the weights to 16 bits of float at the end.
    """

    seed: int = 0
    epochs: int
    warm_up: int = 5
    batch: int = 32
    rate: float = 1.5e-3
    matrix_rate: float = 0.0
    decay: float = 0.05
    average: float = 0.99
    smoothing: float = 0.05
    augmentation: str
    token_labels: float = 0.0
    held_out: int = 0
    half: bool = False


RECIPES = {
    "digits_vit": Recipe(epochs=60, augmentation="warp"),
    "shapes_vit": Recipe(epochs=28, warm_up=1, matrix_rate=0.015, decay=0.01, average=0.995,
                         augmentation="mirror", token_labels=1.0, held_out=500, half=True),
}
"""Recipe of each network of which `SHIPPED` has the weights."""


def train(images: ImageSet, name: str, recipe: Recipe,
          progress: Callable[[int, float], None] = lambda epoch, loss: None) -> FloatModel:
    """Train one of the networks that ship on the training part of `images`.

    Parameters
    ----------
    images : as large and of as many channels and classes as the network wants.
    name : in `RECIPES`.
    recipe : the numbers; equal numbers give equal weights on one machine and thread count.
    progress : called after each epoch with its index and mean loss.
    """
    shipped = SHIPPED[name]
    torch.manual_seed(recipe.seed)
    generator = torch.Generator().manual_seed(recipe.seed)
    augment = AUGMENTATIONS[recipe.augmentation]
    module = shipped.untrained()
    model = FloatModel(name=name, module=copy.deepcopy(module).eval(), mean=shipped.mean,
                       std=shipped.std, weights="trained")
    _check(images, model)
    averaged = model.module
    ids = images.train[:len(images.train) - recipe.held_out]
    labels = torch.from_numpy(images.labels[ids])
    tokens = _TokenLabels(module) if recipe.token_labels else None

    optimizers = _optimizers(module, tokens, recipe)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    steps_per_epoch = len(labels) // recipe.batch
    steps = recipe.epochs * steps_per_epoch
    warm_up = min(recipe.warm_up * steps_per_epoch, steps // 4 + 1)

    step = 0
    for epoch in range(recipe.epochs):
        module.train()
        order = torch.randperm(len(labels), generator=generator)
        total = 0.0
        for batch in order[:steps_per_epoch * recipe.batch].split(recipe.batch):
            share = (step + 1) / warm_up if step < warm_up else 0.5 * (
                1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
            groups = [group for optimizer in optimizers for group in optimizer.param_groups]
            for group, peak in zip(groups, peaks, strict=True):
                group["lr"] = peak * share
            planes = model.normalize(torch.from_numpy(images.pixels[ids[batch]]))
            if tokens is not None:
                masks = torch.from_numpy(images.masks[ids[batch]]).float()
                planes = torch.cat([planes, masks[:, None]], dim=1)
            planes = augment(planes, generator)
            features = module.forward_features(planes[:, :module.in_chans])
            loss = functional.cross_entropy(module.forward_head(features), labels[batch],
                                            label_smoothing=recipe.smoothing)
            if tokens is not None:
                loss = loss + recipe.token_labels * tokens(features, planes[:, -1], labels[batch])
            module.zero_grad(set_to_none=True)
            if tokens is not None:
                tokens.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            for optimizer in optimizers:
                optimizer.step()
            step += 1
            _average_weights(averaged, module, min(recipe.average, step / (step + 10)))
            total += loss.item()
        progress(epoch, total / steps_per_epoch)
    if recipe.half:
        averaged.half().float()
    return model


def accuracy(model: FloatModel, images: ImageSet, ids: np.ndarray, batch: int = 64) -> float:
    """Return the share of the images `ids` that `model` classifies rightly."""
    right = 0
    with torch.inference_mode():
        for part in np.array_split(ids, math.ceil(len(ids) / batch)):
            logits = model.module(model.normalize(torch.from_numpy(images.pixels[part])))
            right += int((logits.argmax(-1).numpy() == images.labels[part]).sum())
    return right / len(ids)


class _TokenLabels(nn.Module):
    """Classifier of every token but the class token, for training alone.

    A token is of the image's class where the patch shows enough of what is labelled, else of one
    class more.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.classes = module.num_classes
        self.patch = module.patch_embed.patch_size[0]
        self.head = nn.Linear(module.embed_dim, self.classes + 1)
        weights = torch.ones(self.classes + 1)
        weights[self.classes] = BACKGROUND_WEIGHT
        self.register_buffer("weights", weights)

    def forward(self, features: torch.Tensor, masks: torch.Tensor,
                labels: torch.Tensor) -> torch.Tensor:
        """Return the loss.  Shape: (images, tokens, width), (images, height, width), (images,)."""
        shown = functional.avg_pool2d(masks, self.patch).flatten(1) >= COVERED
        wanted = torch.where(shown, labels[:, None], self.classes)
        logits = self.head(features[:, 1:])
        return functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), self.weights)


def _check(images: ImageSet, model: FloatModel) -> None:
    wanted, classes = model.input_shape, model.module.num_classes
    if images.pixels.shape[1:] != wanted or images.classes != classes:
        raise UserError(f"training images of {model.name} must have shape {wanted} and {classes} "
                        f"classes, but those of {images.name} have shape "
                        f"{images.pixels.shape[1:]} and {images.classes} classes")


def _optimizers(module: nn.Module, tokens: nn.Module | None,
                recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Return AdamW, and before it Muon where the recipe asks for it."""
    parameters = [*module.parameters(), *(tokens.parameters() if tokens else [])]
    optimizers: list[torch.optim.Optimizer] = []
    taken: set[int] = set()
    if recipe.matrix_rate:
        matrices = [p for p in module.blocks.parameters() if p.ndim == 2]
        taken = {id(p) for p in matrices}
        optimizers.append(torch.optim.Muon(matrices, lr=recipe.matrix_rate,
                                           weight_decay=recipe.decay))
    # Weight decay on matrices only: on gains, biases and embeddings it does harm.
    decayed = [p for p in parameters if p.ndim == 2 and id(p) not in taken]
    kept = [p for p in parameters if p.ndim != 2]
    optimizers.append(torch.optim.AdamW([{"params": decayed, "weight_decay": recipe.decay},
                                         {"params": kept, "weight_decay": 0.0}], lr=recipe.rate))
    return optimizers


@torch.no_grad()
def _average_weights(averaged: nn.Module, module: nn.Module, decay: float) -> None:
    """Move each averaged weight towards the current one."""
    for old, new in zip(averaged.parameters(), module.parameters(), strict=True):
        old.lerp_(new, 1 - decay)
