"""The recipes' numbers: one frozen preset holds everything that TrainConfig leaves open."""

from __future__ import annotations

from dataclasses import dataclass, field

from training.types import TrainConfig, TrainingRefused

PARTS = ("detector", "resnest", "deep_sad")


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """`size`: canvas side in pixels. `negatives`: share of pictures without a cervix in an epoch. `epoch_images`: 0 means all.

    `weights`: what the backbone starts from (training/start_weights.py): a local file, `hub`, or empty for random.
    """

    backbone: str = "resnet10t"
    size: int = 160
    epochs: int = 25
    batch: int = 16
    lr: float = 1e-3
    weight_decay: float = 0.02
    negatives: float = 0.15
    epoch_images: int = 1200
    weights: str = ""


@dataclass(frozen=True, slots=True)
class ResNeStRecipe:
    """`size`: crop side in pixels. `synthetic_*`: share of regular pictures that are tinted anew in every epoch. `weights`: as above."""

    backbone: str = "resnest14d"
    size: int = 64
    epochs: int = 10
    batch: int = 32
    lr: float = 1e-3
    weight_decay: float = 0.05
    synthetic_green: float = 0.30
    synthetic_iodine: float = 0.12
    epoch_images: int = 1792
    ema: float = 0.99
    start_lr_factor: float = 0.4
    """Smaller steps when starting from trained weights instead of random ones."""
    weights: str = ""


@dataclass(frozen=True, slots=True)
class DeepSADRecipe:
    """Section 3 of METHODS. `ae_init`: whether the autoencoder's weights start the encoder (the authors' public code loses them)."""

    epochs: int = 40
    ae_epochs: int = 12
    batch: int = 64
    lr: float = 1e-3
    ae_lr: float = 1e-3
    weight_decay: float = 0.5e-6
    ae_weight_decay: float = 0.5e-3
    eta: float = 1.0
    ae_init: bool = True


@dataclass(frozen=True, slots=True)
class QualityRecipe:
    """Pictures for the quality part. `images`, `held`: of a cervix, to fit the heads and to set the limits. `copies`: spoilt ones of each.
    `scenes`: drawings of anything else. `strips`: cut from beside the cervix. `*_c`: inverse strength of the heads' ridge."""

    images: int = 400
    copies: int = 1
    held: int = 320
    scenes: int = 500
    strips: int = 80
    blur_c: float = 1.0
    content_c: float = 0.02


@dataclass(frozen=True, slots=True)
class Preset:
    detector: DetectorRecipe = field(default_factory=DetectorRecipe)
    resnest: ResNeStRecipe = field(default_factory=ResNeStRecipe)
    deep_sad: DeepSADRecipe = field(default_factory=DeepSADRecipe)
    quality: QualityRecipe = field(default_factory=QualityRecipe)
    health_auroc: float = 0.90
    """Deep SAD's least AUROC on the calibration split before a bundle is written; 0.95 asks for more images than `small` is meant for."""


PRESETS = {
    "small": Preset(
        detector=DetectorRecipe(epochs=6, epoch_images=256),
        resnest=ResNeStRecipe(epochs=5, epoch_images=256),
        deep_sad=DeepSADRecipe(epochs=40, ae_epochs=15),
        quality=QualityRecipe(images=80, held=60, scenes=80, strips=20),
        health_auroc=0.75,
    ),
    "default": Preset(),
    "paper": Preset(
        resnest=ResNeStRecipe(
            backbone="resnest50d",
            size=224,
            epochs=100,
            batch=64,
            lr=5e-4,
            weight_decay=0.0,
            synthetic_green=0.0,
            synthetic_iodine=0.0,
            epoch_images=0,
        ),
        deep_sad=DeepSADRecipe(epochs=150, ae_epochs=150, batch=4, lr=1e-4, ae_lr=1e-4),
    ),
}


def preset_of(config: TrainConfig) -> Preset:
    """The preset of a configuration; raises TrainingRefused on what cannot be trained."""
    chosen = preset_named(config.preset)
    unknown = [part for part in config.parts if part not in PARTS]
    if unknown:
        raise TrainingRefused(f"{', '.join(unknown)} cannot be trained; the parts are {', '.join(PARTS)}.")
    if not config.parts:
        raise TrainingRefused("No part is to be trained; name at least one of " + ", ".join(PARTS) + ".")
    if config.start is None and set(config.parts) != set(PARTS):
        raise TrainingRefused("Without a start bundle every part must be trained, as there is none to copy from.")
    return chosen


def preset_named(name: str) -> Preset:
    if name not in PRESETS:
        raise TrainingRefused(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]
