"""Reads of the queue."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Count, Max, Min, Q, QuerySet
from django.db.models.functions import Now

from portal.jobs.models import Job, JobState
from portal.jobs.services import LIVE, lease_seconds

_MISSED = 0.5
"""A worker that lives extends its lease after a quarter of it; after half of it without a word it may well be dead."""


def claimable_kinds() -> list[str]:
    """The kinds of which work waits and is due."""
    due = Job.objects.filter(state=JobState.QUEUED, not_before__lte=Now())
    return sorted(due.order_by().values_list("kind", flat=True).distinct())


def latest(*, kind: str, subject_id: int) -> Job | None:
    """The newest job of one kind on one subject, live or ended."""
    return Job.objects.filter(kind=kind, subject_id=subject_id).order_by("-id").first()


def queue_state() -> list[dict[str, object]]:
    """For each kind and live state: how many jobs, and since when the oldest waits."""
    live = Job.objects.filter(state__in=LIVE).order_by("kind", "state")
    return [dict(row) for row in live.values("kind", "state").annotate(jobs=Count("id"), oldest=Min("created"))]


@dataclass(frozen=True, slots=True)
class Silence:
    """Work in the hands of workers that have given no sign of life: how many jobs, since when, and when it is taken up again at last."""

    jobs: int
    since: datetime
    until: datetime


def silence(kinds: Collection[str], subjects: Collection[int] | QuerySet[Any, Any]) -> Silence | None:
    """Of these subjects the work of these kinds that is held in silence; None where there is none. One query."""
    leases = {kind: timedelta(seconds=lease_seconds(kind)) for kind in kinds}
    silent = [Q(kind=kind, lease_until__lt=Now() + lease * (1 - _MISSED)) for kind, lease in leases.items()]
    held = Job.objects.filter(reduce(or_, silent), state=JobState.CLAIMED, subject_id__in=subjects).order_by()
    found = list(held.values("kind").annotate(jobs=Count("pk"), first=Min("lease_until"), last=Max("lease_until")))
    if not found:
        return None
    since = min(row["first"] - leases[row["kind"]] for row in found)
    return Silence(sum(row["jobs"] for row in found), since, max(row["last"] for row in found))
