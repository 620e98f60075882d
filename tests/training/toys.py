"""A small snapshot with a colour for each kind, and a preset that trains in seconds: the real files and the real recipes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from inference.types import Box, Kind
from training import snapshot
from training.config import DeepSADRecipe, DetectorRecipe, Preset, QualityRecipe, ResNeStRecipe
from training.manifest import SPLITS, Record

COLOURS = {Kind.REGULAR: (205, 120, 130), Kind.GREEN_FILTER: (30, 160, 40), Kind.LUGOL_IODINE: (110, 60, 20)}
TINY = Preset(
    detector=DetectorRecipe(backbone="test_resnet", size=128, epochs=2, batch=8, epoch_images=16),
    resnest=ResNeStRecipe(
        backbone="test_resnet",
        size=32,
        epochs=4,
        batch=8,
        epoch_images=64,
        synthetic_green=0.1,
        synthetic_iodine=0.1,
        ema=0.9,
        lr=3e-3,
        more="test_resnet@40:frame",
    ),
    deep_sad=DeepSADRecipe(epochs=6, ae_epochs=2, batch=16),
    quality=QualityRecipe(images=16, held=12, scenes=16, strips=4),
    health_auroc=0.7,
    health_auroc_resnest=0.7,
)
PATIENTS = {"train": 12, "validation": 3, "calibration": 3, "test": 3}


def picture(folder: Path, kind: Kind, seed: int) -> tuple[Path, Box]:
    """A disc of the kind's colour on a grey ground, and its box."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:72, :96]
    cx, cy, r = 48 + rng.integers(-8, 8), 36 + rng.integers(-5, 5), 24
    pixels = np.full((72, 96, 3), 90.0)
    pixels[(x - cx) ** 2 + (y - cy) ** 2 < r**2] = np.array(COLOURS[kind]) * rng.uniform(0.9, 1.1)
    path = folder / f"{seed}.png"
    Image.fromarray(np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)).save(path)
    return path, Box(float(cx - r), float(cy - r), float(cx + r), float(cy + r))


def records(folder: Path) -> list[Record]:
    """Every patient has two regular pictures, a green one and a stained one."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[Record] = []
    for split in SPLITS:
        for number in range(PATIENTS[split]):
            for kind in (Kind.REGULAR, Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE):
                path, box = picture(folder, kind, len(made))
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                patient = f"{split}-{number}"
                made.append(Record(path, digest, kind, "consensus", patient, patient, f"site-{number % 2}", "d", split, box))
    return made


def write_snapshot(folder: Path, changed: list[Record] | None = None) -> Path:
    snapshot.write(folder, records(folder.with_name(folder.name + "-made")) if changed is None else changed, name="toy")
    return folder


def relabelled(records_: list[Record], split: str, kind: Kind, to: Kind) -> list[Record]:
    return [replace(r, kind=to) if r.split == split and r.kind is kind else r for r in records_]
