"""Images beside the others of their exam (METHODS 5): which are compared, and what each then amounts to. Loads no torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Count, Exists, OuterRef, Value

from portal import ml
from portal.analyses.models import Analysis
from portal.images.models import BESIDE_OTHERS, OUT, Image, ImageState
from portal.registry.models import ModelVersion

MOST = 100
"""An exam with more images of one device is no visit but a table that says too little: each of them is judged alone. All that count
beside others are counted, whichever version has analysed them."""
_COLUMNS = ("image", "version", "probabilities", "p_non_regular", "kind", "deep_sad_distance", "colour", "route", "reasons")

Group = tuple[int, int, str]
"""What may be compared: exam, version and device, by id and name."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One analysis as it stands among its exam, and the ids of the images that it was compared with, in order."""

    analysis: Analysis
    assessed: ml.Assessed
    siblings: tuple[int, ...]


def beside(judged: Sequence[tuple[Image, Analysis]]) -> list[Beside]:
    """Judge each image, by the version of its analysis, among all images of the exam and device that this version has analysed.

    Three statements. Exam and device are taken from the images, which the caller has read under a lock.
    """
    groups = _groups(judged)
    versions = ModelVersion.objects.in_bulk({analysis.version_id for _, analysis in judged})
    answers = {key: _answers(versions[key[1]], members) for key, members in groups.items() if len(members) > 1}
    found = []
    for image, analysis in judged:
        known = answers.get(_key(image, analysis), {}).get(image.pk)
        assessed, siblings = known or (_alone(versions[analysis.version_id], image, analysis), ())
        found.append(Beside(analysis, assessed, siblings))
    return found


def _key(image: Image, analysis: Analysis) -> Group:
    return image.exam_id or 0, analysis.version_id, image.device


def _groups(judged: Sequence[tuple[Image, Analysis]]) -> dict[Group, list[Analysis]]:
    heaps = crowded({image.exam_id for image, _ in judged if image.exam_id})
    wanted = {_key(image, analysis) for image, analysis in judged if image.exam_id and (image.exam_id, image.device) not in heaps}
    rows = Analysis.objects.filter(
        image__exam__in={exam for exam, _, _ in wanted}, version__in={version for _, version, _ in wanted},
        image__state__in=BESIDE_OTHERS, kind__in=ml.CLASSIFIED_KINDS,
    )  # fmt: skip
    found: dict[Group, list[Analysis]] = {key: [] for key in wanted}
    for row in rows.select_related("image").only(*_COLUMNS, "image__exam", "image__device").order_by("image"):
        if (key := _key(row.image, row)) in found:
            found[key].append(row)
    return found


def crowded(exams: Collection[int]) -> set[tuple[int, str]]:
    """Of these exams, each device that has more than MOST images there: by exam id and device."""
    groups = Image.objects.filter(exam__in=exams, state__in=BESIDE_OTHERS).order_by().values("exam", "device")
    return {(row["exam"], row["device"]) for row in groups.annotate(n=Count("id")).filter(n__gt=MOST)}


def unseen(judged: Sequence[tuple[Image, Analysis]]) -> dict[tuple[int, str, int], list[int]]:
    """What the versions of these analyses have not looked at yet, though it would be compared with these images: ids of images by exam,
    device and version. Two statements and one for each version.

    After a promotion the exam's other images have the earlier version's word only, and no two versions' words are compared.
    """
    versions = ModelVersion.objects.in_bulk({analysis.version_id for _, analysis in judged})
    found: dict[tuple[int, str, int], list[int]] = {}
    for pk, version in versions.items():
        mine = [image for image, analysis in judged if analysis.version_id == pk and image.exam_id and compares(version, image.device)]
        keys = {(image.exam_id, image.device) for image in mine}
        rows = Image.objects.filter(exam__in={exam for exam, _ in keys}, state__in=BESIDE_OTHERS).order_by().values("exam", "device")
        looked_at = Exists(Analysis.objects.filter(image=OuterRef("pk"), version=pk))
        groups = rows.annotate(n=Count("id"), left=ArrayAgg("id", filter=~looked_at, default=Value([]))).filter(n__lte=MOST)
        for row in groups if keys else []:
            if row["left"] and (row["exam"], row["device"]) in keys:
                found[(row["exam"], row["device"], pk)] = sorted(row["left"])
    return found


def compares(version: ModelVersion, device: str) -> bool | None:
    """Whether this version compares the images of this device; None where its bundle cannot be opened any more."""
    try:
        return ml.compares(Path(version.bundle_path), device)
    except ValueError:
        return None


def opens(version: ModelVersion) -> bool:
    """Whether this version's bundle can still be asked."""
    return compares(version, "") is not None


def _answers(version: ModelVersion, members: Sequence[Analysis]) -> dict[int, tuple[ml.Assessed, tuple[int, ...]]]:
    """By image id: the answer, and the ids of the others; nobody where the bundle does not compare for this device."""
    assessed = _assess(version, [evidence(one, device=one.image.device) for one in members])
    ids = [one.image_id for one in members]
    return {
        pk: (answer, tuple(other for other in ids if answer.siblings and other != pk)) for pk, answer in zip(ids, assessed, strict=True)
    }


def _alone(version: ModelVersion, image: Image, analysis: Analysis) -> ml.Assessed:
    return _assess(version, [evidence(analysis, device=image.device)])[0]


def _assess(version: ModelVersion, exam: list[ml.Evidence]) -> list[ml.Assessed]:
    """What comes from a device on which nobody has checked this version goes to people, unless the installation says otherwise."""
    return ml.assess(Path(version.bundle_path), exam, known_devices_only=settings.REVIEW_UNCALIBRATED)


def evidence(one: Analysis, *, device: str) -> ml.Evidence:
    """What of a stored analysis counts beside others."""
    return ml.Evidence(
        probabilities=one.probabilities, p_non_regular=one.p_non_regular, kind=ml.Kind(one.kind), deep_sad_distance=one.deep_sad_distance,
        colour=tuple(one.colour), route=ml.Route(one.route), reasons=tuple(one.reasons), device=device,
    )  # fmt: skip


def to_follow(judged: Sequence[tuple[Image, Analysis]]) -> list[int]:
    """One of these images for each exam that has others, which may have to be judged anew beside these. Two statements."""
    versions = ModelVersion.objects.in_bulk({analysis.version_id for _, analysis in judged})
    first: dict[int, int] = {}
    for image, analysis in judged:
        if image.exam_id and compares(versions[analysis.version_id], image.device):
            first[image.exam_id] = min(image.pk, first.get(image.exam_id, image.pk))
    others = Image.objects.filter(exam__in=first).exclude(pk__in=[image.pk for image, _ in judged])
    waiting = others.exclude(state__in=[ImageState.REJECTED, *OUT]).order_by().values_list("exam", flat=True).distinct()
    return sorted(first[exam] for exam in waiting if exam)
