"""Deep SAD and the hypersphere classifier at 224 px: a bias-free head on the ResNeSt embedding (METHODS 3, the paper's future work)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inference.deep_sad import away_from_zero
from inference.preprocess import Pixels
from inference.resnest import CropClassifier
from training import parallel
from training.augment import to_float
from training.config import HeadRecipe, ResNeStRecipe, refuse_words
from training.engine import Loop, Reporter, fit, generator
from training.losses import deep_sad, hypersphere, pseudo_huber
from training.resnest import batch_of


class Head(nn.Module):
    """Two layers without bias, from embeddings (N, D) to outputs (N, dimensions); a bias would let it collapse onto its centre."""

    centre: Tensor
    scale: Tensor

    def __init__(self, inputs: int, recipe: HeadRecipe) -> None:
        super().__init__()
        self.sphere = recipe.loss == "hypersphere"
        self.first = nn.Linear(inputs, recipe.width, bias=False)
        self.last = nn.Linear(recipe.width, recipe.dimensions, bias=False)
        self.register_buffer("centre", torch.zeros(recipe.dimensions))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Outputs (N, dimensions)."""
        out: Tensor = self.last(F.leaky_relu(self.first(embeddings / self.scale), 0.01))
        return out

    def score(self, embeddings: Tensor) -> Tensor:
        """(N,) >= 0, larger is more anomalous: h around the origin for the hypersphere, else the squared distance from the centre."""
        outputs = self(embeddings)
        return pseudo_huber(outputs) if self.sphere else ((outputs - self.centre) ** 2).sum(dim=1)

    @torch.no_grad()
    def settle(self, embeddings: Tensor) -> None:
        """Fix the scale (the root mean square of the embeddings' length) and the centre (the mean output, away from zero)."""
        self.scale.copy_(embeddings.pow(2).sum(1).mean().sqrt().clamp(min=1e-6))
        self.centre.copy_(away_from_zero(self(embeddings).mean(dim=0)))


@torch.inference_mode()
def embeddings_of(model: CropClassifier, crops: Pixels, *, batch: int = 64) -> Tensor:
    """Embeddings (N, D) of inference crops (N, S, S, 3), on the CPU."""
    device = next(model.parameters()).device
    parts = [model.both(to_float(torch.from_numpy(crops[i : i + batch])).to(device))[1].cpu() for i in range(0, len(crops), batch)]
    return torch.cat(parts).float()


@torch.inference_mode()
def embedded_views(
    model: CropClassifier, wide: Pixels, targets: NDArray[np.int64], labels: NDArray[np.int64], recipe: ResNeStRecipe, views: int, seed: int
) -> tuple[Tensor, Tensor]:
    """Embeddings (views * N, D) of augmented wide crops and their labels; what was tinted is a known anomaly."""
    device, side = next(model.parameters()).device, model.config.size
    known, classes = torch.from_numpy(labels), torch.from_numpy(targets)
    embeddings, answers = [], []
    for view in range(views):
        rng = generator(seed, view)
        for chosen in torch.split(torch.arange(len(wide)), 64):
            crops, seen = batch_of(wide, targets, chosen, side, recipe, rng)
            embeddings.append(model.both(crops.to(device))[1].cpu())
            answers.append(torch.where(seen != classes[chosen], -1, known[chosen]))
    return torch.cat(embeddings).float(), torch.cat(answers)


def train(
    embeddings: Tensor, labels: Tensor, recipe: HeadRecipe, *, out: Path, seed: int, device: str, reporter: Reporter
) -> Head:  # fmt: skip
    """Train a head on embeddings (N, D) with labels (N,) of METHODS 3; returns it in eval mode. Raises TrainingRefused."""
    refuse_words(recipe)
    torch.manual_seed(seed)
    # Cloned: what was made in inference mode may not take part in training
    given, known = embeddings.clone(), labels.clone()
    head = Head(given.shape[1], recipe).to(device)
    head.settle(given[known != -1].to(device))
    steps = max(1, len(given) // recipe.batch)
    loop = Loop(
        stage="head", epochs=recipe.epochs, steps=steps, lr=recipe.lr, weight_decay=recipe.weight_decay, checkpoint=out / "head.ckpt",
        seed=seed, amp=False, adam=True, device=device,
    )  # fmt: skip

    def batches(_: int, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(given), generator=rng).repeat(-(-recipe.batch // len(given)))
        for chosen in torch.split(order[: steps * recipe.batch], recipe.batch):
            mine = parallel.mine(chosen)
            yield given[mine].to(device), known[mine].to(device)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        outputs = head(batch[0])
        if head.sphere:
            return hypersphere(outputs, batch[1])
        return deep_sad(((outputs - head.centre) ** 2).sum(dim=1), batch[1], recipe.eta)

    fit(head, batches, loss_of, loop, reporter)
    return head


@torch.inference_mode()
def scores_of(head: Head, embeddings: Tensor) -> NDArray[np.float64]:
    """Scores (N,) of embeddings (N, D)."""
    device = next(head.parameters()).device
    return head.score(embeddings.to(device)).cpu().double().numpy()
