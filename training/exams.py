"""Made-up exams: pictures of one patient as a camera that nobody has seen might show them, some under a synthetic filter or stain.

They teach two things that the known sources cannot, as there the classifiers are right nearly always: what to look at beside an exam's
other images, and how little an absolute answer is worth where the camera is another one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
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

Region = tuple[float, float, float, float]

GREEN, IODINE = 0.30, 0.20
"""Shares of the shots under a filter and under a stain; the rest has neither."""
FAINTEST = 0.10
"""Strength of the faintest filter. What nobody could see teaches to be unsure, and how sure to be is learned on real images afterwards."""
MOST = 5
"""Images of an exam at most."""
SURROUNDINGS = 0.8
"""Strength of the stain on the whole frame, of that on the cervix: it is put on the cervix."""
FURTHEST = 1.05
"""Side of the largest piece that a shot shows, in sides of what the picture itself showed."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
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


@dataclass(frozen=True, slots=True)
class Base:
    """A picture that shots are made of: its crop with room around it, at `sides`, its whole frame, and where in the first one the
    inference crop lies: x and y of its middle and half of its width and height, all from -1 to 1 over that square."""

    crop: Pixels
    frame: Pixels
    place: tuple[float, float, float, float] = (0.0, 0.0, 1 / WIDER, 1 / WIDER)


def place_of(inner: Region, outer: Region) -> tuple[float, float, float, float]:
    """Where a region lies in one around it: both are clipped to the picture, so that it is not always in the middle."""
    (x0, y0, x1, y1), (a, b, c, d) = inner, outer
    return (x0 + x1 - a - c) / (c - a), (y0 + y1 - b - d) / (d - b), (x1 - x0) / (c - a), (y1 - y0) / (d - b)


def shots(made: Plan, bases: Mapping[int, Base], side: int, *, batch: int, seed: int) -> Iterator[tuple[slice, Pixels, Pixels]]:
    """The shots in batches: which of them, their crops and their frames (N, side, side, 3) of bytes.

    bases: by the number of the picture, of those that the plan shows. Crop and frame of a shot get the same filter and the same light.
    """
    rng = Generator().manual_seed(seed)
    for first in range(0, len(made), batch):
        rows = slice(first, min(first + batch, len(made)))
        some = [bases[picture] for picture in made.pictures[rows].tolist()]
        mirror = torch.where(chance(len(some), 0.5, rng), -1.0, 1.0)
        crops = _again(np.stack([one.crop for one in some]), torch.tensor([one.place for one in some]), side, mirror, rng)
        frames = _again(np.stack([one.frame for one in some]), torch.tensor([WHOLE] * len(some)), side, mirror, rng)
        whole = _coloured(torch.cat([crops, frames], dim=3), made.kinds[rows], side, rng)
        whole = made.cameras.of(torch.from_numpy(made.exams[rows])).on(other_shot(whole, rng))
        pixels = (whole.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
        yield rows, pixels[:, :, :side], pixels[:, :, side:]


def _again(pixels: Pixels, places: Tensor, side: int, mirror: Tensor, rng: Generator) -> Tensor:
    """What lies at `places` (N, 4) of the pixels, a little nearer or further, turned and moved, as another shot shows it; of what lies
    outside of them nothing."""
    count = len(pixels)
    middle, half = places[:, :2], (places[:, 2:] * uniform(count, 0.8, FURTHEST, rng)[:, None]).clamp(max=1)
    room = (1 - middle.abs() - half).clamp(0, 0.1)
    moved = middle + room * (torch.rand(count, 2, generator=rng) * 2 - 1)
    angle = uniform(count, -0.2, 0.2, rng)
    return warp(to_float(torch.from_numpy(pixels)), output_to_input(angle, half[:, 0] * mirror, half[:, 1], moved[:, 0], moved[:, 1]), side)


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
