"""What a site sent, what became of it, and what is awaited: a fixed number of queries, whatever the number of images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, Min, Q
from django.db.models.functions import TruncMonth

from portal.accounts.models import Site
from portal.datasets.selectors import USABLE
from portal.holdings.models import Erasure
from portal.holdings.quotas import Line
from portal.images import room
from portal.images.models import IN_WORK, OUT, FileOutcome, Image, ImageState, UploadFile
from portal.labels.models import Label
from portal.reviews.models import Purpose, ReviewTask, TaskState
from portal.web.shares import Share, wilson

MONTHS = 24
FATES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("settled by people", (ImageState.SETTLED,)),
    ("accepted", (ImageState.ACCEPTED,)),
    ("waiting for readers", (ImageState.IN_REVIEW,)),
    ("in work", IN_WORK),
    ("in quarantine", (ImageState.QUARANTINED,)),
    ("rejected or failed", (ImageState.REJECTED, ImageState.FAILED)),
    ("taken back", OUT),
)
"""What became of an image, and the states that mean it."""


@dataclass(frozen=True, slots=True)
class KindRow:
    """How many of the site's labelled images, and patients with such, are of a kind."""

    kind: str
    images: Share
    patients: Share


@dataclass(frozen=True, slots=True)
class Awaited:
    in_work: int
    in_review: int
    oldest_question: datetime | None
    rows_without_file: int
    without_patient: int
    quarantined: int
    failed: int


@dataclass(frozen=True, slots=True)
class SitePage:
    images: int
    patients: int
    fates: list[tuple[str, int]]
    chart: dict[str, Any] | None
    kinds: list[KindRow]
    labelled: int
    labelled_patients: int
    awaited: Awaited
    room: list[Line]
    erasures: int


def site_page(site: Site) -> SitePage:
    """Nine queries."""
    months = Image.objects.filter(site=site).annotate(month=TruncMonth("created")).order_by("month").values("month", "state")
    by_month: list[dict[str, Any]] = [dict(row) for row in months.annotate(n=Count("pk"))]
    states: dict[str, int] = {}
    for row in by_month:
        states[row["state"]] = states.get(row["state"], 0) + row["n"]
    counts = Image.objects.filter(site=site).exclude(state__in=OUT).aggregate(
        images=Count("pk"), patients=Count("exam__patient", distinct=True), without_patient=Count("pk", filter=Q(exam=None))
    )  # fmt: skip
    kinds, labelled, patients = _kinds(site)
    return SitePage(
        images=counts["images"], patients=counts["patients"], fates=[(name, _sum(states, of)) for name, of in FATES],
        chart=_chart(by_month), kinds=kinds, labelled=labelled, labelled_patients=patients,
        awaited=_awaited(site, states, counts["without_patient"]), room=room.lines(site.pk),
        erasures=Erasure.objects.filter(site=site).count(),
    )  # fmt: skip


def _sum(states: Mapping[str, int], of: tuple[str, ...]) -> int:
    return sum(states.get(state, 0) for state in of)


def _chart(by_month: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Images by the month they came, stacked by what became of them; the newest MONTHS."""
    months = sorted({row["month"] for row in by_month})[-MONTHS:]
    if not months:
        return None
    counted = {month: {row["state"]: row["n"] for row in by_month if row["month"] == month} for month in months}
    series = [{"name": name, "values": [_sum(counted[month], of) for month in months]} for name, of in FATES]
    return {"type": "stacked", "labels": [f"{month:%b %Y}" for month in months], "series": [one for one in series if any(one["values"])]}


def _kinds(site: Site) -> tuple[list[KindRow], int, int]:
    standing = Label.objects.filter(image__site=site, current=True, image__state__in=USABLE)
    rows = standing.order_by().values("kind").annotate(images=Count("pk"), patients=Count("image__exam__patient", distinct=True))
    found = {row["kind"]: row for row in sorted(rows, key=lambda row: -row["images"])}
    patients: int = standing.aggregate(n=Count("image__exam__patient", distinct=True))["n"]
    labelled = sum(row["images"] for row in found.values())
    table = [KindRow(kind, wilson(row["images"], labelled), wilson(row["patients"], patients)) for kind, row in found.items()]
    return table, labelled, patients


def _awaited(site: Site, states: Mapping[str, int], without_patient: int) -> Awaited:
    questions = ReviewTask.objects.filter(image__site=site, purpose=Purpose.REVIEW, state__in=[TaskState.OPEN, TaskState.ADJUDICATION])
    rows = UploadFile.objects.filter(upload__site=site, upload__cancelled=None, outcome__in=[FileOutcome.EXPECTED, FileOutcome.MISSING])
    return Awaited(
        in_work=_sum(states, IN_WORK), in_review=states.get(ImageState.IN_REVIEW, 0),
        oldest_question=questions.aggregate(oldest=Min("created"))["oldest"], rows_without_file=rows.count(),
        without_patient=without_patient, quarantined=states.get(ImageState.QUARANTINED, 0), failed=states.get(ImageState.FAILED, 0),
    )  # fmt: skip
