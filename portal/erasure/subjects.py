"""What may be taken back, and what used it. Reads alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db.models import Q, QuerySet

from portal.datasets.selectors import holding
from portal.images.models import Exam, Image, ImageState, Patient
from portal.learning.models import Evaluation, TrainingRun
from portal.registry.models import ModelVersion

Of = Literal["patient", "exam", "image"]


@dataclass(frozen=True, slots=True)
class Subject:
    """A patient, an exam or an image of a site. `code` is what is typed to confirm an erasure."""

    of: Of
    pk: int
    site_id: int
    code: str

    @property
    def images(self) -> QuerySet[Image]:
        """Its images that are not erased."""
        path = {"patient": "exam__patient", "exam": "exam", "image": "pk"}[self.of]
        return Image.objects.filter(**{path: self.pk}).exclude(state=ImageState.ERASED)


def of_patient(patient: Patient) -> Subject:
    return Subject("patient", patient.pk, patient.site_id, patient.code)


def of_exam(exam: Exam) -> Subject:
    return Subject("exam", exam.pk, exam.patient.site_id, exam.code)


def of_image(image: Image) -> Subject:
    return Subject("image", image.pk, image.site_id, str(image.pk))


def used_in(images: Sequence[int]) -> dict[str, list[dict[str, Any]]]:
    """The data sets that hold any of these images, and the models that learned from those, or started from such a model, or were measured
    on them."""
    frozen = holding(images)
    sets = [{"id": one.pk, "name": one.name, "hash": one.hash, "images": one.n} for one in frozen]  # type: ignore[attr-defined]
    ids = [one.pk for one in frozen]
    runs = TrainingRun.objects.filter(snapshot__in=ids).select_related("candidate", "snapshot").order_by("pk")
    models = {run.candidate_id: _model(run.candidate, f"learned from {run.snapshot.name}") for run in runs if run.candidate}
    _with_descendants(models)
    for row in Evaluation.objects.filter(snapshot__in=ids).select_related("version", "snapshot").defer("report").order_by("pk"):
        models.setdefault(row.version_id, _model(row.version, f"measured on {row.snapshot.name}"))
    return {"data_sets": sets, "models": list(models.values())}


def _with_descendants(models: dict[int | None, dict[str, Any]]) -> None:
    """A model that starts from another, or keeps parts of it, has its weights from what that one learned from."""
    left = list(models)
    while left:
        parent = left.pop()
        for run in TrainingRun.objects.filter(Q(config__start=parent) | Q(config__weights=parent)).select_related("candidate"):
            if run.candidate and run.candidate_id not in models:
                models[run.candidate_id] = _model(run.candidate, f"started from {models[parent]['name']}")
                left.append(run.candidate_id)


def _model(version: ModelVersion, how: str) -> dict[str, Any]:
    return {"id": version.pk, "name": version.name, "hash": version.bundle_hash, "how": how}
