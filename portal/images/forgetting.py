"""What was said of images that never came: tables that nobody applied, and rows that still wait for their file."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Min, QuerySet
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import event, record, record_all
from portal.core.errors import WrongState
from portal.images import table_jobs
from portal.images.locks import lock
from portal.images.models import FileOutcome, MetadataTable, Upload, UploadFile

FORGOTTEN = "It was held for {days} days and not applied, and is forgotten. Send it again if it is still wanted."
WAITING = (FileOutcome.EXPECTED, FileOutcome.MISSING)


@transaction.atomic
def forget_tables() -> int:
    """The beat: the cells of tables that nobody applied in so many days go; that there was one stays. Returns how many."""
    old = MetadataTable.objects.filter(created__lt=_then(), applied=None).exclude(cells=b"")
    found = list(MetadataTable.objects.filter(pk__in=table_jobs.take_idle(old, most=1000)).defer("cells").order_by("pk"))
    MetadataTable.objects.filter(pk__in=[one.pk for one in found]).update(cells=b"", refused=FORGOTTEN.format(days=settings.TABLE_DAYS))
    record_all(
        [event(actor_id=None, action="table.forgotten", subject=one, site_id=one.site_id, days=settings.TABLE_DAYS) for one in found]
    )
    return len(found)


def forgotten_of(site: Site, *, most: int = 5) -> list[MetadataTable]:
    """The newest tables of a site that were forgotten: one query."""
    rows = MetadataTable.objects.filter(site=site, applied=None, cells=b"").exclude(refused="").defer("cells")
    return list(rows.select_related("created_by").order_by("-pk")[:most])


def rows_waiting_since(upload: Upload) -> datetime | None:
    """Since when the oldest row of the table waits for its file, where that is longer than rows should; else None. One query."""
    since: datetime | None = _old_rows(upload).aggregate(since=Min("created"))["since"]
    return since


@transaction.atomic
def forget_rows(*, upload: Upload, actor: User) -> int:
    """Remove the rows that waited so long for a file. Returns how many. One that comes after all comes without what they said."""
    access.require(actor, "upload", site=upload.site_id)
    gone, _ = _old_rows(lock(upload)).delete()
    if not gone:
        raise WrongState("No row waits here as long as that any more. Reload the page.")
    record(actor_id=actor.pk, action="upload.rows_forgotten", subject=upload, site_id=upload.site_id, rows=gone)
    return gone


def _old_rows(upload: Upload) -> QuerySet[UploadFile]:
    return upload.files.filter(outcome__in=WAITING, created__lt=_then())


def _then() -> object:
    return Now() - timedelta(days=settings.TABLE_DAYS)
