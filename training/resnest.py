"""Recipe of the crop classifier (METHODS 4): three classes, balanced sampling, synthetic tints, average of the weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inference.preprocess import Pixels
from inference.resnest import CropClassifier, ResNeStConfig, non_regular_logit
from training import start_weights
from training.augment import classifier_views, light, soften, tint_some, to_float
from training.config import ResNeStRecipe
from training.engine import Loop, Reporter, fit
from training.metrics import auroc

SHARES = (0.62, 0.16, 0.22)
"""Shares of regular, green and iodine pictures in an epoch, before synthetic tints turn regular ones into green and iodine."""


def train(
    wide: Pixels, targets: NDArray[np.int64], held: Pixels, held_targets: NDArray[np.int64], recipe: ResNeStRecipe, *,
    start: dict[str, Tensor] | None, out: Path, seed: int, device: str, reporter: Reporter, backbone: str = "", size: int = 0,
) -> tuple[CropClassifier, dict[str, float]]:  # fmt: skip
    """Train on wide crops (N, S, S, 3) with targets (N,) by CLASSIFIED_KINDS; `held` are inference crops that choose the epoch.

    Returns the model in eval mode and `auroc` and `loss` on the held crops. `backbone` and `size` override the recipe (those of `start`).
    """
    torch.manual_seed(seed)
    model = CropClassifier(ResNeStConfig(backbone=backbone or recipe.backbone, size=size or recipe.size))
    if start is not None:
        model.load_state_dict(start)
    else:
        start_weights.load(model.net, model.config.backbone, recipe.weights, num_classes=model.config.classes)
        # Some families draw a new head so wide that hundreds of steps are lost on shrinking it
        nn.init.zeros_(model.net.get_classifier().weight)
    model.to(device)
    side = model.config.size
    steps = max(1, (recipe.epoch_images or len(wide)) // recipe.batch)
    loop = Loop(
        stage="resnest", epochs=recipe.epochs, steps=steps, lr=recipe.lr * (recipe.start_lr_factor if start or recipe.weights else 1.0),
        weight_decay=recipe.weight_decay, checkpoint=out / "resnest.ckpt", seed=seed, ema=recipe.ema, device=device,
    )  # fmt: skip

    def batches(_: int, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in torch.split(balanced(targets, steps * recipe.batch, rng), recipe.batch):
            yield batch_of(wide, targets, chosen, side, recipe, rng)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch[0].to(device)).float(), batch[1].to(device))

    def score_of(_: nn.Module) -> float:
        return -figures_on(model, held, held_targets)["loss"]

    fit(model, batches, loss_of, loop, reporter, score_of=score_of if len(held) else None)
    return model, figures_on(model, held, held_targets)


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
    wide: Pixels, targets: NDArray[np.int64], chosen: Tensor, side: int, recipe: ResNeStRecipe, rng: Generator
) -> tuple[Tensor, Tensor]:
    """Augmented crops (N, 3, side, side) and targets, some of them turned green or iodine."""
    images, classes = to_float(torch.from_numpy(wide[chosen.numpy()])), torch.from_numpy(targets[chosen.numpy()])
    images = classifier_views(images, side, rng)
    images, classes = tint_some(images, classes, recipe.synthetic_green, recipe.synthetic_iodine, rng)
    return soften(light(images, rng), rng), classes


@torch.inference_mode()
def logits_of(model: CropClassifier, crops: Pixels, *, batch: int = 64) -> Tensor:
    """Logits (N, 3) of inference crops, on the CPU."""
    device = next(model.parameters()).device
    parts = [model(to_float(torch.from_numpy(crops[i : i + batch])).to(device)).float().cpu() for i in range(0, len(crops), batch)]
    return torch.cat(parts) if parts else torch.zeros(0, model.config.classes)


def figures_on(model: CropClassifier, crops: Pixels, targets: NDArray[np.int64]) -> dict[str, float]:
    """Class-balanced cross-entropy and AUROC of non-regular on inference crops; NaN where there are none."""
    model.eval()
    if not len(crops):
        return {"loss": float("nan"), "auroc": float("nan")}
    logits, truth = logits_of(model, crops), torch.from_numpy(targets)
    counts = torch.bincount(truth, minlength=logits.shape[1])
    weights = torch.where(counts > 0, 1.0 / counts.clamp(min=1), 0.0)
    loss = F.cross_entropy(logits, truth, weight=weights)
    return {"loss": float(loss), "auroc": auroc(non_regular_logit(logits).numpy().astype(np.float64), targets > 0)}
