"""Reads of tasks, leases and answers. `readable_by` and `adjudicable_by` say in SQL what `routing.py` says."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Aggregate, Count, DurationField, Exists, ExpressionWrapper, F, FloatField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from portal.accounts.models import Membership, User
from portal.core.statements import Prepared
from portal.reviews import rows as joined
from portal.reviews.models import Lease, Purpose, Read, ReaderSettings, ReviewRules, ReviewTask, TaskState
from portal.reviews.rules import closed_to
from portal.reviews.skips import skipped_by
from portal.reviews.triage import CONFIDENCE, Rules

LIVE = Q(ended__isnull=True, until__gt=Now())
"""A lease that is held now, by the database's clock."""
SHOWN = Q(image__state="in_review") | Q(~Q(purpose=Purpose.REVIEW), image__state="settled")
"""A question whose picture may be before a reader: what measures them is about a picture that is settled."""
_SHOWN = Q(task__image__state="in_review") | Q(~Q(task__purpose=Purpose.REVIEW), task__image__state="settled")


def live() -> QuerySet[Lease]:
    return Lease.objects.filter(LIVE)


def readable_by(reader: User) -> QuerySet[ReviewTask]:
    """The tasks that this reader may be given now. Which of them comes next is `queue.lock_next`'s to say."""
    rows = (
        ReviewTask.objects.filter(state=TaskState.OPEN, purpose=Purpose.REVIEW, image__state="in_review")
        .exclude(image__site__in=closed_to(reader))
        .exclude(Exists(_read_by(reader)))
        .exclude(skipped_by(reader))
        .exclude(image__in=_known(reader))
        .annotate(taken=F("answered") + _count(_held_by_others(reader)))
        .filter(taken__lt=F("reads_needed"))
        .order_by("turn", "id")
    )
    if settings.READ_OWN_SITE_FIRST:
        return rows
    own = Membership.objects.filter(user=reader, site__isnull=False).values("site")
    colleagues = Membership.objects.filter(site__in=own).exclude(user=reader).values("user")
    first = Exists(Read.objects.filter(task=OuterRef("pk"), current=True, reader__in=colleagues)) | Exists(
        Lease.objects.filter(LIVE, task=OuterRef("pk"), reader__in=colleagues)
    )
    return rows.filter(~Q(image__site__in=own) | Q(answered__gt=0)).exclude(first, answered__lt=2)


def adjudicable_by(reader: User) -> QuerySet[ReviewTask]:
    """The tasks that this adjudicator may settle now: never one that they have read, even if they took their answer back."""
    return (
        ReviewTask.objects.filter(state=TaskState.ADJUDICATION, image__state="in_review")
        .exclude(Exists(Read.objects.filter(Q(current=True) | Q(role="reader"), task=OuterRef("pk"), reader=reader)))
        .exclude(skipped_by(reader))
        .exclude(image__in=_opinion_seen(reader))
        .exclude(Exists(_held_by_others(reader)))
        .order_by("turn", "id")
    )


def _opinion_seen(reader: User) -> QuerySet[Lease, Any]:
    """The images of which this person knows, from an earlier question, what the model says: they are blind to them no more."""
    return Lease.objects.filter(reader=reader, revealed__isnull=False).values("task__image")


def _known(reader: User) -> QuerySet[Lease, Any]:
    """And those of which they know what others said, as they were to settle them."""
    return Lease.objects.filter(Q(revealed__isnull=False) | Q(adjudicating=True), reader=reader).values("task__image")


def _read_by(reader: User) -> QuerySet[Read]:
    return Read.objects.filter(task=OuterRef("pk"), reader=reader, current=True)


def _held_by_others(reader: User) -> QuerySet[Lease]:
    return Lease.objects.filter(LIVE, task=OuterRef("pk")).exclude(reader=reader)


def _count(rows: QuerySet[Lease] | QuerySet[Read]) -> Coalesce:
    """How many rows, as a subquery: joins would multiply each other."""
    return Coalesce(Subquery(rows.order_by().values("task").annotate(n=Count("pk")).values("n")), 0)


def live_lease(reader: User, *, role: str) -> Lease | None:
    """The lease that this person holds now in this role, with its task and image; where there is none, the first that was fetched ahead."""
    state = TaskState.ADJUDICATION if role == "adjudicator" else TaskState.OPEN
    row = _IN_HAND.first(reader.pk, state)
    return joined.lease_of(row) if row else None


_SEEN = "(image.state = 'in_review' OR (task.purpose <> 'review' AND image.state = 'settled'))"
"""As _SHOWN."""
_HELD = "lease.ended IS NULL AND lease.until > statement_timestamp()"
_IN_HAND = Prepared("lease_in_hand", "bigint, text", f"""
    SELECT {joined.LEASE} FROM reviews_lease AS lease JOIN ({joined.WITH_IMAGE}) ON lease.task_id = task.id
    WHERE lease.reader_id = $1 AND {_HELD} AND task.state = $2 AND {_SEEN} AND ($2 <> 'open' OR NOT lease.adjudicating)
    ORDER BY lease.reserved, lease.id LIMIT 1
""")  # noqa: S608  # nosec B608 # our own words  # fmt: skip
_BY_TOKEN = Prepared("lease_by_token", "bigint, text, boolean", f"""
    SELECT {joined.LEASE} FROM reviews_lease AS lease JOIN ({joined.WITH_IMAGE}) ON lease.task_id = task.id
    WHERE lease.token = $2 AND lease.reader_id = $1 AND (NOT $3 OR ({_HELD} AND {_SEEN}))
""")  # noqa: S608  # nosec B608 # our own words  # fmt: skip


def reserved_by(reader: User, *, role: str) -> list[Lease]:
    """What is fetched ahead for this person, in the order in which it will be read."""
    state = TaskState.ADJUDICATION if role == "adjudicator" else TaskState.OPEN
    rows = Lease.objects.filter(LIVE, _SHOWN, reader=reader, reserved=True, task__state=state)
    return list(rows.select_related("task__image").order_by("id"))


def lease_by_token(reader: User, token: str, *, live: bool = False) -> Lease | None:
    """This person's lease of that address, held or not."""
    row = _BY_TOKEN.first(reader.pk, token, live)
    return joined.lease_of(row) if row else None


def lately_answered(reader: User, within: timedelta) -> Read | None:
    """This person's newest answer, if it is that fresh, counts, and amends none."""
    amended = Read.objects.filter(task=OuterRef("task"), reader=reader, current=False, undone=False)
    rows = Read.objects.filter(reader=reader, current=True, created__gt=Now() - within).select_related("task")
    return rows.exclude(Exists(amended)).order_by("-id").first()


def lease_of(read: Read) -> Lease | None:
    """The lease under which an answer was given."""
    return Lease.objects.filter(task=read.task_id, reader=read.reader_id).order_by("-id").first()


def seconds_left(read: Read, within: timedelta) -> int:
    """Of a time that began with the answer, by the database's clock."""
    since = (
        Read.objects.filter(pk=read.pk).annotate(age=ExpressionWrapper(Now() - F("created"), DurationField())).values_list("age", flat=True)
    )
    return max(0, int((within - since.get()).total_seconds()))


def settings_of(reader: User) -> ReaderSettings:
    """How this person likes to read; the usual where they never said."""
    return ReaderSettings.objects.filter(reader=reader).first() or ReaderSettings(reader=reader)


def rules_for(site_id: int) -> Rules:
    """The newest rule of the site, else the newest for all, else the defaults."""
    return rules_of([site_id])[site_id]


def rules_of(site_ids: Collection[int]) -> dict[int, Rules]:
    """The same for many sites, by site id."""
    newest = ReviewRules.objects.filter(Q(site__in=site_ids) | Q(site=None)).order_by("site", "-id").distinct("site")
    found = {row.site_id: _rules(row) for row in newest}
    return {site: found.get(site) or found.get(None) or _rules(ReviewRules()) for site in site_ids}


def _rules(row: ReviewRules) -> Rules:
    """With what the installation says where the row says nothing."""
    missed = settings.MISSED_SHARE if row.missed_share is None else row.missed_share
    audits = settings.AUDIT_SHARE if row.audit_share is None else row.audit_share
    return Rules(row.reads_needed, row.t_lo, row.t_hi, row.pk, missed, row.confidence or CONFIDENCE, audits)


def touched(tasks: Collection[ReviewTask]) -> set[int]:
    """Ids of those that a reader has answered or has in hand. A lease counts until it is ended: late answers are taken too; but one that
    was only fetched ahead, and whose time is over, was never in anybody's hands."""
    ids = [task.pk for task in tasks]
    answered = Read.objects.filter(task__in=ids, current=True).values_list("task", flat=True)
    held = Lease.objects.filter(task__in=ids, ended__isnull=True).exclude(reserved=True, until__lte=Now())
    return set(answered.union(held.values_list("task", flat=True)))


def answers(task: ReviewTask) -> list[Read]:
    """The answers to a task that count, in their order."""
    return list(task.reads.filter(current=True).select_related("reader").order_by("id"))


class Percentile(Aggregate):
    """The median."""

    function = "percentile_cont"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = FloatField()


def queue(tasks: QuerySet[ReviewTask], *, state: str = "", before: int | None = None) -> QuerySet[ReviewTask]:
    """Tasks for the administrators' list, the newest first, each with its image's site, its answers and who holds it."""
    live = Lease.objects.filter(LIVE, task=OuterRef("pk"))
    rows = (
        tasks.filter(purpose=Purpose.REVIEW)
        .select_related("image__site")
        .annotate(held=_count(live))
        .prefetch_related("reads")
        .order_by("-id")
    )
    if state in TaskState.values:
        rows = rows.filter(state=state)
    return rows.filter(id__lt=before) if before else rows


def queue_figures(tasks: QuerySet[ReviewTask]) -> dict[str, int]:
    """How many tasks are in each state."""
    counts = dict(tasks.filter(purpose=Purpose.REVIEW).order_by().values_list("state").annotate(n=Count("pk")))
    return {state: counts.get(state, 0) for state in TaskState.values}
