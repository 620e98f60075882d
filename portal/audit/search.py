"""Looking for events: every part narrows by an index; words are looked for in the newest that fit the rest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet, TextField
from django.db.models.functions import Cast

from portal.audit.models import AuditEvent

DEEP = 100_000
"""In so many of the newest events that fit the rest, words are looked for."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Empty means any. actors: a query of ids; the system has none. subject: `images.Image` or `images.Image:12`. Days are whole, UTC."""

    actors: QuerySet[Any, Any] | None = None
    by_system: bool = False
    action: str = ""
    subject: str = ""
    site: int | None = None
    since: date | None = None
    until: date | None = None
    words: str = ""
    before: int | None = None


def find(rows: QuerySet[AuditEvent], wanted: Wanted, *, limit: int) -> list[AuditEvent]:
    """The newest first. `rows`: what this person may see."""
    return list(matching(rows, wanted)[:limit])


def matching(rows: QuerySet[AuditEvent], wanted: Wanted) -> QuerySet[AuditEvent]:
    found = rows.filter(_subject(wanted.subject), action__startswith=wanted.action.strip())
    if wanted.actors is not None:
        found = found.filter(actor_id__in=wanted.actors)
    if wanted.by_system:
        found = found.filter(actor_id=None)
    if wanted.site is not None:
        found = found.filter(site_id=wanted.site)
    if wanted.since:
        found = found.filter(created__gte=_midnight(wanted.since))
    if wanted.until:
        found = found.filter(created__lt=_midnight(wanted.until + timedelta(days=1)))
    if wanted.before is not None:
        found = found.filter(pk__lt=wanted.before)
    if wanted.words.strip():
        newest = found.order_by("-pk").values("pk")[:DEEP]
        found = rows.filter(pk__in=newest).annotate(said=Cast("details", TextField())).filter(said__icontains=wanted.words.strip())
    return found.order_by("-pk")


def _subject(text: str) -> Q:
    kind, _, number = text.strip().partition(":")
    if not kind:
        return Q()
    of_kind = Q(subject_type=kind)
    return of_kind & Q(subject_id=int(number)) if number.isascii() and number.isdecimal() and len(number) < 19 else of_kind


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=ZoneInfo("UTC"))
