"""Reads that join several rooms for one page. Each is a fixed number of queries, whatever the number of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Exists, F, OuterRef, Prefetch, Q, QuerySet

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.analyses.models import Analysis, Assessment
from portal.audit.models import AuditEvent
from portal.datasets.models import SnapshotItem
from portal.images.models import Image, ImageState
from portal.labels.models import Label
from portal.ml import NON_REGULAR_KINDS, Kind
from portal.reviews.models import Read, ReviewTask, TaskState

PAGE = 48
IN_WORK = (ImageState.RECEIVED, ImageState.CLEAN, ImageState.ANALYSED)


@dataclass(frozen=True, slots=True)
class GalleryFilter:
    """What the gallery shows; empty means all. `before`: the id of the last image of the page before (keyset)."""

    site: int | None = None
    state: str = ""
    kind: str = ""
    said: str = ""
    provenance: str = ""
    search: str = ""
    patient: str = ""
    before: int | None = None


@dataclass(frozen=True, slots=True)
class GalleryPage:
    images: list[Image]
    total: int
    patients: int
    next_before: int | None


def gallery(user: User, wanted: GalleryFilter) -> GalleryPage:
    """One page of the images this person may see, newest first: 5 queries."""
    rows = _filtered(access.visible(Image, user), wanted)
    counts = rows.aggregate(images=Count("id"), patients=Count("exam__patient", distinct=True))
    if wanted.before:
        rows = rows.filter(id__lt=wanted.before)
    page = list(_with_current(rows.select_related("site", "exam__patient").order_by("-id"))[: PAGE + 1])
    more = len(page) > PAGE
    page = page[:PAGE]
    return GalleryPage(page, counts["images"], counts["patients"], page[-1].id if more else None)


def _filtered(rows: QuerySet[Image], wanted: GalleryFilter) -> QuerySet[Image]:
    if wanted.site:
        rows = rows.filter(site_id=wanted.site)
    if wanted.state == "in_work":
        rows = rows.filter(state__in=IN_WORK)
    elif wanted.state:
        rows = rows.filter(state=wanted.state)
    label = Label.objects.filter(image=OuterRef("pk"), current=True)
    if wanted.kind == "none":
        rows = rows.filter(~Exists(label))
    elif wanted.kind:
        rows = rows.filter(Exists(label.filter(kind=wanted.kind)))
    if wanted.provenance:
        rows = rows.filter(Exists(label.filter(provenance=wanted.provenance)))
    if wanted.said:
        rows = rows.filter(Exists(Assessment.objects.filter(image=OuterRef("pk"), current=True, kind=wanted.said)))
    if wanted.patient:
        rows = rows.filter(exam__patient__code=wanted.patient)
    if wanted.search:
        rows = rows.filter(Q(original_name__icontains=wanted.search) | Q(exam__patient__code__icontains=wanted.search))
    return rows


def _with_current(rows: QuerySet[Image]) -> QuerySet[Image]:
    return rows.prefetch_related(
        Prefetch("labels", Label.objects.filter(current=True), to_attr="current_labels"),
        Prefetch("assessments", Assessment.objects.filter(current=True), to_attr="current_assessments"),
    )


@dataclass(frozen=True, slots=True)
class Story:
    """Everything that happened to one image, newest first."""

    image: Image
    analyses: list[Analysis]
    assessments: list[Assessment]
    labels: list[Label]
    tasks: list[ReviewTask]
    snapshots: list[SnapshotItem]
    siblings: list[Image]
    events: list[AuditEvent]

    @property
    def analysis(self) -> Analysis | None:
        return self.assessments[0].analysis if self.assessments else (self.analyses[0] if self.analyses else None)

    @property
    def assessment(self) -> Assessment | None:
        return self.assessments[0] if self.assessments else None

    @property
    def label(self) -> Label | None:
        return next((label for label in self.labels if label.current), None)


def story(image: Image) -> Story:
    """One image with its whole story: a fixed number of queries."""
    siblings = Image.objects.filter(exam=image.exam_id).exclude(pk=image.pk) if image.exam_id else Image.objects.none()
    reads = Prefetch("reads", Read.objects.select_related("reader").order_by("id"))
    return Story(
        image=image,
        analyses=list(image.analyses.select_related("version").order_by("-id")),
        assessments=list(image.assessments.select_related("analysis__version").order_by("-current", "-id")),
        labels=list(image.labels.select_related("actor").order_by("-id")),
        tasks=list(image.review_tasks.prefetch_related(reads).order_by("-id")),
        snapshots=list(image.snapshot_items.select_related("snapshot").prefetch_related("snapshot__runs").order_by("-id")),
        siblings=list(_with_current(siblings.order_by("captured", "id"))[:24]),
        events=list(AuditEvent.objects.filter(subject_type="images.Image", subject_id=image.pk).order_by("-id")[:50]),
    )


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
    without_patient: int


def site_figures(user: User) -> list[SiteFigures]:
    """Composition of every visible site: 3 queries."""
    visible = access.visible(Image, user).exclude(state=ImageState.WITHDRAWN)
    counts = visible.values("site").annotate(
        images=Count("id"),
        patients=Count("exam__patient", distinct=True),
        in_work=Count("id", filter=Q(state__in=IN_WORK)),
        in_review=Count("id", filter=Q(state=ImageState.IN_REVIEW)),
        refused=Count("id", filter=Q(state__in=[ImageState.REJECTED, ImageState.FAILED, ImageState.QUARANTINED])),
        without_patient=Count("id", filter=Q(exam=None)),
    )
    by_site = {row["site"]: row for row in counts}
    labelled = Label.objects.filter(current=True, image__in=visible).values(site=F("image__site"), said=F("kind")).annotate(n=Count("id"))
    kinds: dict[int, dict[str, int]] = {}
    for row in labelled:
        kinds.setdefault(row["site"], {})[row["said"]] = row["n"]
    return [_figures(site, by_site.get(site.pk, {}), kinds.get(site.pk, {})) for site in access.visible(Site, user).order_by("name")]


def _figures(site: Site, row: dict[str, Any], kinds: dict[str, int]) -> SiteFigures:
    return SiteFigures(
        site=site,
        kinds={kind.value: kinds.get(kind.value, 0) for kind in Kind},
        **{name: row.get(name, 0) for name in ("images", "patients", "in_work", "in_review", "refused", "without_patient")},
    )


def queue_figures() -> dict[str, Any]:
    """How much waits for readers, and since when: 1 query."""
    from_queue: dict[str, Any] = ReviewTask.objects.aggregate(
        open=Count("id", filter=Q(state=TaskState.OPEN)),
        adjudication=Count("id", filter=Q(state=TaskState.ADJUDICATION)),
        closed=Count("id", filter=Q(state=TaskState.CLOSED)),
    )
    oldest = ReviewTask.objects.filter(state=TaskState.OPEN).order_by("created").values_list("created", flat=True).first()
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
