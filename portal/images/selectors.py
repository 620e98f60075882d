"""Reads of images and uploads. What a person may see starts at `access.visible`."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.images import kept, walk
from portal.images.models import ARCHIVES, IN_WORK, Archive, Correction, FileOutcome, Image, ImageState, NearDuplicate, Upload, UploadFile
from portal.jobs import selectors as jobs
from portal.jobs.models import Job, JobState

ARRIVED = (FileOutcome.ACCEPTED, FileOutcome.DUPLICATE, FileOutcome.REJECTED)
PAGE = 60
FILES_PAGE = 100
UPLOADS_PAGE = 50


@dataclass(frozen=True, slots=True)
class Filters:
    """What the gallery shows. `before` is the id that the page before ended with (newest first)."""

    site: int | None = None
    state: str = ""
    patient: str = ""
    exam: int | None = None
    device: str = ""
    name: str = ""
    upload: int | None = None
    stated_kind: str = ""
    without_patient: bool = False
    before: int | None = None


@dataclass(frozen=True, slots=True)
class Page:
    images: Sequence[Image]
    next_before: int | None


def gallery(user: User, filters: Filters, *, size: int = PAGE, within: QuerySet[Image] | None = None) -> Page:
    """One keyset page of images, newest first, with exam, patient and site: one query.

    `within` narrows further by what rooms above know (an own queryset of Image, for instance by label).
    """
    rows = filtered(user, filters)
    if within is not None:
        rows = rows.filter(pk__in=within.values("pk"))
    if filters.before is not None:
        rows = rows.filter(pk__lt=filters.before)
    found = list(rows.select_related("site", "exam__patient").order_by("-pk")[: size + 1])
    return Page(found[:size], found[size - 1].pk if len(found) > size else None)


def filtered(user: User, filters: Filters) -> QuerySet[Image]:
    """All visible images that the filters leave, unordered: to count over."""
    rows = access.visible(Image, user).exclude(state=ImageState.ERASED)
    exact = {
        "site": filters.site, "state": filters.state, "exam": filters.exam, "upload": filters.upload,
        "stated_kind": filters.stated_kind, "exam__patient__code": filters.patient.strip(), "device": filters.device,
    }  # fmt: skip
    rows = rows.filter(**{path: value for path, value in exact.items() if value not in (None, "")})
    if filters.name:
        rows = rows.filter(original_name__icontains=filters.name.strip())
    return rows.filter(exam=None) if filters.without_patient else rows


def counted(rows: QuerySet[Image]) -> dict[str, int]:
    """Over how many images and patients a number is."""
    return rows.aggregate(
        images=Count("pk"), patients=Count("exam__patient", distinct=True), without_patient=Count("pk", filter=Q(exam=None))
    )


def upload_sites(user: User) -> QuerySet[Site]:
    """The sites that this person may upload to."""
    return access.visible(Site, user).filter(pk__in=access.sites(user)).order_by("name")


def uploads(user: User, *, before: int | None = None, size: int = UPLOADS_PAGE) -> list[Upload]:
    """Visible uploads, newest first, with counts of their files: `n_files`, `n_in_work` and `n_<outcome>`."""
    rows = access.visible(Upload, user)
    if before is not None:
        rows = rows.filter(pk__lt=before)
    ids = list(rows.order_by("-pk").values_list("pk", flat=True)[:size])
    by_outcome = {f"n_{outcome}": Count("files", filter=Q(files__outcome=outcome)) for outcome in FileOutcome.values}
    arrived = Count("files", filter=Q(files__outcome__in=[FileOutcome.ACCEPTED, FileOutcome.DUPLICATE, FileOutcome.REJECTED]))
    working = Count("files", filter=Q(files__outcome=FileOutcome.ACCEPTED, files__image__state__in=IN_WORK))
    return list(
        Upload.objects.filter(pk__in=ids)
        .select_related("site", "created_by")
        .annotate(n_files=arrived, n_in_work=working, **by_outcome)
        .order_by("-pk")
    )


def upload_counts(upload: Upload) -> dict[str, int]:
    """Files by outcome, and the accepted ones' images by state: one query."""
    own = Q(outcome=FileOutcome.ACCEPTED)
    return upload.files.aggregate(
        files=Count("pk", filter=Q(outcome__in=ARRIVED)),
        patients=Count("image__exam__patient", filter=own, distinct=True),
        without_patient=Count("pk", filter=own & Q(image__exam=None, patient_code="")),
        row_errors=Count("pk", filter=~Q(table_error="")),
        in_work=Count("pk", filter=own & Q(image__state__in=IN_WORK)),
        **{outcome: Count("pk", filter=Q(outcome=outcome)) for outcome in FileOutcome.values},
        **{f"image_{state}": Count("pk", filter=own & Q(image__state=state)) for state in ImageState.values},
    )


def upload_files(
    upload: Upload, *, only: str = "", images: Sequence[int] | None = None, after: int = 0, size: int | None = FILES_PAGE
) -> list[UploadFile]:
    """The files of an upload in the order of arrival, with image and patient: one query. `only` is an outcome or 'problems'.

    `images` narrows to the accepted files of these images.
    """
    rows = upload.files.select_related("image__exam__patient").filter(pk__gt=after).order_by("pk")
    if images is not None:
        rows = rows.filter(outcome=FileOutcome.ACCEPTED, image__in=images)
    if only == "problems":
        trouble = ~Q(outcome__in=[FileOutcome.ACCEPTED, FileOutcome.DUPLICATE]) | ~Q(table_error="")
        failed = Q(image__state__in=[ImageState.FAILED, ImageState.QUARANTINED])
        rows = rows.exclude(outcome__in=ARCHIVES).filter(trouble | failed | Q(image__exam=None, patient_code=""))
    elif only:
        rows = rows.filter(outcome=only)
    return list(rows if size is None else rows[: size + 1])


def open_uploads(user: User, *, site: int | None = None, size: int = 5) -> list[Upload]:
    """The uploads that this person began and has not ended, newest first."""
    rows = access.visible(Upload, user).filter(created_by=user, closed=None, cancelled=None)
    return list((rows if site is None else rows.filter(site=site)).select_related("site").order_by("-pk")[:size])


def held(upload: Upload, base: str) -> dict[str, list[dict[str, Any]]]:
    """What has come of an upload: whole files with name, size and outcome, and files in part with the address to go on at. Two queries."""
    whole = upload.files.filter(outcome__in=(*ARRIVED, *ARCHIVES))
    arrived = whole.annotate(size=Coalesce(Max("sent__size"), F("image__size"), F("archive__size")))
    partial = upload.arrivals.filter(file=None, moved__gt=Now() - timedelta(days=settings.PARTIAL_DAYS))
    return {
        "files": [dict(file) for file in arrived.order_by("pk").values("name", "size", "outcome", "message")],
        "partial": [
            {"name": name, "size": size, "mark": mark, "offset": offset, "address": f"{base}{pk}"}
            for pk, name, size, mark, offset in partial.order_by("created").values_list("pk", "name", "size", "mark", "offset")
        ],
    }


def silence(images: Collection[int] | QuerySet[Any, Any]) -> jobs.Silence | None:
    """Of these images in work, those whose machine has given no sign of life for a while: one query."""
    return jobs.silence(("sanitise", "analyse"), images)


def silence_in(upload: Upload) -> jobs.Silence | None:
    return silence(upload.images.filter(state__in=IN_WORK).values("pk"))


def unpacking(upload: Upload) -> list[Archive]:
    """Archives of an upload whose members are still coming: one query."""
    return list(upload.archives.select_related("file").filter(file__outcome=FileOutcome.UNPACKING).order_by("pk"))


# ---- near-duplicates --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Near:
    """Another image of the same site that shows the same photograph, as its people read it."""

    pair: NearDuplicate
    other: Image
    relation: str
    """same_patient, other_patient or unknown_patient (of either of the two)."""


def near(image_ids: Sequence[int], *, earlier_only: bool = False) -> dict[int, list[Near]]:
    """By image id, the images that it is a near-duplicate of; those withdrawn or dismissed left out. One query."""
    ids = set(image_ids)
    either = Q(image__in=ids) if earlier_only else Q(image__in=ids) | Q(other__in=ids)
    rows = NearDuplicate.objects.filter(either, dismissed=None).select_related("image__exam__patient", "other__exam__patient")
    found: dict[int, list[Near]] = {}
    for pair in rows.order_by("distance", "id"):
        for one, other in ((pair.image, pair.other), (pair.other, pair.image)):
            if one.pk in ids and other.state != ImageState.WITHDRAWN and (one is pair.image or not earlier_only):
                found.setdefault(one.pk, []).append(Near(pair, other, relation(one, other)))
    return found


def relation(one: Image, other: Image) -> str:
    """Whether two images are of one patient, as they are placed now."""
    if one.exam is None or other.exam is None:
        return "unknown_patient"
    return "same_patient" if one.exam.patient_id == other.exam.patient_id else "other_patient"


def corrections(image: Image) -> list[Correction]:
    """The versions of what was said of an image, newest first: one query."""
    joined = ("actor", "table", "regrouping", "exam_before__patient", "exam_after__patient")
    return list(image.corrections.select_related(*joined).order_by("-pk"))


# ---- invariants -------------------------------------------------------------------------------------------------------


def orphan_blobs() -> list[tuple[int, str]]:
    """(site id, sha256) of originals without a row: what a crash between blob and row leaves, and nothing worse."""
    return [blob for site in _sites() for blob in sorted(_held("originals", site) - _named(site, "sha256"))]


def rows_without_blob() -> list[int]:
    """Images whose original or clean file is gone. Always empty, unless a disk lost something."""
    return [pk for site in _sites() for pk in _without_blob(site)]


def _without_blob(site: int) -> Iterator[int]:
    originals, clean = _held("originals", site), _held("clean", site)
    rows = Image.objects.filter(site=site).exclude(state=ImageState.ERASED).values_list("pk", "sha256", "clean_sha256", "clean_format")
    for pk, sha256, made, extension in rows.iterator():
        if (site, sha256) not in originals or (made and (site, f"{made}.{extension}") not in clean):
            yield pk


def _sites() -> list[int]:
    return list(Site.objects.order_by("pk").values_list("pk", flat=True))


def _held(store: str, site: int) -> set[tuple[int, str]]:
    return {(site, file.name) for file in kept.held(walk.folder(store, site))}


def _named(site: int, column: str) -> set[tuple[int, str]]:
    return {(site, name) for name in Image.objects.filter(site=site).values_list(column, flat=True).iterator()}


def stuck() -> QuerySet[Image]:
    """Images that wait for the sanitiser though no work on them is queued or in hand. Always empty."""
    live = Job.objects.filter(kind="sanitise", subject_id=OuterRef("pk"), state__in=[JobState.QUEUED, JobState.CLAIMED])
    return Image.objects.filter(~Exists(live), state=ImageState.RECEIVED)
