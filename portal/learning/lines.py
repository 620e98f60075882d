"""Which model came from which: what a run took from other models, and where a model's line began."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from portal.datasets.models import Snapshot, SnapshotItem
from portal.learning.models import TrainingRun
from portal.ml import PARTS
from portal.registry.models import ModelVersion

Config = Mapping[str, Any]


def taken_from(config: Config) -> set[int]:
    """The versions whose weights came into a run's model: of the parts that were kept, and of what the others began with.

    A run of before these could be two models has one for both.
    """
    start, parts = config.get("start"), set(config.get("parts", ()))
    if "weights" not in config:
        return {start} if start else set()
    kept = start if set(PARTS) - parts else None
    weights = config["weights"] if parts - set(config["anew"]) else None
    return {one for one in (kept, weights) if one}


def root_of(version: ModelVersion) -> ModelVersion | None:
    """The model at which the line begins, which no training here made; None where it began with random weights.

    Along the start weights; where a run's trained parts all began anew, along the model whose other parts it kept. So a network that a run
    chose by its method is not taken along, and has to be chosen again.
    """
    made = dict(TrainingRun.objects.exclude(candidate=None).values_list("candidate", "config"))
    at, passed = version.pk, set[int]()
    while at in made and at not in passed:
        passed.add(at)
        at = made[at].get("weights") or made[at].get("start") or 0
    return version if at == version.pk else ModelVersion.objects.filter(pk=at).first()


def has_seen(version: ModelVersion, snapshot: Snapshot) -> int:
    """How many of the snapshot's test patients the version, or a model of which something is in it, was trained, selected or calibrated on.

    Splits are for ever, so only a held-out site makes this happen. What a shipped bundle saw elsewhere is not known here.
    """
    seen = SnapshotItem.objects.filter(snapshot__in=_taught(version.pk)).exclude(split="test").values("image__exam__patient")
    tested = SnapshotItem.objects.filter(snapshot=snapshot, split="test", image__exam__patient__in=seen)
    return tested.values("image__exam__patient").distinct().count()


def learned_from(version: int) -> QuerySet[SnapshotItem, Any]:
    """The ids of the patients by whom this version, or a model of which something is in it, was trained or selected."""
    rows = SnapshotItem.objects.filter(snapshot__in=_taught(version), split__in=["train", "validation"], image__exam__isnull=False)
    return rows.values("image__exam__patient")


def _taught(version: int) -> set[int]:
    """The snapshots that it, and the models of which something is in it, learned from."""
    rows = TrainingRun.objects.exclude(candidate=None).values_list("candidate", "snapshot", "config")
    made = {candidate: (learned, config) for candidate, learned, config in rows}
    taught, passed, left = set[int](), set[int](), [version]
    while left:
        at = left.pop()
        if at in made and at not in passed:
            passed.add(at)
            taught.add(made[at][0])
            left += taken_from(made[at][1])
    return taught
