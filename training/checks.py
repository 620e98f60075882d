"""What is refused before time is spent, and what must hold before a bundle is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Kind
from training.config import Preset
from training.detector import records_for
from training.manifest import Record, Snapshot
from training.metrics import auroc
from training.types import TrainingRefused

LEAST_PER_CLASS = 4
LEAST_DISTINCT = 0.9


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
    if not kinds & set(NON_REGULAR_KINDS):
        raise TrainingRefused(
            f"The {where} no green-filter or iodine picture labelled by people, so nothing could be measured. Label more and freeze again."
        )
    if Kind.REGULAR not in kinds:
        raise TrainingRefused(
            f"The {where} no regular picture labelled by people, so nothing could be measured. Label more and freeze again."
        )


def healthy(logits: NDArray[np.float64], distances: NDArray[np.float64], positive: NDArray[np.bool_], preset: Preset) -> None:
    """Raise TrainingRefused when the trained networks give no usable scores (METHODS 3, health checks)."""
    for name, scores in (("ResNeSt", logits), ("Deep SAD", distances)):
        if not np.isfinite(scores).all():
            raise TrainingRefused(f"{name} gives scores that are no numbers; the training diverged. Lower the learning rate.")
        distinct = len(np.unique(scores)) / len(scores)
        if distinct < LEAST_DISTINCT:
            raise TrainingRefused(f"{name} gives only {distinct:.0%} distinct scores: it collapsed.")
        area = auroc(scores, positive)
        if area < preset.health_auroc:
            raise TrainingRefused(
                f"{name} reaches an AUROC of {area:.3f} on held-out patients; a bundle needs {preset.health_auroc:.2f}. "
                "Look for wrong labels, or train on more pictures."
            )
