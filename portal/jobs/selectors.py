"""Reads of the queue."""

from __future__ import annotations

from django.db.models import Count, Min
from django.db.models.functions import Now

from portal.jobs.models import Job, JobState
from portal.jobs.services import LIVE


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
