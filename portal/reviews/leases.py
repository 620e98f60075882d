"""Writes of leases: a reader holds a picture for a while, under a random address that dies with the lease."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import WrongState
from portal.core.statements import Prepared
from portal.reviews import queue, rest, selectors
from portal.reviews.models import Lease, ReviewTask, TaskState
from portal.reviews.quality import known_images
from portal.reviews.queue import Role as Role
from portal.reviews.standing import Standing, enter

LEASE = timedelta(minutes=10)
AHEAD = timedelta(seconds=90)
"""A picture that is fetched ahead is held so long; the page asks anew as long as somebody reads."""
MOST_AHEAD = 2
LONGEST = timedelta(hours=2)
"""A lease is not extended beyond this: a forgotten tab must not keep a picture from the others."""
_TRIES = 5


@transaction.atomic
def lease_next(*, reader: User, role: Role = "reader") -> Lease | None:
    """The next picture for this reader, or the one they hold; None where nothing waits for them. Raises NotAllowed: an adjudicator's turn
    shows what others said, whoever asks for it."""
    if role == "adjudicator":
        access.require(reader, "adjudicate")
    standing = enter(reader)
    if rest.reason(standing):
        return None
    held = selectors.live_lease(reader, role=role)
    if held and held.reserved:
        # fetched ahead, and now its turn
        Lease.objects.filter(pk=held.pk).update(reserved=False, until=Now() + LEASE)
        held.reserved = False
    if held and role == "adjudicator" and not held.adjudicating:
        # taken by a reader before the question went to the adjudicators: what others said is shown with it from now on
        Lease.objects.filter(pk=held.pk).update(adjudicating=True)
    if held:
        return held
    return _next(reader, role, standing)


@transaction.atomic
def reserve(*, reader: User, role: Role = "reader") -> list[Lease]:
    """What this reader will be given next, at most MOST_AHEAD, held for a short while so that their pictures can be fetched ahead.

    Counted as held by everybody else's queue; given back by themselves where the reader stops.
    """
    standing = enter(reader)
    ahead = selectors.reserved_by(reader, role=role)
    Lease.objects.filter(pk__in=[lease.pk for lease in ahead]).update(until=Now() + AHEAD)
    while len(ahead) < MOST_AHEAD and rest.room_ahead(standing):
        lease = _next(reader, role, standing, ahead=True)
        if lease is None:
            break
        ahead.append(lease)
        standing = standing.after(lease.pk)
    return ahead


def _next(reader: User, role: Role, standing: Standing, *, ahead: bool = False) -> Lease | None:
    for tried in range(_TRIES):
        task = known_images.due(standing) if role == "reader" else None
        if task is None and not (standing.must_qualify and role == "reader"):
            task = queue.lock_next(reader, role)
            if task is None and not (ahead or tried):
                # whoever holds a question already and waits for another would wait for ever for one who does the same
                task = queue.lock_next(reader, role, wait=True)
            task = task or (known_images.left_over(standing) if role == "reader" else None)
        if task is None:
            return None
        lease = _take(task, reader, role, ahead=ahead, action="reserve" if ahead else "lease")
        if lease:
            return lease
    return None


def _take(task: ReviewTask, reader: User, role: Role, *, ahead: bool = False, action: str = "lease", **said: Any) -> Lease | None:
    """A lease on a locked task, if answers are still missing, and its event: between the choice and the lock somebody else may have been
    quicker, or the question have gone to the other room, and only a statement of its own sees that. A dead lease of the same reader is
    buried first."""
    span = AHEAD if ahead else LEASE
    row = _TAKE.first(
        task.pk,
        reader.pk,
        secrets.token_urlsafe(32),
        span.total_seconds(),
        ahead,
        action,
        task.image.site_id,
        json.dumps({"role": role, **said}),
        role,
    )
    if row is None:
        return None
    lease = Lease(id=row[0], task=task, reader=reader, token=row[1], until=row[2], created=row[3], reserved=ahead)
    lease._state.adding = False
    return lease


_TAKE = Prepared(
    "take_lease",
    "bigint, bigint, text, double precision, boolean, text, bigint, text, text",
    """
WITH buried AS (
    UPDATE reviews_lease SET ended = until WHERE task_id = $1 AND reader_id = $2 AND ended IS NULL
    RETURNING id
),
task AS (
    SELECT state, reads_needed, answered FROM reviews_reviewtask WHERE id = $1
),
taken AS (
    SELECT (SELECT count(*) FROM reviews_lease WHERE task_id = $1 AND reader_id <> $2
            AND ended IS NULL AND until > statement_timestamp()) AS held,
           EXISTS (SELECT 1 FROM reviews_read WHERE task_id = $1 AND reader_id = $2 AND current) AS mine
), made AS (
INSERT INTO reviews_lease (task_id, reader_id, token, until, reserved, adjudicating)
SELECT $1, $2, $3, statement_timestamp() + make_interval(secs => $4), $5, task.state = 'adjudication'
FROM task, taken, (SELECT count(*) FROM buried) AS first_of_all
WHERE NOT taken.mine
  AND ((task.state = 'open' AND $9 = 'reader' AND task.answered + taken.held < task.reads_needed)
    OR (task.state = 'adjudication' AND $9 = 'adjudicator' AND taken.held = 0))
RETURNING id, token, until, created
), told AS (
    INSERT INTO audit_auditevent (actor_id, action, subject_type, subject_id, site_id, details)
    SELECT $2, $6, 'reviews.ReviewTask', $1, $7,
        $8::jsonb || jsonb_build_object('lease', id) FROM made
)
SELECT id, token, until, created FROM made
""",
)


def hold(*, task: ReviewTask, reader: User) -> Lease:
    """A picture that this reader has had before, again: their answer was undone. The task's row is held by the caller.

    Raises WrongState where somebody else has taken the place in the meantime.
    """
    lease = _take(task, reader, "adjudicator" if task.state == TaskState.ADJUDICATION else "reader", again=True)
    if lease is None:
        raise WrongState("Somebody else reads this picture by now, so the answer stands. Amend it under 'My reading'.", code="too_late")
    return lease


def extend_lease(*, lease: Lease, reader: User) -> bool:
    """Hold the picture for longer, while somebody is looking at it. False where the lease is over."""
    alive = Lease.objects.filter(selectors.LIVE, pk=lease.pk, reader=reader, created__gt=Now() - LONGEST)
    return alive.update(until=Now() + LEASE) == 1


@transaction.atomic
def release(*, lease: Lease, reader: User) -> None:
    """Give the picture back unanswered, and with it what was fetched ahead."""
    Lease.objects.filter(selectors.LIVE, reader=reader, reserved=True).update(ended=Now())
    if Lease.objects.filter(pk=lease.pk, reader=reader, ended__isnull=True).update(ended=Now()):
        audit.record(actor_id=reader.pk, action="release", subject=lease.task, site_id=lease.task.image.site_id, lease=lease.pk)
