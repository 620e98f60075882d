"""Recipe of the cervix detector (METHODS 2): RetinaNet on pictures with known boxes, with negatives and synthetic tints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from inference.detector import CERVIX, CervixDetector, DetectorConfig
from inference.types import Box
from training import parallel, start_weights
from training.augment import detector_colours, detector_views, to_float
from training.calibrate import non_negative_logistic
from training.config import DetectorRecipe, refuse_words
from training.data import Canvases, background_strips, has_detector_truth, load_canvases
from training.engine import Loop, Reporter, fit
from training.manifest import Record
from training.metrics import box_iou
from training.types import TrainingRefused

CANVAS_ROOM = 1.15
"""Canvases are kept a little larger than the network's, so that zooming in still finds real pixels."""
LEAST_BOXES = 30


def records_for(records: Sequence[Record]) -> list[Record]:
    """Those whose truth is known. Raises TrainingRefused when too few carry a box."""
    known = [record for record in records if has_detector_truth(record)]
    boxes = sum(record.box is not None for record in known)
    if boxes < LEAST_BOXES:
        raise TrainingRefused(
            f"The detector needs at least {LEAST_BOXES} pictures with a cervix box in the train split; there are {boxes}."
        )
    return known


def train(
    train_set: Sequence[Record], validation: Sequence[Record], recipe: DetectorRecipe, *,
    start: Mapping[str, Tensor] | None, out: Path, seed: int, device: str, reporter: Reporter, network: Mapping[str, Any] | None = None,
) -> tuple[CervixDetector, dict[str, float]]:  # fmt: skip
    """Train a detector; returns it in eval mode with the figures of its validation (`iou`: mean of the best box).

    `network`: the architecture of `start`, as bundle.json has it, which overrides the recipe's; how boxes vote stays the recipe's.
    """
    refuse_words(recipe)
    torch.manual_seed(seed)
    model = started(recipe, start, network)
    size = model.config.size
    canvases = with_strips(load_canvases(records_for(train_set), round(size * CANVAS_ROOM), cancelled=reporter.cancelled))
    held = load_canvases([r for r in validation if r.box is not None], size, cancelled=reporter.cancelled)
    model.to(device)
    steps = max(1, (recipe.epoch_images or len(canvases)) // recipe.batch)
    loop = Loop(
        stage="detector", epochs=recipe.epochs, steps=steps, lr=recipe.lr, weight_decay=recipe.weight_decay,
        checkpoint=out / "detector.ckpt", seed=seed, ema=0.99, device=device,
    )  # fmt: skip

    def batches(_: int, rng: Generator) -> Iterator[tuple[Tensor, list[dict[str, Tensor]]]]:
        order = draw(canvases, steps * recipe.batch, recipe.negatives, rng)
        for chosen in torch.split(order, recipe.batch):
            yield batch_of(canvases, parallel.mine(chosen), size, rng)

    def loss_of(batch: tuple[Tensor, list[dict[str, Tensor]]]) -> Tensor:
        images, targets = batch
        moved = [{name: value.to(device) for name, value in target.items()} for target in targets]
        return torch.stack(list(model.losses(images.to(device), moved).values())).sum()

    def score_of(_: nn.Module) -> float:
        return mean_iou(model, held) if len(held) else 0.0

    history = fit(model, batches, loss_of, loop, reporter, score_of=score_of if len(held) else None)
    if len(held):
        model = calibrated(model, with_strips(held))
    return model, {"iou": max(history["scores"], default=0.0), "loss": history["losses"][-1]}


def started(recipe: DetectorRecipe, start: Mapping[str, Tensor] | None, network: Mapping[str, Any] | None) -> CervixDetector:
    """The network with what it begins with. Raises TrainingRefused for weights of another backbone."""
    if start is not None:
        model = CervixDetector(DetectorConfig(**{**(network or recipe.network()), "vote_iou": recipe.vote_iou}))
        model.load_state_dict(start)
        return model
    model = CervixDetector(DetectorConfig(**recipe.network(), vote_iou=recipe.vote_iou))
    levels = {"out_indices": (3, 4)} if recipe.arch == "retinanet_lite" else {}
    start_weights.load(model.net.backbone.body, recipe.backbone, recipe.weights, features_only=True, **levels)
    return model


def with_strips(canvases: Canvases) -> Canvases:
    """Add the strips beside the cervix as negatives."""
    strips = background_strips(canvases)
    nothing = np.full((len(strips), 4), np.nan, dtype=np.float32)
    return Canvases(np.concatenate([canvases.pixels, strips]), np.concatenate([canvases.boxes, nothing]))


def draw(canvases: Canvases, count: int, negatives: float, rng: Generator) -> Tensor:
    """Indices of an epoch: `negatives` of them without a cervix (where there are any), each kind without repetition until used up."""
    empty = np.isnan(canvases.boxes).any(axis=1)
    wanted = round(count * negatives) if empty.any() else 0
    parts = [_cycle(np.flatnonzero(empty), wanted, rng), _cycle(np.flatnonzero(~empty), count - wanted, rng)]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=rng)]


def _cycle(pool: np.ndarray[tuple[int], np.dtype[np.int64]], count: int, rng: Generator) -> Tensor:
    if count == 0:
        return torch.zeros(0, dtype=torch.long)
    rounds = -(-count // len(pool))
    return torch.cat([torch.from_numpy(pool)[torch.randperm(len(pool), generator=rng)] for _ in range(rounds)])[:count]


def batch_of(canvases: Canvases, chosen: Tensor, size: int, rng: Generator) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Augmented images (N, 3, size, size) and torchvision targets."""
    images, boxes = to_float(torch.from_numpy(canvases.pixels[chosen.numpy()])), torch.from_numpy(canvases.boxes[chosen.numpy()])
    images, boxes = detector_views(images, boxes, size, rng)
    return detector_colours(images, rng), [target_of(box) for box in boxes]


def target_of(box: Tensor) -> dict[str, Tensor]:
    if box.isnan().any() or float((box[2:] - box[:2]).min()) < 4:
        return {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.long)}
    return {"boxes": box[None], "labels": torch.tensor([CERVIX])}


def calibrated(model: CervixDetector, held: Canvases) -> CervixDetector:
    """The same detector with scores that are the probability of an overlap of at least a half, by Platt on validation canvases.

    held: canvases with and without a cervix; where all or none of the best boxes are right the scores stay as they are.
    """
    logits, right = best_logits(model, held)
    if right.all() or not right.any():
        return model
    intercept, weights = non_negative_logistic(logits[:, None], right)
    scale, shift = float(weights[0]), intercept
    before = model.config
    changed = replace(before, score_scale=before.score_scale * scale, score_shift=before.score_shift * scale + shift)
    made = CervixDetector(changed).to(next(model.parameters()).device)
    made.load_state_dict(model.state_dict())
    return made.eval()


def best_logits(model: CervixDetector, held: Canvases) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """For each canvas the log odds of its best box (without one: of the lowest score kept) and whether it overlaps the truth by half."""
    device = next(model.parameters()).device
    scores, right = [], []
    for first in range(0, len(held), 32):
        images = to_float(torch.from_numpy(held.pixels[first : first + 32])).to(device)
        for boxes, truth in zip(model.detect(images), held.boxes[first : first + 32], strict=True):
            scores.append(min(max(boxes[0].score, 1e-6), 1 - 1e-6) if boxes else model.config.score_threshold)
            right.append(bool(boxes) and not np.isnan(truth).any() and box_iou(_corners(boxes[0]), tuple(truth.tolist())) >= 0.5)
    odds = np.array(scores, dtype=np.float64)
    return np.log(odds / (1 - odds)), np.array(right)


def _corners(box: Box) -> tuple[float, float, float, float]:
    return box.x0, box.y0, box.x1, box.y1


def mean_iou(model: CervixDetector, held: Canvases) -> float:
    """Mean overlap of the best box with the truth; 0 where nothing is found."""
    device = next(model.parameters()).device
    overlaps = []
    for first in range(0, len(held), 32):
        images = to_float(torch.from_numpy(held.pixels[first : first + 32])).to(device)
        for boxes, truth in zip(model.detect(images), held.boxes[first : first + 32], strict=True):
            overlaps.append(box_iou(_corners(boxes[0]), tuple(truth.tolist())) if boxes else 0.0)
    return float(np.mean(overlaps))
