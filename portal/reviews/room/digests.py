"""Reminders by e-mail: how many pictures wait for a reader, and not a word of them. As often as the reader chose, never while they are away
or on a day on which they have read.

Claimed row by row, so that two beats at once remind nobody twice; sent after the commit; given back where the mail server does not take it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.db.models import DateField, DurationField, Exists, ExpressionWrapper, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Cast, Now

from portal.accounts.access import READERS
from portal.accounts.models import Membership, Role, User
from portal.audit import services as audit
from portal.reviews import queue, standing
from portal.reviews.models import Read, ReaderSettings
from portal.reviews.quality import qualification

log = logging.getLogger(__name__)
AT_ONCE = 200
"""So many readers are looked at by one beat: those who were reminded longest ago come first."""
_NOWHERE = ("console.EmailBackend", "dummy.EmailBackend")


@dataclass(frozen=True, slots=True)
class Digest:
    """One mail that is to be sent. `before`: when this reader was reminded before it."""

    reader: User
    waiting: int
    days: int
    before: datetime | None
    claimed: datetime


def can_send() -> bool:
    """Whether mail goes anywhere."""
    return not settings.EMAIL_BACKEND.endswith(_NOWHERE)


def send_due() -> int:
    """Remind whom it is time to remind; says how many. Safe to ring twice, and to die anywhere: then somebody is reminded one time less."""
    if not can_send():
        return 0
    return sum(_send(digest) for digest in claim())


@transaction.atomic
def claim() -> list[Digest]:
    """The mails that are due, written down as sent."""
    found = []
    for own in _due().select_for_update(skip_locked=True, of=("self",))[:AT_ONCE]:
        waiting = _waiting(own.reader)
        if waiting:
            before = own.reminded
            ReaderSettings.objects.filter(pk=own.pk).update(reminded=Now())
            own.refresh_from_db(fields=["reminded"])
            assert own.reminded is not None
            audit.record(actor_id=None, action="reader_reminded", subject=own.reader, waiting=waiting)
            found.append(Digest(own.reader, waiting, own.digest_days, before, own.reminded))
    return found


def _due() -> QuerySet[ReaderSettings]:
    today = Cast(Now(), DateField())
    away = (Q(away_from__isnull=False) | Q(away_until__isnull=False)) & (
        (Q(away_from__isnull=True) | Q(away_from__lte=today)) & (Q(away_until__isnull=True) | Q(away_until__gte=today))
    )
    since = ExpressionWrapper(F("digest_days") * Value(timedelta(days=1)), output_field=DurationField())
    reads = Membership.objects.filter(user=OuterRef("reader"), role__in=READERS)
    read_today = Read.objects.filter(reader=OuterRef("reader"), created__gte=today)
    rows = ReaderSettings.objects.filter(Exists(reads), ~Exists(read_today), digest_days__gt=0, reader__is_active=True).exclude(away)
    rows = rows.filter(Q(reminded__isnull=True) | Q(reminded__lte=Now() - since))
    return rows.select_related("reader").order_by(F("reminded").asc(nulls_first=True), "pk")


def _waiting(reader: User) -> int:
    """What this person may come to be given, as reader and as adjudicator."""
    now = standing.of(reader)
    count = qualification.result(now).left if now.must_qualify else queue.waiting(reader, "reader")
    settles = reader.memberships.filter(role=Role.ADJUDICATOR).exists()
    return count + (queue.waiting(reader, "adjudicator") if settles else 0)


def _send(digest: Digest) -> bool:
    try:
        sent = send_mail(subject(digest), text(digest), None, [digest.reader.email])
    except OSError as refused:
        # also what smtplib raises. The address stays out of the log
        log.warning("Reminder for user %s was not sent; it is tried again: %s", digest.reader.pk, type(refused).__name__)
        sent = 0
    if not sent:
        ReaderSettings.objects.filter(reader=digest.reader, reminded=digest.claimed).update(reminded=digest.before)
    return bool(sent)


def subject(digest: Digest) -> str:
    return f"{_pictures(digest.waiting)} for you in Winnow"


def text(digest: Digest) -> str:
    """The whole mail. `CSRF_TRUSTED_ORIGINS` is how browsers reach the portal."""
    origins: list[str] = settings.CSRF_TRUSTED_ORIGINS
    room, when = (f" {origins[0]}/reading/{page}" if origins else "" for page in ("", "when/"))
    often = "every day" if digest.days == 1 else f"every {digest.days} days"
    return (
        f"{_pictures(digest.waiting)} for you in the reading room.{room}\n\n"
        f"You asked to be reminded {often}. No reminder comes while you are away, or on a day on which you have read.\n"
        f"Change this on your page 'When I read'.{when}\n"
    )


def _pictures(waiting: int) -> str:
    if waiting >= queue.MOST_COUNTED:
        return f"More than {queue.MOST_COUNTED - 1:,} pictures wait"
    return "1 picture waits" if waiting == 1 else f"{waiting:,} pictures wait"
