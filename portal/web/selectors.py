"""Reads that join several rooms for one page. Each is a fixed number of queries, whatever the number of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet, prefetch_related_objects

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.analyses.beside import MOST
from portal.analyses.models import Analysis, Assessment
from portal.audit.models import AuditEvent
from portal.datasets.models import Snapshot
from portal.datasets.selectors import holding
from portal.images import selectors as images
from portal.images.models import IN_WORK, OUT, Correction, Image, ImageState
from portal.labels.models import Label
from portal.ml import NON_REGULAR_KINDS, Kind
from portal.reviews.models import Purpose, Read, ReviewTask, TaskState
from portal.web.decided import decided

PAGE = 48
SAME = 1e-9
"""Probabilities nearer than this are one and the same, stored twice."""
CURRENT = (
    Prefetch("labels", Label.objects.filter(current=True), to_attr="current_labels"),
    Prefetch("assessments", Assessment.objects.filter(current=True), to_attr="current_assessments"),
)


@dataclass(frozen=True, slots=True)
class GalleryFilter:
    """What the gallery shows, beyond what the images themselves know; empty means all."""

    own: images.Filters = field(default_factory=images.Filters)
    in_work: bool = False
    kind: str = ""
    said: str = ""
    provenance: str = ""
    search: str = ""


@dataclass(frozen=True, slots=True)
class GalleryPage:
    images: Sequence[Image]
    total: int
    patients: int
    next_before: int | None


def gallery(user: User, wanted: GalleryFilter) -> GalleryPage:
    """One page of the images this person may see, newest first, over how many images and patients: 4 queries and the user's roles."""
    within = _narrowed(Image.objects.all(), wanted)
    page = images.gallery(user, wanted.own, size=PAGE, within=within)
    prefetch_related_objects(list(page.images), *CURRENT)
    counts = images.counted(images.filtered(user, wanted.own).filter(pk__in=within.values("pk")))
    return GalleryPage(page.images, counts["images"], counts["patients"], page.next_before)


def _narrowed(rows: QuerySet[Image], wanted: GalleryFilter) -> QuerySet[Image]:
    label = Label.objects.filter(image=OuterRef("pk"), current=True)
    if wanted.in_work:
        rows = rows.filter(state__in=IN_WORK)
    if wanted.kind == "none":
        rows = rows.filter(~Exists(label))
    elif wanted.kind:
        rows = rows.filter(Exists(label.filter(kind=wanted.kind)))
    if wanted.provenance:
        rows = rows.filter(Exists(label.filter(provenance=wanted.provenance)))
    if wanted.said:
        rows = rows.filter(Exists(Assessment.objects.filter(image=OuterRef("pk"), current=True, kind=wanted.said)))
    if wanted.search:
        rows = rows.filter(Q(original_name__icontains=wanted.search) | Q(exam__patient__code__icontains=wanted.search))
    return rows


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that happened to one image, newest first."""

    image: Image
    analyses: list[Analysis]
    assessments: list[Assessment]
    labels: list[Label]
    tasks: list[ReviewTask]
    snapshots: list[tuple[Snapshot, str]]
    """With the split of the image, which is not for its site to see: a copy at another site may have moved it."""
    siblings: Sequence[Image]
    siblings_count: int
    corrections: list[Correction]
    events: list[AuditEvent]

    @property
    def analysis(self) -> Analysis | None:
        return self.assessments[0].analysis if self.assessments else (self.analyses[0] if self.analyses else None)

    @property
    def assessment(self) -> Assessment | None:
        return self.assessments[0] if self.assessments else None

    @property
    def stands(self) -> Assessment | Analysis | None:
        """What counts of the machines' word: beside the exam, or alone where nothing was assessed yet."""
        return self.assessment or self.analysis

    @property
    def stands_alone(self) -> bool:
        """Whether the answer is that of the image alone, although it was looked at beside others."""
        one = self.assessment
        return bool(one and one.siblings and one.kind == one.analysis.kind and abs(one.p_non_regular - one.analysis.p_non_regular) < SAME)

    @property
    def compared(self) -> list[Image]:
        """Those of the exam's images shown here that the image was judged beside."""
        seen = set(self.assessment.siblings) if self.assessment else set()
        return [image for image in self.siblings if image.pk in seen]

    @property
    def label(self) -> Label | None:
        return next((label for label in self.labels if label.current), None)

    @property
    def told_labels(self) -> list[tuple[Label, str]]:
        """Each label with how it came about, where people settled it."""
        return [(label, decided(label, self.tasks)) for label in self.labels]


def story(image: Image) -> Story:
    """One image with its whole story: a fixed number of queries."""
    others = Image.objects.filter(exam=image.exam_id).exclude(pk=image.pk) if image.exam_id else Image.objects.none()
    siblings = list(others.select_related("exam__patient").order_by("captured", "id").prefetch_related(*CURRENT)[: MOST + 1])
    reads = Prefetch("reads", Read.objects.select_related("reader").order_by("id"))
    return Story(
        image=image,
        analyses=list(image.analyses.select_related("version").order_by("-id")),
        assessments=list(image.assessments.select_related("analysis__version").order_by("-current", "-id")),
        labels=list(image.labels.select_related("actor").order_by("-id")),
        tasks=list(image.review_tasks.filter(purpose=Purpose.REVIEW).select_related("rules").prefetch_related(reads).order_by("-id")),
        snapshots=_held(image),
        siblings=siblings[:MOST],
        siblings_count=others.count() if len(siblings) > MOST else len(siblings),
        corrections=images.corrections(image),
        events=list(AuditEvent.objects.filter(subject_type="images.Image", subject_id=image.pk).order_by("-id")[:50]),
    )


def _held(image: Image) -> list[tuple[Snapshot, str]]:
    splits = dict(image.snapshot_items.values_list("snapshot", "split"))
    return [(snapshot, splits.get(snapshot.pk, "same picture as another")) for snapshot in reversed(holding([image.pk]))]


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """What one site has here: counts of images by settled kind and by state, over how many patients."""

    site: Site
    images: int
    patients: int
    kinds: dict[str, int]
    in_work: int
    in_review: int
    refused: int
    no_patient: int


def site_figures(user: User) -> list[SiteFigures]:
    """Composition of every visible site: 3 queries."""
    visible = access.visible(Image, user).exclude(state__in=OUT)
    counts = visible.values("site").annotate(
        images=Count("id"),
        patients=Count("exam__patient", distinct=True),
        in_work=Count("id", filter=Q(state__in=IN_WORK)),
        in_review=Count("id", filter=Q(state=ImageState.IN_REVIEW)),
        refused=Count("id", filter=Q(state__in=[ImageState.REJECTED, ImageState.FAILED, ImageState.QUARANTINED])),
        no_patient=Count("id", filter=Q(exam=None)),
    )
    by_site: dict[int, dict[str, Any]] = {row["site"]: dict(row) for row in counts}
    settled = visible.filter(state__in=[ImageState.ACCEPTED, ImageState.SETTLED])
    labelled = Label.objects.filter(current=True, image__in=settled).values(site=F("image__site"), said=F("kind")).annotate(n=Count("id"))
    kinds: dict[int, dict[str, int]] = {}
    for row in labelled:
        kinds.setdefault(row["site"], {})[row["said"]] = row["n"]
    return [_figures(site, by_site.get(site.pk, {}), kinds.get(site.pk, {})) for site in access.visible(Site, user).order_by("name")]


def _figures(site: Site, row: dict[str, Any], kinds: dict[str, int]) -> SiteFigures:
    return SiteFigures(
        site=site,
        kinds={kind.value: kinds.get(kind.value, 0) for kind in Kind},
        **{name: row.get(name, 0) for name in ("images", "patients", "in_work", "in_review", "refused", "no_patient")},
    )


def queue_figures() -> dict[str, Any]:
    """How much waits for readers, and since when: 1 query."""
    reviews = ReviewTask.objects.filter(purpose=Purpose.REVIEW)
    from_queue: dict[str, Any] = reviews.aggregate(
        open=Count("id", filter=Q(state=TaskState.OPEN)),
        adjudication=Count("id", filter=Q(state=TaskState.ADJUDICATION)),
        closed=Count("id", filter=Q(state=TaskState.CLOSED)),
    )
    oldest = reviews.filter(state=TaskState.OPEN).order_by("created").values_list("created", flat=True).first()
    return {**from_queue, "oldest": oldest}


def totals(figures: list[SiteFigures]) -> dict[str, int]:
    """Sums over sites, for the head of the start page."""
    non_regular = sum(row.kinds[kind.value] for row in figures for kind in NON_REGULAR_KINDS)
    return {
        "images": sum(row.images for row in figures),
        "patients": sum(row.patients for row in figures),
        "in_work": sum(row.in_work for row in figures),
        "in_review": sum(row.in_review for row in figures),
        "refused": sum(row.refused for row in figures),
        "regular": sum(row.kinds[Kind.REGULAR.value] for row in figures),
        "non_regular": non_regular,
        "labelled": sum(sum(row.kinds.values()) for row in figures),
    }
