"""Which tables a worker applies, or is to apply. Reads alone."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.core.errors import WrongState
from portal.images.models import MetadataTable
from portal.jobs import selectors, services
from portal.jobs.models import Job

KIND = "apply_table"
BEING_APPLIED = "This table is being applied at this moment. Its page shows how far it is."


def live(site_id: int) -> QuerySet[Job]:
    """The work on a site's tables that waits or is in hand. The subject of each is a MetadataTable."""
    return Job.objects.filter(kind=KIND, site_id=site_id, state__in=services.LIVE)


def job_of(held: MetadataTable) -> Job | None:
    """The newest work on this table, live or ended."""
    return selectors.latest(kind=KIND, subject_id=held.pk)


def is_live(job: Job | None) -> bool:
    return job is not None and job.state in services.LIVE


def require_idle(held: MetadataTable) -> None:
    """Raise WrongState where a worker has the table, or is to have it."""
    if is_live(job_of(held)):
        raise WrongState(BEING_APPLIED)
