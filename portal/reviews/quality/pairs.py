"""Reads of what two readers said of one picture, each without the other's answer."""

from __future__ import annotations

from django.db.models import OuterRef, Q, QuerySet, Subquery, Window
from django.db.models.functions import RowNumber

from portal.accounts.models import Site, User
from portal.reviews.agreement import Paired
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.models import Purpose, Read, ReviewTask
from portal.reviews.quality.evidence import own_words

MOST_QUESTIONS = 50_000
"""The newest so many that two have answered tell how far readers agree; more would only take longer."""
_COLUMNS = ("task", "reader", "kind", "task__image__exam__patient", "task__image__site", "last")
_BLIND = Q(role="reader", revealed=False, undone=False)


def first_pairs(reads: QuerySet[Read], *, tasks: QuerySet[ReviewTask] | None = None, of: User | None = None) -> list[Paired]:
    """The first two readers' answers to every question that has two, of the newest MOST_QUESTIONS, `cannot_tell` left out: adjudicators
    have seen both, and who was shown the model's opinion has too. So it is the first word of each that counts here. `month`: of the
    newest blind word. Three statements, whatever the number of answers.

    `tasks`: of these questions alone. `of`: those of which this person gave one; who answered third is in none.
    """
    asked = ReviewTask.objects.all() if tasks is None else tasks
    newest = asked.filter(purpose=Purpose.REVIEW, answered__gte=2).order_by("-pk").values("pk")[:MOST_QUESTIONS]
    last = Read.objects.filter(_BLIND, task=OuterRef("task")).order_by("-pk").values("created")[:1]
    words = own_words(reads.filter(task__in=newest)).annotate(
        place=Window(RowNumber(), partition_by="task", order_by="pk"), last=Subquery(last)
    )
    first: dict[int, list[_Word]] = {}
    for task, *word in words.filter(place__lte=2).order_by("pk").values_list(*_COLUMNS).iterator():
        first.setdefault(task, []).append((word[0], word[1], (word[2], word[3], f"{word[4]:%Y-%m}")))
    pairs = [said for said in first.values() if len(said) == 2 and CANNOT_TELL not in {kind for _, kind, _ in said}]
    if of is not None:
        pairs = [said for said in pairs if of.pk in {reader for reader, *_ in said}]
    readers = User.objects.filter(pk__in={reader for two in pairs for reader, *_ in two})
    people = {reader.pk: reader.name or reader.email for reader in readers}
    sites = dict(Site.objects.filter(pk__in={site for two in pairs for _, _, (_, site, _) in two}).values_list("pk", "name"))
    return [_paired(two, people, sites) for two in pairs]


_Word = tuple[int, str, tuple[int | None, int, str]]
"""Who said what, about an image of which patient and site, in which month."""


def _paired(two: list[_Word], people: dict[int, str], sites: dict[int, str]) -> Paired:
    """In the order of the readers' names: who came first says nothing."""
    one, other = sorted(two, key=lambda word: people[word[0]])
    patient, site, month = one[2]
    return Paired(one[1], other[1], patient, sites[site], month, (people[one[0]], people[other[0]]))
