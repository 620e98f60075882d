"""The end of many jobs at once: one transaction for the results of a batch, each guarded by its own fence."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

from portal.core.faults import fault
from portal.jobs.services import Claim, LostClaim, still_held

log = logging.getLogger(__name__)
AWAY = (OperationalError, InterfaceError)
"""The database did not answer, or chose this transaction to give way: no row's fault."""

# in the order of the ids, as everybody who locks several jobs does: two at once then never wait for each other
_COMPLETE = """
WITH held AS (
    SELECT jobs_job.id FROM jobs_job JOIN unnest(%(ids)s::bigint[], %(attempts)s::int[]) AS mine (id, attempt)
    ON jobs_job.id = mine.id AND jobs_job.attempt = mine.attempt
    WHERE state = 'claimed' ORDER BY jobs_job.id FOR UPDATE OF jobs_job
)
UPDATE jobs_job SET state = 'done', lease_until = NULL, finished = statement_timestamp(), error = ''
FROM held WHERE jobs_job.id = held.id
"""


def complete_many(claims: Sequence[Claim]) -> None:
    """Inside the transaction that writes the results: mark all done if every fence holds, else raise LostClaim."""
    fault("before_complete")
    values = {"ids": [held.job_id for held in claims], "attempts": [held.attempt for held in claims]}
    with connection.cursor() as cursor:
        cursor.execute(_COMPLETE, values)
        if cursor.rowcount != len(claims):
            raise LostClaim(f"{len(claims) - cursor.rowcount} of {len(claims)} jobs")
    fault("before_commit")


def finish_many(claims: Sequence[Claim], write: Callable[[Sequence[Claim]], object]) -> list[Claim]:
    """One transaction: what `write(claims)` writes, and the end of those jobs. Returns the claims that were written.

    Where some are no longer held, everything rolls back and is written anew for those that are. Where the database refuses
    something, each is written in a transaction of its own, so that one row never keeps its batch-mates from ending; then raises
    what the last of the refused met.
    """
    held = list(claims)
    while held:
        try:
            with transaction.atomic():
                write(held)
                complete_many(held)
        except LostClaim as lost:
            log.info("Refused a late writer: %s", lost)
            held = still_held(held)
        except AWAY:
            raise
        except DatabaseError as refused:
            if len(held) == 1:
                raise
            log.warning("Written one at a time: %s", refused)
            return _one_by_one(held, write)
        else:
            return held
    return []


def _one_by_one(claims: Sequence[Claim], write: Callable[[Sequence[Claim]], object]) -> list[Claim]:
    done: list[Claim] = []
    trouble: DatabaseError | None = None
    for claim in claims:
        try:
            done += finish_many([claim], write)
        except AWAY:
            raise
        except DatabaseError as refused:
            trouble = refused
    if trouble is not None:
        raise trouble
    return done
