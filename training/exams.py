"""Made-up exams: pictures of one patient, taken again in slightly other light, some under a synthetic filter or stain."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from inference.preprocess import Pixels
from training.augment import green_tint, iodine_stain, to_float, uniform
from training.context import Table, joined

GREEN, IODINE = 0.40, 0.25
"""Shares of the copies under a filter and under a stain; the rest is taken again without either."""
FAINTEST = 0.25
"""Strength of the faintest filter: what nobody could see, in any exam, only teaches to be unsure."""
MOST = 6
"""Images of an exam at most."""
SURROUNDINGS = 0.6
"""Strength of the stain on the whole frame, of that on the cervix: it is put on the cervix."""


def copies(crops: Pixels, frames: Pixels, rng: Generator) -> tuple[Pixels, Pixels, NDArray[np.int64]]:
    """One copy of each regular picture: crops and frames (N, S, S, 3) of bytes as another shot might show them, and kinds (N,).

    Crop and frame get the same light and the same filter.
    """
    side, count = crops.shape[1], len(crops)
    whole = torch.cat([to_float(torch.from_numpy(crops)), to_float(torch.from_numpy(frames))], dim=3)
    shot = other_shot(whole, rng)
    pick = torch.rand(count, generator=rng)
    greened, stained = pick < GREEN, pick > 1 - IODINE
    # More faint ones than strong ones, as in training: there the comparison is needed
    strength = FAINTEST + (1 - FAINTEST) * uniform(count, 0, 1, rng) ** 1.6
    shot[greened] = green_tint(shot[greened], strength[greened], rng)
    depth = uniform(count, 0.3, 1, rng)[stained]
    shot[stained, :, :, :side] = iodine_stain(shot[stained, :, :, :side], depth, rng)
    shot[stained, :, :, side:] = iodine_stain(shot[stained, :, :, side:], SURROUNDINGS * depth, rng)
    pixels = (shot.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    return pixels[:, :, :side], pixels[:, :, side:], torch.where(greened, 1, torch.where(stained, 2, 0)).numpy()


def other_shot(images: Tensor, rng: Generator) -> Tensor:
    """The same scene a moment later (N, 3, H, W): exposure, white balance and contrast wander a little between shots of one camera."""
    count = len(images)
    gamma = torch.exp(uniform(count, -0.12, 0.12, rng)).view(-1, 1, 1, 1)
    balance = torch.exp((torch.rand(count, 3, 1, 1, generator=rng) * 2 - 1) * 0.05)
    exposure = torch.exp(uniform(count, -0.15, 0.15, rng)).view(-1, 1, 1, 1)
    shot = images.clamp(1e-4, 1) ** gamma * balance * exposure
    grey = shot.mean(1, keepdim=True)
    return (grey + (shot - grey) * torch.exp(uniform(count, -0.1, 0.1, rng)).view(-1, 1, 1, 1)).clamp(0, 1)


def make_up(pool: Table, count: int, *, seed: int) -> Table:
    """`count` exams of two to six rows each, drawn from the rows of one exam of the pool (real pictures and their copies)."""
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[int]] = {}
    for row, key in enumerate(zip(pool.exams.tolist(), pool.devices.tolist(), strict=True)):
        groups.setdefault(key, []).append(row)
    rows = [np.array(members) for _, members in sorted(groups.items()) if len(members) > 1]
    if not rows:
        return pool.rows(np.zeros(0, dtype=np.int64))
    return joined(_exam(pool, rows[rng.integers(len(rows))], number, rng) for number in range(count))


def _exam(pool: Table, members: NDArray[np.int64], number: int, rng: np.random.Generator) -> Table:
    size = int(rng.integers(2, MOST + 1))
    taken = pool.rows(rng.permutation(members)[:size])
    exams = np.array([f"made-up-{number}"] * len(taken), dtype=np.str_)
    return Table(taken.signals, taken.targets, exams, taken.patients, taken.devices, taken.weights)


def texts(values: Sequence[str]) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)
