"""The recipes' numbers: one frozen preset holds everything that TrainConfig leaves open. Every value is explained and may be set."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from inference.members import CROP, FRAME, Member
from training.explained import explained
from training.types import TrainConfig, TrainingRefused

PARTS = ("detector", "resnest", "deep_sad")
TIMM = "timm:"
"""Before the name of any timm backbone, which makes it a method."""
RANDOM, AUTOENCODER = "random weights", "an autoencoder"
NETWORK = ("arch", "backbone", "size", "channels")
"""Of a detector's settings those that say which network it is."""
ITSELF = ("paper",)
"""Presets that are about the networks they name, and are not trained on the weights of others."""
THREE_CLASSES, BINARY = "three_classes", "binary"
TURNED, CROPPED = "turned", "cropped"
ADAMW, ADAM = "adamw", "adam"


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """METHODS 2."""

    arch: str = explained("retinanet_lite", "retinanet_lite (any timm backbone, P4-P7) or retinanet_v2 (torchvision's ResNet-50, P3-P7)")
    backbone: str = explained("resnet10t", "timm name; retinanet_v2 knows only resnet50")
    size: int = explained(160, "side of the square canvas in pixels; 704 gives a 4:3 photograph a short side of 528")
    channels: int = explained(64, "width of the pyramid and the heads; retinanet_v2 always has 256")
    epochs: int = explained(25, "passes")
    batch: int = explained(16, "pictures a step, over all processes")
    lr: float = explained(1e-3, "highest learning rate of AdamW")
    weight_decay: float = explained(0.02, "of the weight matrices")
    negatives: float = explained(0.15, "share of pictures without a cervix in an epoch, 0 to 1")
    epoch_images: int = explained(1200, "pictures an epoch; 0 means all")
    vote_iou: float = explained(
        0.5, "a box becomes the mean of those that overlap it by so much, by their scores; 0: the best one as it is"
    )
    weights: str = explained("", "what the backbone starts from: a local file, hub, or empty for random (training/start_weights.py)")

    def network(self) -> dict[str, Any]:
        """What says which network it is, by the names of bundle.json."""
        return {name: getattr(self, name) for name in NETWORK}


@dataclass(frozen=True, slots=True)
class ResNeStRecipe:
    """METHODS 4."""

    backbone: str = explained("resnest14d", "any timm name")
    size: int = explained(64, "side of the crop in pixels")
    epochs: int = explained(10, "passes")
    batch: int = explained(32, "crops a step, over all processes")
    lr: float = explained(1e-3, "highest learning rate")
    weight_decay: float = explained(0.05, "of the weight matrices")
    synthetic_green: float = explained(0.30, "share of the regular crops that are tinted green anew in every epoch, 0 to 1")
    synthetic_iodine: float = explained(0.12, "share of the regular crops that are stained anew in every epoch, 0 to 1")
    jpeg: float = explained(0.25, "share of the crops that are compressed as JPEG of quality 30 to 95, anew in every epoch, 0 to 1")
    epoch_images: int = explained(1792, "crops an epoch; 0 means all")
    ema: float = explained(0.99, "decay of the weights' running average, which is what is kept; 0 keeps the plain weights")
    start_lr_factor: float = explained(0.4, "smaller steps when starting from trained weights instead of random ones")
    objective: str = explained(
        THREE_CLASSES, "three_classes (cross-entropy, balanced sampling) or binary (the paper's: weighted by N / (2 N_c), every crop once)"
    )
    views: str = explained(TURNED, "turned (+-180 degrees, light and blur) or cropped (the paper's: random resized crop, rotation, mirror)")
    optimizer: str = explained(ADAMW, "adamw (cosine with warm-up) or adam (the paper's: constant rate)")
    weights: str = explained("", "what the backbone starts from: a local file, hub, or empty for random (training/start_weights.py)")
    more: str = explained(
        "", "further networks whose logits are averaged with the first one's: BACKBONE@SIZE, or BACKBONE@SIZE:frame for one that sees the "
        "whole frame, separated by commas",
    )  # fmt: skip
    more_weights: str = explained("", "what each of these starts from, as `weights`, separated by commas; empty for random")

    def members(self) -> tuple[tuple[Member, str], ...]:
        """Every network and its start weights, the first one first. Raises TrainingRefused for what cannot be read."""
        named = [one.strip().partition("@") for one in self.more.split(",") if one.strip()]
        starts = [one.strip() for one in self.more_weights.split(",")] if self.more_weights else [""] * len(named)
        asked = [(name, *rest.partition(":")) for name, _, rest in named]
        read = [Member(name, int(size) if size.isdigit() else 0, view or CROP) for name, size, _, view in asked]
        if len(starts) != len(read) or not all(self._fits(one) for one in read):
            raise TrainingRefused(
                f"more = {self.more!r} must name BACKBONE@SIZE or BACKBONE@SIZE:frame for each further network, crops no larger than "
                f"{self.size} pixels, and more_weights as many files."
            )
        return ((Member(self.backbone, self.size), self.weights), *zip(read, starts, strict=True))

    def _fits(self, one: Member) -> bool:
        return one.size > 0 and (one.view == FRAME or (one.view == CROP and one.size <= self.size))


@dataclass(frozen=True, slots=True)
class DeepSADRecipe:
    """METHODS 3."""

    epochs: int = explained(40, "passes with the Deep SAD loss")
    ae_epochs: int = explained(12, "passes of the autoencoder")
    batch: int = explained(64, "crops a step, over all processes")
    lr: float = explained(1e-3, "learning rate of Adam")
    ae_lr: float = explained(1e-3, "learning rate of the autoencoder")
    weight_decay: float = explained(0.5e-6, "of all weights")
    ae_weight_decay: float = explained(0.5e-3, "of the autoencoder's weights")
    eta: float = explained(1.0, "weight of labelled against unlabelled crops")
    ae_init: bool = explained(True, "whether the autoencoder's weights start the encoder (the authors' public code loses them)")
    unsupervised: bool = explained(False, "Deep SVDD: every label is 0")
    augment: bool = explained(True, "turned and tinted views; the paper shows the crops as they are")
    balanced: bool = explained(True, "half of a batch known non-regular; the paper shows every crop once an epoch")
    centre_on_all: bool = explained(False, "centre over all training crops (the authors' code), not only those that are no known anomaly")
    schedule: bool = explained(True, "cosine with warm-up; the paper's rate is constant")


@dataclass(frozen=True, slots=True)
class HeadRecipe:
    """METHODS 3, beyond the paper: a bias-free head on the embedding of a trained ResNeSt."""

    loss: str = explained("deep_sad", "deep_sad (Ruff et al. 2020) or hypersphere (Ruff et al. 2021)")
    width: int = explained(512, "units of the hidden layer")
    dimensions: int = explained(128, "length of the output")
    views: int = explained(4, "augmented views of every training crop that are embedded once and then trained on")
    epochs: int = explained(40, "passes")
    batch: int = explained(128, "embeddings a step, over all processes")
    lr: float = explained(1e-3, "highest learning rate of Adam")
    weight_decay: float = explained(0.5e-6, "of all weights")
    eta: float = explained(1.0, "weight of labelled against unlabelled crops, with deep_sad")


@dataclass(frozen=True, slots=True)
class QualityRecipe:
    """Pictures that the quality part is fitted on, and how firmly its heads are held."""

    images: int = explained(1000, "pictures of a cervix to fit the heads on")
    copies: int = explained(1, "spoilt copies of each")
    held: int = explained(320, "pictures of a cervix to set the limits on")
    scenes: int = explained(500, "drawings of anything else")
    strips: int = explained(80, "pieces cut from beside the cervix")
    blur_c: float = explained(0.03, "inverse strength of the ridge of the head for blur, where it knows the texture")
    content_c: float = explained(0.02, "inverse strength of the ridge of the head for what is no cervix")


@dataclass(frozen=True, slots=True)
class Preset:
    """The recipes of all parts of a bundle."""

    detector: DetectorRecipe = field(default_factory=DetectorRecipe)
    resnest: ResNeStRecipe = field(default_factory=ResNeStRecipe)
    deep_sad: DeepSADRecipe = field(default_factory=DeepSADRecipe)
    quality: QualityRecipe = field(default_factory=QualityRecipe)
    health_auroc: float = explained(0.95, "least AUROC of Deep SAD on held-out patients before a bundle is written (METHODS 3)")
    health_auroc_resnest: float = explained(
        0.90, "least AUROC of the classifier on them; from random weights on few pictures it learns slower than Deep SAD"
    )


PAPER_DETECTOR = DetectorRecipe(
    vote_iou=0.0,
    arch="retinanet_v2",
    backbone="resnet50",
    size=704,
    channels=256,
    epochs=50,
    batch=8,
    lr=1e-4,
    weight_decay=1e-4,
    epoch_images=0,
)
PAPER_RESNEST_224 = ResNeStRecipe(
    backbone="resnest50d", size=224, epochs=100, batch=64, lr=5e-4, weight_decay=0.0, synthetic_green=0.0, synthetic_iodine=0.0,
    jpeg=0.0, epoch_images=0, ema=0.0, start_lr_factor=1.0, objective=BINARY, views=CROPPED, optimizer=ADAM,
)  # fmt: skip
PAPER_RESNEST_32 = replace(PAPER_RESNEST_224, size=32, batch=256)
PAPER_DEEP_SAD = DeepSADRecipe(
    epochs=150, ae_epochs=150, batch=4, lr=1e-4, ae_lr=1e-4, augment=False, balanced=False, centre_on_all=True, schedule=False
)

PRESETS = {
    "small": Preset(
        detector=DetectorRecipe(epochs=6, epoch_images=256),
        resnest=ResNeStRecipe(epochs=5, epoch_images=256),
        deep_sad=DeepSADRecipe(epochs=40, ae_epochs=15),
        quality=QualityRecipe(images=80, held=60, scenes=80, strips=20),
        health_auroc_resnest=0.75,
    ),
    "default": Preset(),
    "paper": Preset(detector=PAPER_DETECTOR, resnest=PAPER_RESNEST_224, deep_sad=PAPER_DEEP_SAD),
}


def preset_of(config: TrainConfig) -> Preset:
    """The preset of a configuration, without its methods; raises TrainingRefused on what cannot be trained."""
    chosen = preset_named(config.preset)
    unknown = [part for part in (*config.parts, *(config.anew or ())) if part not in PARTS]
    if unknown:
        raise TrainingRefused(f"{', '.join(unknown)} cannot be trained; the parts are {', '.join(PARTS)}.")
    if not config.parts:
        raise TrainingRefused("No part is to be trained; name at least one of " + ", ".join(PARTS) + ".")
    if config.start is None and set(config.parts) != set(PARTS):
        raise TrainingRefused("Without a start bundle every part must be trained, as there is none to copy from.")
    return chosen


def trains(recipes: dict[str, Any]) -> dict[str, Any]:
    """Of a preset's recipes, as a run's folder has them, what says what is trained.

    What a bundle must reach in the end does not, and without JPEG it is as it was before there was any.
    """
    kept = {name: value for name, value in recipes.items() if not name.startswith("health")}
    resnest = {name: value for name, value in kept["resnest"].items() if name != "jpeg" or value}
    return {**kept, "resnest": resnest}


def preset_named(name: str) -> Preset:
    if name not in PRESETS:
        raise TrainingRefused(f"There is no preset {name!r}; choose one of {', '.join(PRESETS)}.")
    return PRESETS[name]


def refuse_words(recipe: ResNeStRecipe | DetectorRecipe | HeadRecipe) -> None:
    """Raise TrainingRefused for a setting that must be one of a few words and is not."""
    allowed = {
        "objective": (THREE_CLASSES, BINARY), "views": (TURNED, CROPPED), "optimizer": (ADAMW, ADAM),
        "arch": ("retinanet_lite", "retinanet_v2"), "loss": ("deep_sad", "hypersphere"),
    }  # fmt: skip
    for name, words in allowed.items():
        value = getattr(recipe, name, None)
        if isinstance(value, str) and value not in words:
            raise TrainingRefused(f"{name} = {value!r} is not known; choose one of {', '.join(words)}.")
