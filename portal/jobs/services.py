"""Claim, lease, fence (DESIGN 4). Time is the database's, at the statement (as Django's Now).

A worker claims rows and commits; works outside any transaction, extending its leases; then for each row, in one transaction, writes
the result and calls `complete`. Everything rolls back with LostClaim where another attempt has taken the row over meanwhile.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from portal.audit.services import record
from portal.core.errors import WrongState
from portal.core.faults import fault
from portal.jobs import bell, turns
from portal.jobs.kinds import KINDS, STRIKES
from portal.jobs.models import Job, JobState

log = logging.getLogger(__name__)
LIVE = (JobState.QUEUED, JobState.CLAIMED)


@dataclass(frozen=True, slots=True)
class Claim:
    """One job in the hands of one worker. `attempt` is its fence."""

    job_id: int
    kind: str
    subject_id: int
    actor_id: int | None
    attempt: int
    cancel_requested: bool = False


class TryLater(Exception):
    """What the work needs is away (a disk, a store, a device): the claims are given back and it counts against no job."""


class LostClaim(Exception):
    """Another attempt has taken the job over, or it was cancelled: the late writer is refused and its transaction rolled back."""


# ---- into the queue ---------------------------------------------------------------------------------------------------


def enqueue(*, kind: str, subject_id: int, actor_id: int | None = None) -> Job:
    """Put one piece of work in the queue, in the caller's transaction; once per kind and subject while in work. Rings after commit."""
    return enqueue_many(kind=kind, subject_ids=[subject_id], actor_id=actor_id)[0]


def put(*, kind: str, subject_ids: Sequence[int], actor_id: int | None = None) -> None:
    """`enqueue_many` where nobody asks for the jobs: one statement, none where there are no subjects."""
    KINDS[kind]
    if not subject_ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(turns.put_statement(kind), {"kind": kind, "subjects": list(dict.fromkeys(subject_ids)), "actor": actor_id})
    bell.ring_after_commit(kind)


def enqueue_many(*, kind: str, subject_ids: Sequence[int], actor_id: int | None = None) -> list[Job]:
    """The same for many, in the order of `subject_ids`: each job is the new one, or the one that was already in work."""
    found: dict[int, Job] = {}
    wanted = list(dict.fromkeys(subject_ids))
    while missing := [subject for subject in wanted if subject not in found]:
        # a live job may end between the two statements: then it is neither inserted nor found, and tried again
        put(kind=kind, subject_ids=missing, actor_id=actor_id)
        found |= {job.subject_id: job for job in Job.objects.filter(kind=kind, subject_id__in=missing, state__in=LIVE)}
    return [found[subject] for subject in subject_ids]


def retry(*, job: Job, actor_id: int) -> Job:
    """Queue a failed or cancelled job again. Its attempts go on counting: they are the fence."""
    ended = Job.objects.filter(pk=job.pk, state__in=[JobState.FAILED, JobState.CANCELLED])
    try:
        with transaction.atomic():
            changed = ended.update(
                state=JobState.QUEUED, errors=0, deaths=0, cancel_requested=False, error="", finished=None, progress={}, not_before=Now()
            )
            if not changed:
                raise WrongState("This work is not failed or cancelled, so there is nothing to retry. Reload the page.")
            record(
                actor_id=actor_id,
                action="job.retried",
                subject=job,
                kind=job.kind,
                subject_id_of_job=job.subject_id,
                before=job.state,
                after="queued",
            )
            bell.ring_after_commit(job.kind)
    except IntegrityError:
        raise WrongState("The same work is already queued again. Reload the page.") from None
    job.refresh_from_db()
    return job


@transaction.atomic
def cancel(*, job: Job, actor_id: int) -> None:
    """A queued job is cancelled at once; a claimed one is asked to stop, and stops when it is claimed again if its worker is dead.

    One that has ended stays as it is.
    """
    row = Job.objects.filter(pk=job.pk)
    state = row.select_for_update().values_list("state", flat=True).first()
    if state not in LIVE:
        return
    row.update(cancel_requested=True)
    if state == JobState.QUEUED:
        row.update(state=JobState.CANCELLED, finished=Now())
    record(
        actor_id=actor_id,
        action="job.cancelled",
        subject=job,
        kind=job.kind,
        subject_id_of_job=job.subject_id,
        before=state,
        after="cancelled",
    )


# ---- in a worker's hands ----------------------------------------------------------------------------------------------


def claim(kind: str, *, worker: str, limit: int | None = None) -> list[Claim]:
    """Take up to a batch of claimable jobs for one worker (`FOR UPDATE SKIP LOCKED`), from all sites in turns; commits at once.

    A job marked `alone` is taken by itself: what it does to its worker, it does to no batch-mate.
    """
    size = limit or min(KINDS[kind].batch, settings.JOB_BATCH)
    with connection.cursor() as cursor:
        values: dict[str, int | str] = {"kind": kind, "size": size, "lease": lease_seconds(kind), "worker": worker[:120]}
        cursor.execute(turns.CLAIM, {**values, "turn": turns.turn(kind)})
        return sorted((Claim(*row) for row in cursor.fetchall()), key=lambda taken: taken.job_id)


def lease_seconds(kind: str) -> int:
    """How long a claim of this kind lasts without a sign of life."""
    return min(KINDS[kind].lease, settings.JOB_LEASE_SECONDS)


_EXTEND = """
WITH held AS (
    SELECT jobs_job.id FROM jobs_job JOIN unnest(%(ids)s::bigint[], %(attempts)s::int[]) AS mine (id, attempt)
    ON jobs_job.id = mine.id AND jobs_job.attempt = mine.attempt
    WHERE state = 'claimed' ORDER BY jobs_job.id FOR UPDATE OF jobs_job
)
UPDATE jobs_job SET lease_until = statement_timestamp() + make_interval(secs => %(lease)s),
    progress = COALESCE(%(progress)s::jsonb, progress)
FROM held WHERE jobs_job.id = held.id
RETURNING jobs_job.id, cancel_requested
"""


def extend(claims: list[Claim], *, progress: dict[str, object] | None = None) -> set[int]:
    """Prove life. Returns the ids of jobs still held and not asked to cancel."""
    if not claims:
        return set()
    values = {
        "lease": lease_seconds(claims[0].kind),
        "progress": None if progress is None else json.dumps(progress),
        "ids": [held.job_id for held in claims],
        "attempts": [held.attempt for held in claims],
    }
    with connection.cursor() as cursor:
        cursor.execute(_EXTEND, values)
        return {job_id for job_id, cancel_requested in cursor.fetchall() if not cancel_requested}


def complete(claim: Claim) -> None:
    """Inside the transaction that writes the result: mark done if the fence holds, else raise LostClaim (everything rolls back)."""
    fault("before_complete")
    _end(claim, JobState.DONE, error="")
    fault("before_commit")


def fail(claim: Claim, error: str) -> None:
    """Inside a transaction: mark failed for good with its reason (a Retry button exists), if the fence holds, else raise LostClaim."""
    _end(claim, JobState.FAILED, error=error)


def stop(claim: Claim) -> None:
    """Inside a transaction: the worker has obeyed a request to cancel. Raises LostClaim if the fence does not hold."""
    _end(claim, JobState.CANCELLED)


def release(claims: Iterable[Claim], *, delay: float = 0, alone: bool = False) -> int:
    """Give back what could not be worked on now; counts as nothing. With `alone`, each is claimed by itself from now on."""
    marks = {"alone": True} if alone else {}
    due = Now() + timedelta(seconds=delay)
    return sum(_fenced(held).update(state=JobState.QUEUED, lease_until=None, not_before=due, **marks) for held in claims)


def strike(claim: Claim, error: str, *, pauses: Sequence[float] = (0,)) -> bool:
    """Give back a job whose work, done alone, met an unexpected error, after the pause for its so-manieth error.

    Inside a transaction. True when the error was the last allowed: then the job is still in the caller's hands, who fails it.
    """
    counted = _fenced(claim).update(errors=F("errors") + 1, error=error[:4000], alone=True)
    if not counted:
        raise LostClaim(f"job {claim.job_id}, attempt {claim.attempt}")
    errors = Job.objects.values_list("errors", flat=True).get(pk=claim.job_id)
    if errors >= STRIKES:
        return True
    release([claim], delay=pauses[min(errors, len(pauses)) - 1])
    return False


def finish(claim: Claim, write: Callable[[], object], *, end: Callable[[Claim], None] = complete) -> bool:
    """One transaction: what `write` writes, and the job's end. False, and nothing written, where the claim is no longer held."""
    try:
        with transaction.atomic():
            write()
            end(claim)
    except LostClaim:
        log.info("Refused a late writer: job %s, attempt %s", claim.job_id, claim.attempt)
        return False
    return True


def still_held(claims: Sequence[Claim]) -> list[Claim]:
    """Those of one's claims that have neither ended nor been taken over."""
    rows = Job.objects.filter(pk__in=[held.job_id for held in claims], state=JobState.CLAIMED).values_list("pk", "attempt")
    return [held for held in claims if (held.job_id, held.attempt) in set(rows)]


def _fenced(held: Claim) -> QuerySet[Job]:
    return Job.objects.filter(pk=held.job_id, attempt=held.attempt, state=JobState.CLAIMED)


def _end(held: Claim, state: JobState, **values: object) -> None:
    ended = _fenced(held).update(state=state, lease_until=None, finished=Now(), **values)
    if not ended:
        raise LostClaim(f"job {held.job_id}, attempt {held.attempt}")


# ---- after a death ----------------------------------------------------------------------------------------------------

_SWEEP = """
WITH dead AS (
    SELECT id, deaths + (batch_size = 1)::int AS deaths, (%(most)s::jsonb ->> kind)::int AS most FROM jobs_job
    WHERE state = 'claimed' AND lease_until < statement_timestamp() ORDER BY id FOR UPDATE SKIP LOCKED
)
UPDATE jobs_job SET deaths = dead.deaths, alone = true, not_before = statement_timestamp(),
    state = CASE WHEN dead.deaths >= dead.most THEN 'claimed' ELSE 'queued' END,
    lease_until = CASE WHEN dead.deaths >= dead.most THEN statement_timestamp() END
FROM dead WHERE jobs_job.id = dead.id
RETURNING jobs_job.id, kind, subject_id, actor_id, attempt, cancel_requested, state
"""


def sweep() -> list[Claim]:
    """Queue again what dead workers held, to be claimed alone.

    Returns the jobs that killed their workers too often, in the caller's hands: the caller fails each, with what hangs on it. One
    that is not failed is found again by the next sweep.
    """
    with connection.cursor() as cursor:
        cursor.execute(_SWEEP, {"most": json.dumps({kind.name: kind.deaths for kind in KINDS.values()})})
        rows = cursor.fetchall()
    for kind in {row[1] for row in rows if row[6] == JobState.QUEUED}:
        bell.ring_after_commit(kind)
    return [Claim(*row[:6]) for row in rows if row[6] == JobState.CLAIMED]
