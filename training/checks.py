"""What is refused before time is spent, and what must hold before a bundle is written."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Kind
from training import detector, resnest
from training.beginnings import Beginnings, folder_of
from training.config import PAPER_DETECTOR, DetectorRecipe, Preset, ResNeStRecipe, refuse_words
from training.detector import records_for
from training.manifest import Record, Snapshot
from training.methods import part_of
from training.metrics import auroc
from training.types import TrainConfig, TrainingRefused

LEAST_PER_CLASS = 4
LEAST_DISTINCT = 0.9
UNFIT = (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, AssertionError, NotImplementedError)
"""timm says in as many ways that it has no such network, or that it takes no picture of such a size."""


def before(data: Snapshot, parts: tuple[str, ...]) -> None:
    """Raise TrainingRefused when the snapshot cannot give a bundle that may be trusted."""
    _patients_on_one_side(data)
    _pictures_on_one_side(data)
    train = data.split("train")
    if {"resnest", "deep_sad"} & set(parts):
        for kind in CLASSIFIED_KINDS:
            count = sum(record.kind is kind for record in train)
            if count < LEAST_PER_CLASS:
                raise TrainingRefused(
                    f"The train split has {count} pictures of {kind.value}; at least {LEAST_PER_CLASS} are needed. "
                    "Label more and freeze again."
                )
    if "detector" in parts:
        records_for(train)
    _both_classes([*data.split("validation"), *data.split("calibration")], "validation and calibration splits together have")
    _both_classes(data.split("test"), "test split has")


def settings(config: TrainConfig, preset: Preset) -> None:
    """Raise TrainingRefused for what contradicts itself, and would be left out without a word."""
    for named in config.methods:
        if (part := part_of(named)) not in config.parts:
            raise TrainingRefused(f"{named} is a method of {part}, which is not trained. Add {part} to the parts, or leave {named} out.")
    if config.weights_from and all(folder_of(config, part) is None for part in config.parts):
        raise TrainingRefused(
            "Nothing would start from weights_from: every trained part begins anew, by fresh, by its method, by its own settings or by the "
            "preset. Leave weights_from out, or what makes them begin anew."
        )
    if "detector" in config.parts:
        refuse_words(preset.detector)
    if "resnest" in config.parts:
        refuse_words(preset.resnest)


def networks(config: TrainConfig, preset: Preset, begun: Beginnings) -> None:
    """Raise TrainingRefused for a network that begins anew and cannot be made, does not take its weights, or sees no picture of its size.

    Each is made and asked once, which takes seconds. Those of a bundle are known to work. Random numbers are left as they were.
    """
    with torch.random.fork_rng(devices=()), torch.inference_mode():
        if "detector" in config.parts and "detector" not in begun.states:
            _detector(preset.detector)
        if "resnest" in config.parts and "resnest" not in begun.states:
            for member, weights in preset.resnest.members():
                _member(replace(preset.resnest, backbone=member.backbone, size=member.size, weights=weights))


def _detector(recipe: DetectorRecipe) -> None:
    fixed = {name: getattr(PAPER_DETECTOR, name) for name in ("arch", "backbone", "channels")}
    if recipe.arch == PAPER_DETECTOR.arch and not fixed.items() <= recipe.network().items():
        raise TrainingRefused(
            f"{recipe.arch} knows only the backbone {PAPER_DETECTOR.backbone} with {PAPER_DETECTOR.channels} channels. "
            "Set detector.backbone and detector.channels to these, or choose retinanet_lite."
        )
    try:
        detector.started(recipe, None, None).eval().heads(torch.zeros(1, 3, recipe.size, recipe.size))
    except UNFIT as error:
        raise _unfit("detector", recipe, error) from error


def _member(recipe: ResNeStRecipe) -> None:
    try:
        resnest.started(recipe, None).eval()(torch.zeros(1, 3, recipe.size, recipe.size))
    except UNFIT as error:
        raise _unfit("classifier", recipe, error) from error


def _unfit(what: str, recipe: DetectorRecipe | ResNeStRecipe, error: Exception) -> TrainingRefused:
    if isinstance(error, TrainingRefused):
        return error
    said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
    return TrainingRefused(
        f"{recipe.backbone} cannot be the {what}'s network at {recipe.size} px: {said}. "
        "Choose another backbone, or the size that it is made for."
    )


def _patients_on_one_side(data: Snapshot) -> None:
    splits: dict[tuple[str, str], str] = {}
    for record in data.records:
        if splits.setdefault(record.patient_key, record.split) != record.split:
            raise TrainingRefused(
                f"Patient {record.patient} of {record.site} is in both {splits[record.patient_key]} and {record.split}: "
                "split by patient and freeze again."
            )


def _pictures_on_one_side(data: Snapshot) -> None:
    splits: dict[str, str] = {}
    for record in data.records:
        if splits.setdefault(record.sha256, record.split) != record.split:
            raise TrainingRefused(
                f"The picture {record.sha256[:12]} is in both {splits[record.sha256]} and {record.split}: remove the duplicate."
            )


def _both_classes(records: list[Record], where: str) -> None:
    kinds = {record.kind for record in records if record.measurable}
    chosen = sum(record.by_people and not record.measurable for record in records)
    but = f" ({chosen} that were read only because a model was unsure do not count)" if chosen else ""
    if not kinds & set(NON_REGULAR_KINDS):
        raise TrainingRefused(
            f"The {where} no green-filter or iodine picture labelled by people{but}, so nothing could be measured. "
            "Label more and freeze again."
        )
    if Kind.REGULAR not in kinds:
        raise TrainingRefused(
            f"The {where} no regular picture labelled by people{but}, so nothing could be measured. Label more and freeze again."
        )


def healthy(logits: NDArray[np.float64], distances: NDArray[np.float64], positive: NDArray[np.bool_], preset: Preset) -> None:
    """Raise TrainingRefused when the trained networks give no usable scores (METHODS 3, health checks)."""
    for name, scores, least in (("ResNeSt", logits, preset.health_auroc_resnest), ("Deep SAD", distances, preset.health_auroc)):
        if not np.isfinite(scores).all():
            raise TrainingRefused(f"{name} gives scores that are no numbers; the training diverged. Lower the learning rate.")
        distinct = len(np.unique(scores)) / len(scores)
        if distinct < LEAST_DISTINCT:
            raise TrainingRefused(f"{name} gives only {distinct:.0%} distinct scores: it collapsed.")
        area = auroc(scores, positive)
        if area < least:
            raise TrainingRefused(
                f"{name} reaches an AUROC of {area:.3f} on held-out patients; a bundle needs {least:.2f}. "
                "Look for wrong labels, or train on more pictures."
            )
