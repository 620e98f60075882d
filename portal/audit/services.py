"""The one way to write an audit event: in the transaction of the change itself. And the seal that shows tampering."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model

from portal.audit import chain
from portal.audit.models import AuditCheck, AuditEvent, AuditSeal
from portal.core.statements import insert_row, insert_rows

log = logging.getLogger(__name__)
_BATCH = 20_000
_KEPT = 1_000
_LATE = timedelta(hours=1)
"""No transaction takes so long that its events may come as late."""


def event(*, actor_id: int | None, action: str, subject: Model, site_id: int | None = None, **details: Any) -> AuditEvent:
    """One event, not yet written. `details` are small JSON values: before and after, never a patient's name, a picture or a secret."""
    return AuditEvent(
        actor_id=actor_id, action=action, subject_type=subject._meta.label, subject_id=subject.pk, site_id=site_id, details=details
    )


def record(*, actor_id: int | None, action: str, subject: Model, site_id: int | None = None, **details: Any) -> AuditEvent:
    """Write one event."""
    said = event(actor_id=actor_id, action=action, subject=subject, site_id=site_id, **details)
    insert_row(said)
    return said


def record_part(new: str) -> str:
    """The same as part of a larger statement, for rows that its part `new` returns by id; its values are those of `part_values`."""
    return f"""
        INSERT INTO audit_auditevent (actor_id, action, subject_type, subject_id, site_id, details)
        SELECT %(event_actor)s, %(event_action)s, %(event_subject)s, id, %(event_site)s, %(event_details)s::jsonb FROM {new}
    """  # noqa: S608  # nosec B608 # the name of a part


def part_values(*, actor_id: int | None, action: str, subject: type[Model], site_id: int | None = None, **details: Any) -> dict[str, Any]:
    """As for `record`, of a row that the statement inserts."""
    return {
        "event_actor": actor_id, "event_action": action, "event_subject": subject._meta.label, "event_site": site_id,
        "event_details": json.dumps(details, cls=DjangoJSONEncoder),
    }  # fmt: skip


def record_all(events: Iterable[AuditEvent]) -> None:
    """Write the events of a batch in one statement."""
    insert_rows(list(events))


@transaction.atomic
def seal(*, limit: int = _BATCH) -> int:
    """Append the events that no seal covers yet to the chain, one writer at a time. Returns how many; called by the beat.

    Seals follow each other in the order of sealing: an event that commits late is sealed late, and none is passed over.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('winnow.audit.seal'))")
    last = AuditSeal.objects.order_by("-pk").first()
    head = last.digest if last else chain.START
    seals = []
    for event in AuditEvent.objects.filter(seal=None).order_by("pk")[:limit]:
        seals.append(AuditSeal(event=event, previous=head, digest=chain.digest(head, _columns(event))))
        head = seals[-1].digest
    AuditSeal.objects.bulk_create(seals, batch_size=1_000)
    if seals:
        # The head in the log, outside the database, is what an owner of the database cannot rewrite.
        log.info("audit sealed: %d events, head %s", len(seals), head)
    return len(seals)


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk along the chain found: how many seals, how many events wait for one, the last digest, and each break in words."""

    sealed: int
    unsealed: int
    head: str
    breaks: tuple[str, ...]


def verify(*, expected_head: str = "") -> Verification:
    """Walk the whole chain. `expected_head`: a head from an earlier log; it must still be in the chain (else its end was cut off)."""
    head, count, found, newest = chain.START, 0, not expected_head, None
    breaks: list[str] = []
    for row in AuditSeal.objects.select_related("event").order_by("pk").iterator(chunk_size=2_000):
        breaks += [*_breaks(row, head), *_too_old(row.event, newest)]
        newest = max(newest or row.event.created, row.event.created)
        head, count = row.digest, count + 1
        found = found or head == expected_head
    if not found:
        breaks.append(f"The head {expected_head} is not in the chain: events at its end were removed or rewritten.")
    unsealed = AuditEvent.objects.filter(seal=None)
    for late in unsealed.filter(created__lt=newest - _LATE) if newest else ():
        breaks += _too_old(late, newest)
    return Verification(count, unsealed.count(), head, tuple(breaks))


@transaction.atomic
def check() -> AuditCheck:
    """Walk the chain, from whose last known head nothing may be gone, and keep what was found. The beat, daily."""
    last = AuditCheck.objects.order_by("-pk").first()
    found = verify(expected_head=last.head if last and last.sealed else "")
    if found.breaks:
        log.error("The audit trail was changed: %d breaks; the first: %s", len(found.breaks), found.breaks[0])
    return AuditCheck.objects.create(sealed=found.sealed, unsealed=found.unsealed, head=found.head, breaks=list(found.breaks[:_KEPT]))


def _too_old(event: AuditEvent, newest: datetime | None) -> Iterator[str]:
    """Events are sealed about as they come; one that claims to be much older than what was sealed before it came afterwards."""
    if newest is not None and event.created < newest - _LATE:
        yield f"Event {event.pk} says it is older than events that were sealed before it: it was inserted afterwards."


def _breaks(row: AuditSeal, head: str) -> Iterator[str]:
    if row.previous != head:
        yield f"Before event {row.event_id}: a seal was removed, inserted or changed."
    if row.digest != chain.digest(row.previous, _columns(row.event)):
        yield f"Event {row.event_id} is not what was sealed."


def _columns(event: AuditEvent) -> list[object]:
    subject = [event.subject_type, event.subject_id, event.site_id]
    return [event.pk, event.created.isoformat(), event.actor_id, event.action, *subject, event.details]
