"""Recipes of the crop classifier (METHODS 4).

The default: three classes, balanced sampling, synthetic tints, average of the weights. The paper's: weighted binary cross-entropy, random
resized crop, rotation and mirror, Adam at a constant rate, the epoch that is best on validation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inference.members import Member
from inference.preprocess import Pixels
from inference.resnest import CropClassifier, ResNeStConfig, non_regular_logit
from training import parallel, start_weights
from training.augment import classifier_views, cropped_views, frame_views, inner, light, recompress, soften, tint_some, to_float
from training.config import ADAM, BINARY, CROPPED, ResNeStRecipe, refuse_words
from training.engine import Loop, Reporter, fit
from training.losses import class_weights, log_odds_of_weights, weighted_binary
from training.metrics import auroc
from training.types import TrainingRefused

SHARES = (0.62, 0.16, 0.22)
"""Shares of regular, green and iodine pictures in an epoch, before synthetic tints turn regular ones into green and iodine."""


def train(
    wide: Pixels, targets: NDArray[np.int64], held: Pixels, held_targets: NDArray[np.int64], recipe: ResNeStRecipe, *,
    start: dict[str, Tensor] | None, out: Path, seed: int, device: str, reporter: Reporter, backbone: str = "", size: int = 0,
    of_frames: bool = False,
) -> tuple[CropClassifier, dict[str, float]]:  # fmt: skip
    """Train on wide crops (N, S, S, 3) with targets (N,) by CLASSIFIED_KINDS; `held` are inference crops that choose the epoch.
    `of_frames`: both are whole frames instead.

    Returns the model in eval mode and `auroc` and `loss` on the held crops. `backbone` and `size` override the recipe (those of `start`).
    """
    refuse_words(recipe)
    torch.manual_seed(seed)
    model = started(replace(recipe, backbone=backbone or recipe.backbone, size=size or recipe.size), start).to(device)
    side = model.config.size
    steps = max(1, (recipe.epoch_images or len(wide)) // recipe.batch)
    loop = Loop(
        stage="resnest", epochs=recipe.epochs, steps=steps, lr=recipe.lr * (recipe.start_lr_factor if start or recipe.weights else 1.0),
        weight_decay=recipe.weight_decay, checkpoint=out / "resnest.ckpt", seed=seed, ema=recipe.ema, device=device,
        adam=recipe.optimizer == ADAM, schedule=recipe.optimizer != ADAM,
    )  # fmt: skip

    def batches(_: int, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        order = (every if recipe.objective == BINARY else balanced)(targets, steps * recipe.batch, rng)
        for chosen in torch.split(order, recipe.batch):
            yield batch_of(wide, targets, parallel.mine(chosen), side, recipe, rng, of_frames=of_frames)

    counts = torch.tensor([int((targets == 0).sum()), int((targets > 0).sum())])
    weights = class_weights(counts).to(device)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        crops, classes = batch[0].to(device), batch[1].to(device)
        if recipe.objective == BINARY:
            return binary_loss(model, crops, classes, weights)
        return F.cross_entropy(model(crops).float(), classes)

    def score_of(_: nn.Module) -> float:
        return -figures_on(model, held, held_targets)["loss"]

    fit(model, batches, loss_of, loop, reporter, score_of=score_of if len(held) else None)
    if recipe.objective == BINARY:
        unweight(model, *counts.tolist())
    return model, figures_on(model, held, held_targets)


def started(recipe: ResNeStRecipe, start: Mapping[str, Tensor] | None) -> CropClassifier:
    """The recipe's first network with what it begins with. Raises TrainingRefused for weights of another backbone."""
    model = CropClassifier(ResNeStConfig(backbone=recipe.backbone, size=recipe.size))
    if start is not None:
        model.load_state_dict(start)
        return model
    start_weights.load(model.net, recipe.backbone, recipe.weights, num_classes=model.config.classes)
    # Some families draw a new head so wide that hundreds of steps are lost on shrinking it
    nn.init.zeros_(model.net.get_classifier().weight)
    return model


def members_of(known: Mapping[str, Any], recipe: ResNeStRecipe) -> tuple[tuple[Member, str], ...]:
    """The classifier's networks and their start weights: as the start bundle has them, else as the recipe.

    Raises TrainingRefused where the recipe names further networks that the start bundle does not have.
    """
    _, *asked = recipe.members()
    if not known:
        return recipe.members()
    kept = ResNeStConfig.from_json(known)
    if asked and tuple(member for member, _ in asked) != kept.more:
        raise TrainingRefused(
            f"more = {recipe.more!r} cannot be added to the networks of a start bundle. Leave it out, or train the classifier anew (fresh)."
        )
    return tuple((member, "") for member in kept.members)


def config_of(members: Sequence[Member]) -> ResNeStConfig:
    """Of networks, the first of which gives the embedding."""
    first, *further = members
    return ResNeStConfig(backbone=first.backbone, size=first.size, more=tuple(further))


def own_of(states: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """Of a whole classifier's weights those of its `number`th network, by the names that it has alone."""
    further = {name: value for name, value in states.items() if name.startswith("more.")}
    if number == 0:
        return {name: value for name, value in states.items() if name not in further}
    prefix = f"more.{number - 1}."
    return {name.removeprefix(prefix): value for name, value in further.items() if name.startswith(prefix)}


def together(states: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights of networks that were trained by themselves, by the names that they have in one classifier."""
    first, *further = states
    return {**first, **{f"more.{number}.{name}": value for number, one in enumerate(further) for name, value in one.items()}}


def binary_loss(model: CropClassifier, crops: Tensor, classes: Tensor, weights: Tensor) -> Tensor:
    """The paper's weighted binary cross-entropy on the log odds of non-regular, plus which of green and iodine it is.

    A bundle names the kind, which the binary loss leaves open. That part sees a detached embedding, so that the features are those of the
    paper's loss alone.
    """
    logits, embedding = model.both(crops)
    loss = weighted_binary(non_regular_logit(logits.float()), classes > 0, weights)
    stained = classes > 0
    # Both parts touch every weight in every step, also where there is nothing to tell apart: several processes must agree on that
    kinds = model.net.get_classifier()(embedding.detach()).float()[:, 1:]
    apart = F.cross_entropy(kinds, (classes - 1).clamp(min=0), reduction="none")
    return loss + (apart * stained).sum() / stained.sum().clamp(min=1)


@torch.no_grad()
def unweight(model: CropClassifier, negatives: int, positives: int) -> None:
    """Take what the class weights added to the log odds off again, in the bias of regular."""
    model.net.get_classifier().bias[0] += log_odds_of_weights(negatives, positives)


def every(targets: NDArray[np.int64], count: int, rng: Generator) -> Tensor:
    """Indices of an epoch that shows every crop once; short lists are repeated, as batch norm needs whole batches."""
    order = torch.randperm(len(targets), generator=rng)
    return order.repeat(-(-count // len(order)))[:count]


def balanced(targets: NDArray[np.int64], count: int, rng: Generator) -> Tensor:
    """Indices of an epoch in fixed shares of the classes, each class without repetition until it is used up."""
    parts = []
    for kind, share in enumerate(SHARES):
        pool = torch.from_numpy(np.flatnonzero(targets == kind))
        if len(pool):
            wanted = round(share * count)
            rounds = -(-wanted // len(pool))
            parts.append(torch.cat([pool[torch.randperm(len(pool), generator=rng)] for _ in range(rounds)])[:wanted])
    order = torch.cat(parts)
    order = order[torch.randperm(len(order), generator=rng)]
    short = count - len(order)
    # Rounding may leave the last batch short, and batch norm in split attention needs whole ones
    return torch.cat([order, order[:short]]) if short > 0 else order[:count]


def batch_of(
    wide: Pixels, targets: NDArray[np.int64], chosen: Tensor, side: int, recipe: ResNeStRecipe, rng: Generator, *, of_frames: bool = False
) -> tuple[Tensor, Tensor]:
    """Augmented crops or frames (N, 3, side, side) and targets, some of them turned green or iodine."""
    images, classes = to_float(torch.from_numpy(wide[chosen.numpy()])), torch.from_numpy(targets[chosen.numpy()])
    cropped = recipe.views == CROPPED
    if cropped:
        images = cropped_views(images if of_frames else inner(images), side, rng)
    else:
        images = (frame_views if of_frames else classifier_views)(images, side, rng)
    images, classes = tint_some(images, classes, recipe.synthetic_green, recipe.synthetic_iodine, rng)
    if not cropped:
        images = soften(light(images, rng), rng)
    # Last, as a camera compresses what its lens and sensor have made of the scene
    return recompress(images, recipe.jpeg, rng), classes


@torch.inference_mode()
def logits_of(model: CropClassifier, crops: Pixels, frames: Pixels | None = None, *, batch: int = 64) -> Tensor:
    """Logits (N, 3) of inference crops, and of their frames where the model asks for them, on the CPU."""
    device = next(model.parameters()).device

    def shown(pixels: Pixels, first: int) -> Tensor:
        return to_float(torch.from_numpy(pixels[first : first + batch])).to(device)

    starts = range(0, len(crops), batch)
    parts = [model(shown(crops, i), None if frames is None else shown(frames, i)).float().cpu() for i in starts]
    return torch.cat(parts) if parts else torch.zeros(0, model.config.classes)


def figures_on(model: CropClassifier, crops: Pixels, targets: NDArray[np.int64], frames: Pixels | None = None) -> dict[str, float]:
    """Class-balanced cross-entropy and AUROC of non-regular on inference crops; NaN where there are none."""
    model.eval()
    if not len(crops):
        return {"loss": float("nan"), "auroc": float("nan")}
    logits, truth = logits_of(model, crops, frames), torch.from_numpy(targets)
    counts = torch.bincount(truth, minlength=logits.shape[1])
    weights = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
    loss = F.cross_entropy(logits, truth, weight=weights)
    return {"loss": float(loss), "auroc": auroc(non_regular_logit(logits).numpy().astype(np.float64), targets > 0)}
