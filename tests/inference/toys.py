"""Small things with the real interface."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from inference import bundle as bundles
from inference.deep_sad import DeepSAD
from inference.detector import CervixDetector, DetectorConfig
from inference.fusion import Fusion
from inference.resnest import CropClassifier, ResNeStConfig
from inference.types import CLASSIFIED_KINDS

DETECTOR = DetectorConfig(backbone="test_resnet", size=64, channels=16, score_threshold=0.0)
CLASSIFIER = ResNeStConfig(backbone="test_resnet", size=32)
EMBEDDING = 96
"""Length of the toy classifier's embedding."""
FUSION = Fusion(
    intercept=0.0, w_logit=0.7, w_distance=0.3, t_lo=0.1, t_hi=0.9, deep_sad_threshold=1.0, beyond=50.0, quantiles=(0.5, 1.0, 2.0, 4.0)
)


def write_bundle(folder: Path, **changes: Any) -> Path:
    torch.manual_seed(3)
    nets = {"detector": CervixDetector(DETECTOR), "resnest": CropClassifier(CLASSIFIER), "deep_sad": DeepSAD()}
    nets["deep_sad"].get_buffer("centre").fill_(0.1)
    bundles.write(folder, {**about(), **changes}, {name: net.state_dict() for name, net in nets.items()}, card=lambda *_: "# A toy\n")
    return folder


def about() -> dict[str, Any]:
    return {
        "name": "tiny", "created": "2026-01-01T00:00:00+00:00", "code_version": "0", "snapshot_hash": "0" * 64,
        "classes": [kind.value for kind in CLASSIFIED_KINDS],
        "parts": {"detector": DETECTOR.as_json(), "resnest": CLASSIFIER.as_json(), "deep_sad": {"size": 32}},
        "fusion": FUSION.as_json(), "metrics": {}, "sources": ["toys"], "licence_note": "none",
    }  # fmt: skip


def blob(size: tuple[int, int] = (160, 120), seed: int = 0) -> Image.Image:
    """A coloured disc on a coloured ground, with noise."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    disc = ((x - width / 2) / (0.35 * width)) ** 2 + ((y - height / 2) / (0.35 * height)) ** 2 < 1
    ground, inside = rng.integers(0, 255, 3), rng.integers(0, 255, 3)
    pixels = np.where(disc[..., None], inside, ground) + rng.normal(0, 8, (height, width, 3))
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def save_blob(path: Path, size: tuple[int, int] = (160, 120), seed: int = 0, **options: Any) -> Path:
    blob(size, seed).save(path, **options)
    return path
