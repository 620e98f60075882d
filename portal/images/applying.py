"""Applying a table: a short one while its sender waits, a long one by a worker, whose page says how far it is and can stop it.

Either way it is one transaction: killed or stopped it leaves nothing, and the next attempt begins anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Q

from portal.accounts import access
from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import WinnowError, WrongState
from portal.core.faults import fault
from portal.images import table_jobs, tables
from portal.images.grids import pack
from portal.images.models import MetadataTable, Upload
from portal.jobs import services as jobs
from portal.jobs.pulse import Pulse

SHORT = 500
"""Rows that are applied within a request: well under a second (docs/LOG.md)."""
_LOOK_SECONDS = 1.0
_TURN_SECONDS = 1.0
FAILED = "The table could not be applied, and nothing was changed. Apply it again; if that fails too, ask your administrator."


@dataclass(frozen=True, slots=True)
class Work:
    """A table that was asked to be applied: how many images of how many are written, once the table is read."""

    held: MetadataTable
    state: str
    """queued, claimed, done, failed, cancelled; or none, where nobody asked for work."""
    done: int = 0
    of: int = 0

    @property
    def live(self) -> bool:
        return self.state in jobs.LIVE


def work_of(held: MetadataTable) -> Work:
    """How far a table is: one query."""
    job = table_jobs.job_of(held)
    if job is None:
        return Work(held, "none")
    progress: Mapping[str, Any] = job.progress
    return Work(held, job.state, progress.get("done", 0), progress.get("of", 0))


def newest_of(upload: Upload) -> Work | None:
    """The newest table of an upload that was applied, or asked to be: two queries at most."""
    asked = Q(pk__in=table_jobs.live(upload.site_id).values("subject_id"))
    rows = upload.tables.filter(asked | Q(applied__isnull=False) | ~Q(refused=""))
    held = rows.defer("cells").order_by("-pk").first()
    if held is None or held.applied:
        return Work(held, "done") if held else None
    return work_of(held)


# ---- asked for --------------------------------------------------------------------------------------------------------


@transaction.atomic
def apply_held(*, held: MetadataTable, seen: str, actor: User) -> tables.Applied | None:
    """Apply a table that somebody has looked at; None where a worker does it. Raises WrongState as `tables.apply_held`."""
    access.require(actor, "correct", site=held.site_id)
    locked = table_jobs.take(held)
    rows = len(tables.sheet_of(locked, tables.opened(locked)).rows) - 1
    if _at_once(locked, rows):
        return tables.apply_held(held=locked, seen=seen, actor=actor)
    _ask(locked, rows, seen, actor)
    return None


@transaction.atomic
def take_table(*, upload: Upload, data: bytes, actor: User, name: str = "") -> tables.Applied | MetadataTable:
    """Apply a table as it comes, without a look; the table itself where a worker does it. Raises as `tables.apply_table`."""
    taken, grids, parsed = tables.read_new(upload, data, actor, name)
    if _at_once(taken, len(parsed.rows)):
        taken.save()
        return tables.apply_read(taken, parsed, actor)
    taken.cells = pack(grids)
    taken.save()
    _ask(taken, len(parsed.rows), "", actor)
    return taken


def later(held: MetadataTable) -> str:
    """What is said of a table that a worker applies."""
    return f"The table has {held.rows:,} rows. It is being applied now; the upload's page shows how far it is."


def for_programs(applied: tables.Applied | MetadataTable) -> tuple[dict[str, Any], int]:
    """The answer to a program, and its status: 202 where the table is applied later."""
    if isinstance(applied, MetadataTable):
        return {"rows": applied.rows, "matched": 0, "errors": [], "notices": [later(applied)]}, 202
    errors = [{"row": row, "message": message} for row, message in sorted(applied.errors.items())]
    return {"rows": applied.rows, "matched": applied.matched, "errors": errors, "notices": applied.notices}, 200


def _at_once(held: MetadataTable, rows: int) -> bool:
    """A short one does not overtake another of its site that still waits."""
    return rows <= SHORT and not table_jobs.live(held.site_id).exists()


def _ask(held: MetadataTable, rows: int, seen: str, actor: User) -> None:
    held.rows, held.seen, held.refused = rows, seen, ""
    held.save(update_fields=["rows", "seen", "refused"])
    jobs.put(kind=table_jobs.KIND, subject_ids=[held.pk], actor_id=actor.pk)
    record(actor_id=actor.pk, action="table.queued", subject=held, site_id=held.site_id, rows=rows)


@transaction.atomic
def stop(*, held: MetadataTable, actor: User) -> None:
    """Nothing of the table is applied; it is held again, as before somebody asked."""
    access.require(actor, "correct", site=held.site_id)
    job = table_jobs.job_of(held)
    if job is None or not table_jobs.is_live(job):
        raise WrongState("This table is not being applied any more. Reload the page.")
    jobs.cancel(job=job, actor_id=actor.pk)
    record(actor_id=actor.pk, action="table.stopped", subject=held, site_id=held.site_id)


# ---- in a worker's hands ----------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """Somebody asked to stop, or another worker has the table now."""


def apply_claimed(claim: jobs.Claim) -> None:
    """Apply one table, after those of its site that were asked for before."""
    held = MetadataTable.objects.select_related("site", "upload").get(pk=claim.subject_id)
    if held.applied:
        jobs.finish(claim, lambda: None)
    elif table_jobs.live(held.site_id).filter(pk__lt=claim.job_id).exists():
        jobs.release([claim], delay=_TURN_SECONDS)
    else:
        _apply(claim, held, User.objects.get(pk=claim.actor_id or held.created_by_id))


def _apply(claim: jobs.Claim, held: MetadataTable, actor: User) -> None:
    progress: dict[str, object] = {"done": 0, "of": 0}
    with Pulse(claim, lambda: _told(claim, progress), interval=_LOOK_SECONDS) as pulse:

        def told(done: int, of: int) -> None:
            fault("table_part")
            if pulse.stopped():
                raise _Stopped
            progress.update(done=done, of=of)

        try:
            jobs.finish(claim, lambda: tables.apply_held(held=held, seen=held.seen or None, actor=actor, told=told))
        except _Stopped:
            jobs.finish(claim, lambda: None, end=jobs.stop)
        except WinnowError as refused:
            why = refused.message
            jobs.finish(claim, lambda: _refuse(claim, held, why))


def _told(claim: jobs.Claim, progress: dict[str, object]) -> None:
    jobs.extend([claim], progress=dict(progress))


def _refuse(claim: jobs.Claim, held: MetadataTable, why: str) -> None:
    MetadataTable.objects.filter(pk=held.pk, applied=None).update(refused=why[:400])
    record(actor_id=claim.actor_id, action="table.refused", subject=held, site_id=held.site_id, reason=why[:400])


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the table is held as before, and its page says so."""
    held = MetadataTable.objects.get(pk=claim.subject_id)
    MetadataTable.objects.filter(pk=held.pk, applied=None).update(refused=FAILED)
    record(actor_id=claim.actor_id, action="table.failed", subject=held, site_id=held.site_id, error=error[:300])
    jobs.fail(claim, error)
