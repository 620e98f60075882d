"""Open questions that none of the people who read here now may be given: judged by `routing.may_read` over kinds of question, of which
there are far fewer than questions. A test holds it to `selectors.readable_by`, question by question."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from portal.accounts.models import Membership, User
from portal.reviews import rules, selectors
from portal.reviews.models import Lease, Purpose, ReviewRules, ReviewTask, TaskState
from portal.reviews.routing import ReaderFacts, TaskFacts, may_read, takes_part
from portal.reviews.skips import SKIPPED_FOR

MOST_KINDS = 5_000
"""Judged for thirty readers in about a second. With more, those whose oldest question is youngest are left out, and that is said."""

_KEPT_OUT = Q(revealed__isnull=False) | Q(adjudicating=True) | (Q(task=OuterRef("pk"), ended__gt=Now() - SKIPPED_FOR) & ~Q(skipped=""))
"""Of leases on any question about the same image: who is not asked for what they have seen or skipped, whatever else routing says."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """Of one site. `patients`: at most, as one may be counted with several kinds of question."""

    site: str
    images: int
    patients: int
    oldest: datetime

    def and_(self, other: Stuck) -> Stuck:
        return Stuck(self.site, self.images + other.images, self.patients + other.patients, min(self.oldest, other.oldest))


@dataclass(frozen=True, slots=True)
class Standstill:
    """`whole`: every kind of question was judged."""

    sites: list[Stuck]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class _Kind:
    """Questions alike in all that routing looks at."""

    place: int
    reads_needed: int
    readers: list[int]
    kept_out: list[int]
    stuck: Stuck


def standstill(tasks: QuerySet[ReviewTask], readers: Sequence[User]) -> Standstill:
    """By the sites' names. What somebody holds right now is left out. 3 queries, however many questions and readers."""
    kinds = _kinds(tasks)
    where = _where()
    people = [ReaderFacts(reader.pk, where.get(reader.pk, frozenset())) for reader in readers]
    in_force = rules.newest()
    found: dict[str, Stuck] = {}
    for kind in kinds[:MOST_KINDS]:
        if not _somebody(kind, people, where, in_force.get(kind.place) or in_force.get(None)):
            name = kind.stuck.site
            found[name] = found[name].and_(kind.stuck) if name in found else kind.stuck
    return Standstill([found[name] for name in sorted(found, key=str.casefold)], len(kinds) <= MOST_KINDS)


def _somebody(kind: _Kind, people: Sequence[ReaderFacts], where: Mapping[int, frozenset[int]], rule: ReviewRules | None) -> bool:
    task = TaskFacts(0, kind.place, 0.0, kind.reads_needed, frozenset(kind.readers), where=where)
    return any(
        reader.id not in kind.kept_out
        and (rule is None or takes_part(reader, rule.only_sites, rule.only_readers))
        and may_read(reader, task, own_site_first=settings.READ_OWN_SITE_FIRST)
        for reader in people
    )


def _kinds(tasks: QuerySet[ReviewTask]) -> list[_Kind]:
    """The one with the oldest question first; one more than are judged, where there are so many."""
    held = Lease.objects.filter(selectors.LIVE, task=OuterRef("pk"))
    kept_out = Lease.objects.filter(_KEPT_OUT, task__image=OuterRef("image"))
    asked = tasks.filter(~Exists(held), state=TaskState.OPEN, purpose=Purpose.REVIEW, image__state="in_review").order_by()
    grouped = asked.annotate(kept_out=ArraySubquery(kept_out.order_by("reader").values("reader").distinct())).values(
        "reads_needed", "readers", "kept_out", place=F("image__site"), name=F("image__site__name")
    )
    counted = grouped.annotate(images=Count("pk"), patients=Count("image__exam__patient", distinct=True), oldest=Min("created"))
    return [
        _Kind(
            row["place"], row["reads_needed"], row["readers"], row["kept_out"],
            Stuck(row["name"], row["images"], row["patients"], row["oldest"]),
        )
        for row in counted.order_by("oldest")[: MOST_KINDS + 1]
    ]  # fmt: skip


def _where() -> dict[int, frozenset[int]]:
    """Where people work, by any role."""
    found: dict[int, set[int]] = {}
    for person, site in Membership.objects.filter(site__isnull=False).values_list("user", "site"):
        found.setdefault(person, set()).add(site)
    return {person: frozenset(sites) for person, sites in found.items()}
