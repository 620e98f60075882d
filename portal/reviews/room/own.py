"""What a reader is shown of their own reading. Figures move with each answer, of this reader and of others; so whoever answers, looks and
takes back could learn whether somebody else has answered, what a picture was for, and whether they were right. Shown is therefore only
what was made of answers that stand: they can be undone or amended no more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now, TruncMonth

from portal.accounts.models import User
from portal.reviews.agreement import Paired
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.models import Read, Reliability, ReviewTask, TaskState
from portal.reviews.quality.pairs import first_pairs
from portal.reviews.room.looking_back import AMENDABLE, STANDS
from portal.reviews.selectors import Percentile


@dataclass(frozen=True, slots=True)
class OwnMonth:
    """`seconds`: the median of an answer."""

    month: datetime
    reads: int
    cannot_tell: int
    seconds: float
    images: int
    patients: int


def own_reads(reader: User) -> list[OwnMonth]:
    """What this person read as a reader, month by month, the newest first."""
    rows = _standing(reader).annotate(month=TruncMonth("created")).values("month")
    counted = rows.annotate(
        reads=Count("pk"), cannot_tell=Count("pk", filter=Q(kind=CANNOT_TELL)), seconds=Percentile("seconds"),
        images=Count("task__image", distinct=True), patients=Count("task__image__exam__patient", distinct=True),
    )  # fmt: skip
    return [OwnMonth(**row) for row in counted.order_by("-month")]


def own_pairs(reader: User) -> list[Paired]:
    """The pairs of answers of which this person gave one, of questions that are closed."""
    answered = _standing(reader).values("task")
    return first_pairs(Read.objects.all(), tasks=ReviewTask.objects.filter(pk__in=answered, state=TaskState.CLOSED), of=reader)


def measured() -> Reliability | None:
    """How well readers read, as it was measured when every answer that may still be amended was not yet given."""
    return Reliability.objects.filter(created__lte=Now() - AMENDABLE).order_by("-pk").first()


def _standing(reader: User) -> QuerySet[Read]:
    return Read.objects.filter(STANDS, reader=reader, role="reader", current=True)
