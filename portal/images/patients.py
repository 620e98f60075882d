"""Reads of patients: the list, and one patient with exams and images. What a person may see starts at `access.visible`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from portal.accounts import access
from portal.accounts.models import User
from portal.images.models import IN_WORK, Exam, Image, ImageState, Patient, Regrouping

PAGE = 50
MOST_IMAGES = 300
OUT = (ImageState.WITHDRAWN, ImageState.ERASED, ImageState.REJECTED)
"""What is no longer of use counts as no image of the patient."""


@dataclass(frozen=True, slots=True)
class PatientFilter:
    """Merged patients are shown only to who asks for their code. `before` is the id that the page before ended with (newest first)."""

    site: int | None = None
    code: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True)
class PatientPage:
    patients: Sequence[Patient]
    """Each with `n_exams`, `n_images`, `n_in_work`, `n_in_review` and `n_settled`."""
    total: int
    next_before: int | None


def patients(user: User, wanted: PatientFilter, *, size: int = PAGE) -> PatientPage:
    """One keyset page of visible patients, newest first: 3 queries."""
    rows = here(access.visible(Patient, user))
    if wanted.site:
        rows = rows.filter(site=wanted.site)
    rows = rows.filter(code__icontains=wanted.code) if wanted.code else rows.filter(merged_into=None)
    total = rows.count()
    if wanted.before is not None:
        rows = rows.filter(pk__lt=wanted.before)
    ids = list(rows.order_by("-pk").values_list("pk", flat=True)[: size + 1])
    found = list(_counted(Patient.objects.filter(pk__in=ids[:size])).select_related("site", "merged_into").order_by("-pk"))
    return PatientPage(found, total, ids[size - 1] if len(ids) > size else None)


def here(rows: QuerySet[Patient]) -> QuerySet[Patient]:
    """Without those that an undone split left behind, unless an image has come to them since. They are kept for the sake of the story."""
    return rows.filter(Q(gone=None) | Exists(Image.objects.filter(exam__patient=OuterRef("pk"))))


def _counted(rows: QuerySet[Patient]) -> QuerySet[Patient]:
    counts = ~Q(exams__images__state__in=OUT)
    ended = [ImageState.ACCEPTED, ImageState.SETTLED]
    return rows.annotate(
        n_images=Count("exams__images", filter=counts),
        n_exams=Count("exams", filter=counts & Q(exams__images__isnull=False), distinct=True),
        n_in_work=Count("exams__images", filter=Q(exams__images__state__in=IN_WORK)),
        n_in_review=Count("exams__images", filter=Q(exams__images__state=ImageState.IN_REVIEW)),
        n_settled=Count("exams__images", filter=Q(exams__images__state__in=ended)),
    )


@dataclass(frozen=True, slots=True)
class Visit:
    """One exam with those of its images that are shown, in the order of capture."""

    exam: Exam
    images: Sequence[Image]

    @property
    def devices(self) -> list[str]:
        return sorted({image.device for image in self.images if image.device})


@dataclass(frozen=True, slots=True)
class Chart:
    """One patient: visits in the order of their days; counts over all images, of which at most MOST_IMAGES are shown."""

    patient: Patient
    visits: Sequence[Visit]
    images: int
    states: dict[str, int]

    @property
    def shown(self) -> int:
        return sum(len(visit.images) for visit in self.visits)

    @property
    def devices(self) -> list[str]:
        return sorted({device for visit in self.visits for device in visit.devices})


def chart(patient: Patient) -> Chart:
    """A patient's exams, images, devices and states: 3 queries."""
    exams = {exam.pk: exam for exam in patient.exams.order_by("day", "code", "pk")}
    own = Image.objects.filter(exam__in=exams)
    images: dict[int, list[Image]] = {pk: [] for pk in exams}
    for image in own.order_by("captured", "pk")[:MOST_IMAGES]:
        image.exam = exams[image.exam_id or 0]
        images[image.exam.pk].append(image)
    states = {row["state"]: row["n"] for row in own.order_by("state").values("state").annotate(n=Count("pk"))}
    visits = [Visit(exam, images[pk]) for pk, exam in exams.items() if images[pk]]
    return Chart(patient, visits, sum(states.values()), states)


def regroupings(patient: Patient, *, most: int = 30) -> list[Regrouping]:
    """What was moved, merged, split or undone here, newest first, with `n_images`: one query."""
    rows = Regrouping.objects.filter(Q(source=patient) | Q(target=patient)).annotate(n_images=Count("corrections"))
    return list(rows.select_related("source", "target", "actor", "undone_by").order_by("-pk")[:most])


def images_of_exams(patient: Patient, exams: Sequence[int]) -> list[int]:
    """The images of those of these exams that are the patient's."""
    return list(Image.objects.filter(exam__in=exams, exam__patient=patient).values_list("pk", flat=True)) if exams else []
