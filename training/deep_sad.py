"""Recipe of Deep SAD (METHODS 3): autoencoder, asserted copy of the encoder, centre, and the semi-supervised loss."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from inference.deep_sad import DIMENSIONS, FILTERS, LEAST_CENTRE, SIZE, DeepSAD, Encoder
from inference.preprocess import Pixels
from training import augment, parallel
from training.augment import chance, classifier_views, green_tint, iodine_stain, to_float, uniform
from training.config import DeepSADRecipe
from training.engine import Loop, Reporter, fit
from training.losses import deep_sad, reconstruction
from training.types import TrainingRefused


class Autoencoder(nn.Module):
    """The encoder with its mirror: dense, then upsampling and 5x5 convolutions down to three channels in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder()
        widths = (DIMENSIONS // (SIZE // 8) ** 2, *reversed(FILTERS))
        self.convs = nn.ModuleList(nn.Conv2d(a, b, 5, padding=2, bias=False) for a, b in itertools.pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm2d(b, eps=1e-4, affine=False) for b in widths[1:])
        self.last = nn.Conv2d(widths[-1], 3, 5, padding=2, bias=False)
        self.entry = nn.BatchNorm1d(DIMENSIONS, eps=1e-4, affine=False)

    def forward(self, crops: Tensor) -> Tensor:
        x = self.entry(self.encoder(crops)).view(len(crops), -1, SIZE // 8, SIZE // 8)
        x = F.leaky_relu(x, 0.01)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.interpolate(F.leaky_relu(norm(conv(x)), 0.01), scale_factor=2)
        return torch.sigmoid(self.last(x))


@dataclass(frozen=True, slots=True)
class Material:
    """Wide crops (N, S, S, 3), targets (N,) by CLASSIFIED_KINDS and labels (N,) in {-1, 0, +1} of METHODS 3.

    `plain`: the same crops (N, 32, 32, 3) as inference sees them, for recipes without augmentation; without them the wide ones are cut.
    """

    wide: Pixels
    targets: NDArray[np.int64]
    labels: NDArray[np.int64]
    plain: Pixels | None = None

    def shown(self, rows: NDArray[np.int64]) -> Tensor:
        """Crops (M, 3, 32, 32) as inference sees them."""
        return inner(self.wide[rows]) if self.plain is None else to_float(torch.from_numpy(self.plain[rows]))


def label_of(target: int, *, expert: bool) -> int:
    """+1 expert regular, -1 expert non-regular, 0 not reviewed: an automatic label is never evidence here."""
    if not expert:
        return 0
    return 1 if target == 0 else -1


def copy_encoder(source: Encoder, target: Encoder) -> None:
    """Copy all weights and assert that they arrived: the authors' public code loses them silently by a key prefix (0 of 13 survive)."""
    target.load_state_dict(source.state_dict(), strict=True)
    for (name, kept), given in zip(target.state_dict().items(), source.state_dict().values(), strict=True):
        if not torch.equal(kept, given):
            raise RuntimeError(f"Deep SAD's {name} differs from the autoencoder's after the copy.")


def train(
    material: Material, recipe: DeepSADRecipe, *, start: dict[str, Tensor] | None, out: Path, seed: int, device: str, reporter: Reporter
) -> tuple[DeepSAD, dict[str, float]]:
    """Train Deep SAD; returns it in eval mode and its losses (`first`, `last`). Raises TrainingRefused when a health check fails.

    With `start` the encoder begins from those weights (and a new centre) instead of an autoencoder.
    """
    with one_thread():
        return _train(material, recipe, start=start, out=out, seed=seed, device=device, reporter=reporter)


@contextmanager
def one_thread() -> Iterator[None]:
    """The network is so small that a second thread costs more in waiting than it gains, on busy cores fifty times more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(
    material: Material, recipe: DeepSADRecipe, *, start: dict[str, Tensor] | None, out: Path, seed: int, device: str, reporter: Reporter
) -> tuple[DeepSAD, dict[str, float]]:
    if recipe.unsupervised:
        material = replace(material, labels=np.zeros_like(material.labels))
    torch.manual_seed(seed)
    model = DeepSAD().to(device)
    if start is not None:
        model.load_state_dict(start)
    elif recipe.ae_init:
        copy_encoder(_pretrain(material, recipe, out, seed, device, reporter), model.encoder)
    settle(model, material, everything=recipe.centre_on_all)
    history = _fit(model, material, recipe, out, seed, device, reporter)
    check(model, history["losses"], started=start is not None)
    return model, {"first": history["losses"][0], "last": history["losses"][-1]}


CHECKPOINTS = {"autoencoder": "autoencoder-mean"}
"""Once the loss was a sum over pixels: what Adam remembered of it would hold back thousands of steps of one that goes on."""


def _loop(stage: str, epochs: int, steps: int, lr: float, decay: float, out: Path, seed: int, device: str, *, schedule: bool) -> Loop:
    return Loop(
        stage=stage, epochs=epochs, steps=steps, lr=lr, weight_decay=decay, checkpoint=out / f"{CHECKPOINTS.get(stage, stage)}.ckpt",
        seed=seed, device=device,
        amp=False, adam=True, schedule=schedule, clip=5.0 if schedule else math.inf,
    )  # fmt: skip


def _pretrain(material: Material, recipe: DeepSADRecipe, out: Path, seed: int, device: str, reporter: Reporter) -> Encoder:
    auto = Autoencoder().to(device)
    steps = max(1, len(material.wide) // recipe.batch)
    loop = _loop("autoencoder", recipe.ae_epochs, steps, recipe.ae_lr, recipe.ae_weight_decay, out, seed, device, schedule=recipe.schedule)

    def batches(_: int, rng: Generator) -> Iterator[Tensor]:
        order = torch.randperm(len(material.wide), generator=rng)
        for chosen in _whole(order, recipe.batch, steps):
            rows = parallel.mine(chosen).numpy()
            wide = to_float(torch.from_numpy(material.wide[rows])) if recipe.augment else None
            yield (material.shown(rows) if wide is None else classifier_views(wide, SIZE, rng)).to(device)

    fit(auto, batches, lambda crops: reconstruction(auto(crops), crops), loop, reporter)
    return auto.encoder


def _fit(
    model: DeepSAD, material: Material, recipe: DeepSADRecipe, out: Path, seed: int, device: str, reporter: Reporter
) -> dict[str, Any]:
    steps = max(1, len(material.wide) // recipe.batch)
    loop = _loop("deep_sad", recipe.epochs, steps, recipe.lr, recipe.weight_decay, out, seed, device, schedule=recipe.schedule)

    def batches(_: int, rng: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        whole = steps * recipe.batch
        order = _balanced(material.labels, whole, rng) if recipe.balanced else torch.randperm(len(material.labels), generator=rng)
        for chosen in _whole(order, recipe.batch, steps):
            mine = parallel.mine(chosen)
            yield batch_of(material, mine, rng) if recipe.augment else plain_batch_of(material, mine)

    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        return deep_sad(model(batch[0].to(device)), batch[1].to(device), recipe.eta)

    return fit(model, batches, loss_of, loop, reporter)


def _whole(order: Tensor, batch: int, steps: int) -> Iterator[Tensor]:
    """`steps` whole batches; short lists are repeated, as batch norm needs more than one sample."""
    while len(order) < batch * steps:
        order = torch.cat([order, order])
    yield from torch.split(order[: batch * steps], batch)


def _balanced(labels: NDArray[np.int64], count: int, rng: Generator) -> Tensor:
    """`count` crops: half known regular and unlabelled together, half known non-regular; all of one where there are none of the other."""
    pools = [torch.from_numpy(found) for mask in (labels == -1, labels != -1) if len(found := np.flatnonzero(mask))]
    parts = [pool[torch.randint(len(pool), (count // len(pools),), generator=rng)] for pool in pools]
    order = torch.cat(parts)
    return order[torch.randperm(len(order), generator=rng)]


def plain_batch_of(material: Material, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, 32, 32) as they are, and labels: the paper's."""
    rows = chosen.numpy()
    return material.shown(rows), torch.from_numpy(material.labels[rows])


def batch_of(material: Material, chosen: Tensor, rng: Generator) -> tuple[Tensor, Tensor]:
    """Crops (N, 3, 32, 32) and labels. A third of the regular ones are tinted and become known anomalies; no hue or contrast is changed."""
    rows = chosen.numpy()
    crops, labels = to_float(torch.from_numpy(material.wide[rows])), torch.from_numpy(material.labels[rows])
    crops = classifier_views(crops, SIZE, rng)
    pick, known = torch.rand(len(crops), generator=rng), torch.from_numpy(material.targets[rows]) == 0
    green, iodine = known & (labels == 1) & (pick < 0.22), known & (labels == 1) & (pick > 0.92)
    tinted = green_tint(crops, 0.15 + 0.85 * uniform(len(crops), 0, 1, rng), rng)
    crops = torch.where(green.view(-1, 1, 1, 1), tinted, crops)
    crops = torch.where(iodine.view(-1, 1, 1, 1), iodine_stain(crops, uniform(len(crops), 0.5, 1, rng), rng), crops)
    brightness = torch.where(chance(len(crops), 0.5, rng), uniform(len(crops), 0.8, 1.2, rng), 1.0)
    return (crops * brightness.view(-1, 1, 1, 1)).clamp(0, 1), torch.where(green | iodine, -1, labels)


@torch.no_grad()
def settle(model: DeepSAD, material: Material, *, everything: bool = False) -> None:
    """Fix the centre at the mean output, in eval mode, over the training crops that are no known anomalies, or over all of them."""
    model.eval()
    # A head start for the batch norms: right after a random start their running statistics describe nothing
    device = next(model.parameters()).device
    pixels = material.shown(np.flatnonzero(everything | (material.labels != -1)))
    model.settle(torch.cat([model.encoder(part.to(device)) for part in torch.split(pixels, 256)]))


def inner(wide: Pixels) -> Tensor:
    """The inference crop inside wide crops, at 32 px: (N, 3, 32, 32)."""
    return F.interpolate(augment.inner(to_float(torch.from_numpy(wide))), (SIZE, SIZE), mode="area")


@torch.inference_mode()
def distances_of(model: DeepSAD, crops: Pixels, *, batch: int = 256) -> NDArray[np.float64]:
    """Squared distances (N,) of inference crops (N, 32, 32, 3)."""
    device = next(model.parameters()).device
    parts = [model(to_float(torch.from_numpy(crops[i : i + batch])).to(device)).cpu() for i in range(0, len(crops), batch)]
    return (torch.cat(parts) if parts else torch.zeros(0)).double().numpy()


def check(model: DeepSAD, losses: list[float], *, started: bool) -> None:
    """Health of the trained network: the centre's components away from zero, a loss that fell. Raises TrainingRefused."""
    if float(model.centre.abs().min()) < LEAST_CENTRE - 1e-6:
        raise TrainingRefused("Deep SAD's centre has components near zero: the network could collapse onto it.")
    if not started and len(losses) > 1 and not min(losses[1:]) < losses[0]:
        raise TrainingRefused(f"Deep SAD's loss never fell (from {losses[0]:.4g} to {losses[-1]:.4g}): the labels may be mixed up.")
