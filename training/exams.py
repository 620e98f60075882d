"""Made-up exams: pictures of one patient as a camera that nobody has seen might show them, some under a synthetic filter or stain.

They teach two things that the known sources cannot, as there the classifiers are right nearly always: what to look at beside an exam's
other images, and how little an absolute answer is worth where the camera is another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from inference.preprocess import Pixels
from training.augment import (
    FRAME_ROOM,
    WIDER,
    Light,
    chance,
    green_tint,
    iodine_stain,
    output_to_input,
    some_light,
    to_float,
    uniform,
    warp,
)

GREEN, IODINE = 0.30, 0.20
"""Shares of the shots under a filter and under a stain; the rest has neither."""
FAINTEST = 0.10
"""Strength of the faintest filter. What nobody could see teaches to be unsure, and how sure to be is learned on real images afterwards."""
MOST = 5
"""Images of an exam at most."""
SURROUNDINGS = 0.8
"""Strength of the stain on the whole frame, of that on the cervix: it is put on the cervix."""
NEAREST = 1.05
"""Side of the largest piece that a shot shows, in sides of what the picture itself showed."""
DEVICE_GAIN = 0.12
"""Channel gains of an unknown camera are within so much of 1; a known one's wander by augment.light's."""


@dataclass(frozen=True, slots=True)
class Plan:
    """N shots of made-up exams: the picture that each shows (N,), its exam (N,) and its kind (N,) by CLASSIFIED_KINDS; and the camera of
    each exam, which all its shots share."""

    pictures: NDArray[np.int64]
    exams: NDArray[np.int64]
    kinds: NDArray[np.int64]
    cameras: Light

    def __len__(self) -> int:
        return len(self.pictures)


def plan(patients: Sequence[str], count: int, *, seed: int) -> Plan:
    """`count` exams of two to five shots each of one patient's regular pictures, given by the patient of each. As many of a patient with
    many pictures as of one with a single one."""
    rng = np.random.default_rng(seed)
    of: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        of.setdefault(patient, []).append(row)
    pools = [np.array(rows) for _, rows in sorted(of.items())]
    sizes = rng.integers(2, MOST + 1, count)
    chosen = [pools[rng.integers(len(pools))] for _ in range(count)]
    pictures = np.concatenate([rng.choice(pool, size) for pool, size in zip(chosen, sizes, strict=True)])
    lot = rng.random(len(pictures))
    kinds = np.where(lot < GREEN, 1, np.where(lot > 1 - IODINE, 2, 0))
    cameras = some_light(count, Generator().manual_seed(seed), gain=DEVICE_GAIN)
    return Plan(pictures, np.repeat(np.arange(count), sizes), kinds, cameras)


def shots(made: Plan, crops: Pixels, frames: Pixels, side: int, *, batch: int, seed: int) -> Iterator[tuple[slice, Pixels, Pixels]]:
    """The shots in batches: which of them, their crops and their frames (N, side, side, 3) of bytes.

    crops: wide ones of the pictures, at `side` times WIDER; frames: whole ones at `side` times FRAME_ROOM. Crop and frame of a shot get
    the same filter and the same light.
    """
    rng = Generator().manual_seed(seed)
    for first in range(0, len(made), batch):
        rows = slice(first, min(first + batch, len(made)))
        pictures = made.pictures[rows]
        mirror = torch.where(chance(len(pictures), 0.5, rng), -1.0, 1.0)
        whole = torch.cat([_again(crops[pictures], side, WIDER, mirror, rng), _again(frames[pictures], side, NEAREST, mirror, rng)], dim=3)
        whole = made.cameras.of(torch.from_numpy(made.exams[rows])).on(other_shot(_coloured(whole, made.kinds[rows], side, rng), rng))
        pixels = (whole.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        yield rows, pixels[:, :, :side], pixels[:, :, side:]


def _again(pixels: Pixels, side: int, room: float, mirror: Tensor, rng: Generator) -> Tensor:
    """The same things a little nearer or further, turned and moved: what another shot shows. `room`: side of the pixels, in sides of what
    the picture itself showed."""
    count = len(pixels)
    zoom = uniform(count, 0.8, NEAREST, rng) / room
    room_left = (1 - zoom).clamp(max=0.1)
    moved = uniform(count, -1, 1, rng) * room_left, uniform(count, -1, 1, rng) * room_left
    return warp(to_float(torch.from_numpy(pixels)), output_to_input(uniform(count, -0.2, 0.2, rng), zoom * mirror, zoom, *moved), side)


def _coloured(whole: Tensor, kinds: NDArray[np.int64], side: int, rng: Generator) -> Tensor:
    """Crops and frames beside one another (N, 3, H, 2 H), under the filter or stain of their kind."""
    count, kind = len(whole), torch.from_numpy(kinds)
    greened, stained = kind == 1, kind == 2
    # More faint ones than strong ones, as in training: there the comparison is needed
    strength = FAINTEST + (1 - FAINTEST) * uniform(count, 0, 1, rng) ** 1.6
    depth = uniform(count, 0.3, 1, rng)[stained]
    out = whole.clone()
    out[greened] = green_tint(whole[greened], strength[greened], rng)
    out[stained, :, :, :side] = iodine_stain(whole[stained, :, :, :side], depth, rng)
    out[stained, :, :, side:] = iodine_stain(whole[stained, :, :, side:], SURROUNDINGS * depth, rng)
    return out


def other_shot(images: Tensor, rng: Generator) -> Tensor:
    """The same scene a moment later (N, 3, H, W): exposure, white balance and contrast wander a little between shots of one camera."""
    count = len(images)
    gamma = torch.exp(uniform(count, -0.12, 0.12, rng)).view(-1, 1, 1, 1)
    balance = torch.exp((torch.rand(count, 3, 1, 1, generator=rng) * 2 - 1) * 0.05)
    exposure = torch.exp(uniform(count, -0.15, 0.15, rng)).view(-1, 1, 1, 1)
    shot = images.clamp(1e-4, 1) ** gamma * balance * exposure
    grey = shot.mean(1, keepdim=True)
    return (grey + (shot - grey) * torch.exp(uniform(count, -0.1, 0.1, rng)).view(-1, 1, 1, 1)).clamp(0, 1)


def texts(values: Sequence[str]) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)


def sides(side: int) -> tuple[int, int]:
    """Sides of the wide crops and of the frames that shots of `side` are cut from."""
    return math.ceil(side * WIDER), math.ceil(side * FRAME_ROOM)
