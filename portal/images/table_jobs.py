"""Which tables a worker applies, or is to apply, and holding the row of one that none has. Writes nothing."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.core.errors import WrongState
from portal.images.models import MetadataTable
from portal.jobs import selectors, services
from portal.jobs.models import Job

KIND = "apply_table"
BUSY = "Somebody is at this table at this very moment. Load its page again and see what became of it."
BEING_APPLIED = "This table is being applied at this moment. Its page shows how far it is."


def live(site_id: int) -> QuerySet[Job]:
    """The work on a site's tables that waits or is in hand. The subject of each is a MetadataTable."""
    return Job.objects.filter(kind=KIND, site_id=site_id, state__in=services.LIVE)


def job_of(held: MetadataTable) -> Job | None:
    """The newest work on this table, live or ended."""
    return selectors.latest(kind=KIND, subject_id=held.pk)


def is_live(job: Job | None) -> bool:
    return job is not None and job.state in services.LIVE


def take(held: MetadataTable) -> MetadataTable:
    """The row, held until the transaction ends. Raises WrongState where a worker has the table, is to have it, or somebody else is at it:
    nobody waits here, as a long table is applied for minutes. Whether there is work is asked once the row is held, as who asks for it
    holds the row."""
    rows = MetadataTable.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("site", "upload")
    row = rows.filter(pk=held.pk).first()
    if is_live(job_of(held)):
        raise WrongState(BEING_APPLIED)
    if row is None:
        raise WrongState(BUSY)
    return row


def take_idle(tables: QuerySet[MetadataTable], *, most: int | None = None) -> list[int]:
    """Of the first of these the ids of those that nobody is at, their rows held. Two statements, as in `take`."""
    held = list(tables.select_for_update(no_key=True, skip_locked=True).order_by("pk").values_list("pk", flat=True)[:most])
    work = Job.objects.filter(kind=KIND, subject_id__in=held, state__in=services.LIVE)
    at_work = set(work.values_list("subject_id", flat=True))
    return [pk for pk in held if pk not in at_work]
