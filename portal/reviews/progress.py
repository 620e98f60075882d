"""How far reading has come, by site and by week, and who reads. Aggregates alone: no row of a question reaches Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import (
    Aggregate,
    Avg,
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    StdDev,
    Sum,
)  # fmt: skip
from django.db.models.functions import Coalesce, Now, TruncDate, TruncWeek

from portal.accounts.access import READERS
from portal.accounts.models import User
from portal.reviews.models import LIVE_STATES, Purpose, Read, ReviewTask, TaskState
from portal.reviews.remaining import Pace, Waiting

LATELY = timedelta(days=90)
WEEKS = 12
_OPEN, _CLOSED = Q(state=TaskState.OPEN), Q(state=TaskState.CLOSED)
_LIVE = Q(state__in=LIVE_STATES)
_AGE = ExpressionWrapper(F("closed") - F("created"), output_field=DurationField())


class Percentile(Aggregate):
    """The share `at` of the values lie below it."""

    function = "percentile_cont"
    template = "%(function)s(%(at)s) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = DurationField()


@dataclass(frozen=True, slots=True)
class SiteProgress:
    """Questions about the images of a site, `place`. `median`, `p90`: from question to label, of `turned` that were closed of late.
    `oldest`: since when the oldest waits; `images` and `patients`: how many wait."""

    place: int
    name: str
    asked: int
    open: int
    begun: int
    adjudication: int
    settled: int
    cancelled: int
    answers: int
    given: int
    missing: int
    images: int
    patients: int
    oldest: datetime | None
    turned: int
    turned_patients: int
    median: timedelta | None
    p90: timedelta | None
    adjudicated: int = 0

    @property
    def reads_an_image(self) -> float | None:
        return self.answers / self.settled if self.settled else None

    @property
    def median_days(self) -> float | None:
        return self.median / timedelta(days=1) if self.median is not None else None

    @property
    def p90_days(self) -> float | None:
        return self.p90 / timedelta(days=1) if self.p90 is not None else None


def by_site(tasks: QuerySet[ReviewTask]) -> list[SiteProgress]:
    """Of these questions, in the order of sites' names: 2 queries."""
    lately = _CLOSED & Q(closed__gt=Now() - LATELY)
    patients = "image__exam__patient"
    rows = tasks.filter(purpose=Purpose.REVIEW).order_by().values(place=F("image__site"), name=F("image__site__name")).annotate(
        asked=Count("pk"), open=Count("pk", filter=_OPEN), begun=Count("pk", filter=_OPEN & Q(answered__gt=0)),
        adjudication=Count("pk", filter=Q(state=TaskState.ADJUDICATION)),
        settled=Count("pk", filter=_CLOSED), cancelled=Count("pk", filter=Q(state=TaskState.CANCELLED)),
        answers=Coalesce(Sum("answered", filter=_CLOSED), 0), given=Coalesce(Sum("answered", filter=_OPEN), 0),
        missing=Coalesce(Sum(F("reads_needed") - F("answered"), filter=_OPEN), 0),
        images=Count("image", distinct=True, filter=_LIVE), patients=Count(patients, distinct=True, filter=_LIVE),
        oldest=Min("created", filter=_LIVE), turned=Count("pk", filter=lately),
        turned_patients=Count(patients, distinct=True, filter=lately), median=Percentile(_AGE, filter=lately, at=0.5),
        p90=Percentile(_AGE, filter=lately, at=0.9),
    )  # fmt: skip
    settled = Read.objects.filter(role="adjudicator", current=True, task__state=TaskState.CLOSED, task__purpose=Purpose.REVIEW)
    counted = settled.filter(task__in=tasks).order_by().values("task__image__site").annotate(n=Count("task", distinct=True))
    adjudicated = dict(counted.values_list("task__image__site", "n"))
    found = [SiteProgress(**row, adjudicated=adjudicated.get(row["place"], 0)) for row in rows]
    return sorted(found, key=lambda row: row.name.casefold())


@dataclass(frozen=True, slots=True)
class Week:
    """`settled` without those that took an adjudicator."""

    begins: datetime
    asked: int = 0
    answers: int = 0
    settled: int = 0
    adjudicated: int = 0


def by_week(tasks: QuerySet[ReviewTask]) -> list[Week]:
    """The newest WEEKS, the oldest first, without those in which nothing happened: 3 queries."""
    since = Now() - timedelta(weeks=WEEKS)
    rows = tasks.filter(purpose=Purpose.REVIEW).order_by()
    by_adjudicator = Exists(Read.objects.filter(task=OuterRef("pk"), role="adjudicator", current=True))
    asked = rows.filter(created__gt=since).annotate(week=TruncWeek("created")).values("week").annotate(asked=Count("pk"))
    closed = rows.filter(_CLOSED, closed__gt=since).annotate(week=TruncWeek("closed"), hard=by_adjudicator).values("week")
    reads = Read.objects.filter(task__in=rows, role="reader", current=True, created__gt=since)
    answers = reads.annotate(week=TruncWeek("created")).values("week").annotate(answers=Count("pk"))
    counts = closed.annotate(settled=Count("pk", filter=Q(hard=False)), adjudicated=Count("pk", filter=Q(hard=True)))
    counted: list[dict[str, Any]] = [dict(row) for found in (asked, answers, counts) for row in found]
    weeks: dict[datetime, dict[str, Any]] = {}
    for row in counted:
        weeks.setdefault(row.pop("week"), {}).update(row)
    return [Week(begins, **weeks[begins]) for begins in sorted(weeks)]


def waiting(sites: Sequence[SiteProgress]) -> Waiting:
    """All sites together, as `remaining.left` asks for it."""
    return Waiting(
        open_tasks=sum(row.open for row in sites), given=sum(row.given for row in sites), missing=sum(row.missing for row in sites),
        adjudication=sum(row.adjudication for row in sites), settled=sum(row.settled for row in sites),
        answers=sum(row.answers for row in sites), adjudicated=sum(row.adjudicated for row in sites),
    )  # fmt: skip


def paces() -> dict[str, Pace]:
    """By role, of the answers of late that were timed: 1 query."""
    rows = Read.objects.filter(seconds__gt=0, undone=False, created__gt=Now() - LATELY).order_by().values("role")
    counted = rows.annotate(count=Count("pk"), mean=Avg("seconds"), deviation=StdDev("seconds"))
    return {row["role"]: Pace(row["count"], row["mean"], row["deviation"] or 0.0) for row in counted}


# ---- who is there ----------------------------------------------------------------------------------------------------
def reading_now() -> QuerySet[User]:
    """Who may be given a picture today: with a role for it, not switched off and not away."""
    today = TruncDate(Now())
    away = Q(reading__away_from__lte=today) & (Q(reading__away_until__isnull=True) | Q(reading__away_until__gte=today))
    people = User.objects.filter(is_active=True, memberships__role__in=READERS)
    return people.exclude(pk__in=people.filter(away).values("pk")).distinct().order_by("pk")
