"""Writes of leases: a reader holds a picture for a while, under a random address that dies with the lease."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Literal

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import WrongState
from portal.reviews import selectors
from portal.reviews.models import Lease, ReviewTask

LEASE = timedelta(minutes=10)
AHEAD = timedelta(seconds=90)
"""A picture that is fetched ahead is held so long; the page asks anew as long as somebody reads."""
MOST_AHEAD = 2
LONGEST = timedelta(hours=2)
"""A lease is not extended beyond this: a forgotten tab must not keep a picture from the others."""
_TRIES = 5

Role = Literal["reader", "adjudicator"]


@transaction.atomic
def lease_next(*, reader: User, role: Role = "reader") -> Lease | None:
    """The next picture for this reader, or the one they hold; None where nothing waits for them."""
    _alone(reader)
    held = selectors.live_lease(reader, role=role)
    if held and held.reserved:
        # fetched ahead, and now its turn
        Lease.objects.filter(pk=held.pk).update(reserved=False, until=Now() + LEASE)
        held.reserved = False
    if held:
        return held
    return _next(reader, role)


@transaction.atomic
def reserve(*, reader: User, role: Role = "reader") -> list[Lease]:
    """What this reader will be given next, at most MOST_AHEAD, held for a short while so that their pictures can be fetched ahead.

    Counted as held by everybody else's queue; given back by themselves where the reader stops.
    """
    _alone(reader)
    ahead = selectors.reserved_by(reader, role=role)
    Lease.objects.filter(pk__in=[lease.pk for lease in ahead]).update(until=Now() + AHEAD)
    while len(ahead) < MOST_AHEAD:
        lease = _next(reader, role, ahead=True)
        if lease is None:
            break
        ahead.append(lease)
    return ahead


def _alone(reader: User) -> None:
    """One reader's two tabs must not take two pictures."""
    User.objects.select_for_update(no_key=True).filter(pk=reader.pk).values_list("pk").first()


def _next(reader: User, role: Role, *, ahead: bool = False) -> Lease | None:
    for _ in range(_TRIES):
        task = _lock_next(reader, role)
        if task is None:
            return None
        lease = _take(task, reader, ahead=ahead)
        if lease:
            action = "reserve" if ahead else "lease"
            audit.record(actor_id=reader.pk, action=action, subject=task, site_id=task.image.site_id, lease=lease.pk, role=role)
            return lease
    return None


def _lock_next(reader: User, role: Role) -> ReviewTask | None:
    """The first task of the queue that nobody else is taking right now; where all are being taken, wait for one."""
    rows = selectors.adjudicable_by(reader) if role == "adjudicator" else selectors.readable_by(reader)
    # what this reader holds already is not what comes next
    own = Lease.objects.filter(selectors.LIVE, task=OuterRef("pk"), reader=reader)
    rows = rows.exclude(Exists(own)).select_related("image", "rules")
    return rows.select_for_update(skip_locked=True, of=("self",)).first() or rows.select_for_update(of=("self",)).first()


def _take(task: ReviewTask, reader: User, *, ahead: bool = False) -> Lease | None:
    """A lease on a locked task, if answers are still missing: between the choice and the lock somebody else may have been quicker,
    and only a statement of its own sees that. A dead lease of the same reader is buried first."""
    span = AHEAD if ahead else LEASE
    values: dict[str, int | float | str] = {
        "task": task.pk,
        "reader": reader.pk,
        "token": secrets.token_urlsafe(32),
        "seconds": span.total_seconds(),
        "ahead": ahead,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TAKE, values)
        row = cursor.fetchone()
    if row is None:
        return None
    lease = Lease(id=row[0], task=task, reader=reader, token=row[1], until=row[2], created=row[3], reserved=ahead)
    lease._state.adding = False
    return lease


_TAKE = """
WITH buried AS (
    UPDATE reviews_lease SET ended = until WHERE task_id = %(task)s AND reader_id = %(reader)s AND ended IS NULL
    RETURNING id
),
task AS (
    SELECT state, reads_needed, answered FROM reviews_reviewtask WHERE id = %(task)s
),
taken AS (
    SELECT (SELECT count(*) FROM reviews_lease WHERE task_id = %(task)s AND reader_id <> %(reader)s
            AND ended IS NULL AND until > statement_timestamp()) AS held,
           EXISTS (SELECT 1 FROM reviews_read WHERE task_id = %(task)s AND reader_id = %(reader)s AND current) AS mine
)
INSERT INTO reviews_lease (task_id, reader_id, token, until, reserved)
SELECT %(task)s, %(reader)s, %(token)s, statement_timestamp() + make_interval(secs => %(seconds)s), %(ahead)s
FROM task, taken, (SELECT count(*) FROM buried) AS first_of_all
WHERE NOT taken.mine
  AND ((task.state = 'open' AND task.answered + taken.held < task.reads_needed) OR (task.state = 'adjudication' AND taken.held = 0))
RETURNING id, token, until, created
"""


def hold(*, task: ReviewTask, reader: User) -> Lease:
    """A picture that this reader has had before, again: their answer was undone. The task's row is held by the caller.

    Raises WrongState where somebody else has taken the place in the meantime.
    """
    lease = _take(task, reader)
    if lease is None:
        raise WrongState("Somebody else reads this picture by now, so the answer stands. Amend it under 'My reading'.", code="too_late")
    audit.record(actor_id=reader.pk, action="lease", subject=task, site_id=task.image.site_id, lease=lease.pk, again=True)
    return lease


def extend_lease(*, lease: Lease, reader: User) -> bool:
    """Hold the picture for longer, while somebody is looking at it. False where the lease is over."""
    alive = Lease.objects.filter(selectors.LIVE, pk=lease.pk, reader=reader, created__gt=Now() - LONGEST)
    return alive.update(until=Now() + LEASE) == 1


@transaction.atomic
def release(*, lease: Lease, reader: User) -> None:
    """Give the picture back unanswered."""
    if Lease.objects.filter(pk=lease.pk, reader=reader, ended__isnull=True).update(ended=Now()):
        audit.record(actor_id=reader.pk, action="release", subject=lease.task, site_id=lease.task.image.site_id, lease=lease.pk)
