"""Reads of answers beside another word on the same image: gold, the reader's own earlier answer, what was settled, the model's opinion.

Each is one statement or two, whatever the number of answers; `cannot_tell` is left out on both sides.
"""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from portal.analyses.models import Assessment
from portal.labels.models import HUMAN, Label, Provenance
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.models import Lease, Purpose, Read, TaskState
from portal.reviews.quality.checked import Checked, Revealed
from portal.reviews.quality.evidence import MOST_ANSWERS, own_words
from portal.reviews.selectors import Percentile

_LABEL = Label.objects.filter(image=OuterRef("task__image"), current=True)


def gold() -> list[Checked]:
    """Answers to gold images against their settled label."""
    return _checked(Read.objects.filter(task__purpose=Purpose.GOLD), _LABEL.filter(provenance__in=HUMAN))


def repeats() -> list[Checked]:
    """Answers to hidden repeats against the same reader's last answer to a question about that image before."""
    own = Read.objects.filter(task__purpose=Purpose.REVIEW, reader=OuterRef("reader"), task__image=OuterRef("task__image"))
    return _checked(Read.objects.filter(task__purpose=Purpose.REPEAT), _kinds(own.filter(pk__lt=OuterRef("pk"))).order_by("-pk"))


def settled() -> list[Checked]:
    """Answers to closed questions that two readers or an adjudicator have spoken on, against what was settled. Their own answer is part of
    that: good for seeing a change, too kind as a level."""
    closed = Read.objects.filter(task__purpose=Purpose.REVIEW, task__state=TaskState.CLOSED)
    asked = Q(task__answered__gte=2) | Exists(_LABEL.filter(provenance=Provenance.ADJUDICATION))
    return _checked(closed.filter(asked), _LABEL.filter(provenance__in=(Provenance.CONSENSUS, Provenance.ADJUDICATION)))


def _kinds(reads: QuerySet[Read]) -> QuerySet[Read]:
    return own_words(reads).exclude(kind=CANNOT_TELL)


def _checked(reads: QuerySet[Read], words: QuerySet[Label] | QuerySet[Read]) -> list[Checked]:
    """`words`: rows with a kind, the first of which the answer is held against; where there is none, there is nothing to go by."""
    rows = _kinds(reads).annotate(word=Subquery(words.values("kind")[:1])).exclude(word=None).order_by("-pk")
    columns = rows.values_list("reader", "kind", "word", "task__image__exam__patient", "created")[:MOST_ANSWERS]
    return [Checked(reader, kind == word, patient, f"{at:%Y-%m}") for reader, kind, word, patient, at in columns.iterator()]


def paces() -> dict[int, float]:
    """By reader: the median of the active seconds of an answer, of those that were timed."""
    rows = own_words(Read.objects.filter(seconds__gt=0)).values("reader").annotate(median=Percentile("seconds"))
    return dict(rows.values_list("reader", "median"))


def revealed() -> list[Revealed]:
    """Answers after which the model's opinion was shown, what that was by then, and what the reader made of it."""
    shown = Lease.objects.filter(task=OuterRef("task"), reader=OuterRef("reader"), revealed__isnull=False)
    asked = Read.objects.filter(Exists(shown), task__purpose=Purpose.REVIEW)
    amended = Read.objects.filter(task=OuterRef("task"), reader=OuterRef("reader"), revealed=True, undone=False)
    then = Assessment.objects.filter(image=OuterRef("task__image"), created__lte=OuterRef("created"))
    rows = own_words(asked).annotate(
        after=Subquery(amended.order_by("-version").values("kind")[:1]),
        model=Subquery(then.order_by("-pk").values("kind")[:1]),
        adjudicated=Subquery(_LABEL.filter(provenance=Provenance.ADJUDICATION).values("kind")[:1]),
    )
    columns = ("task", "reader", "kind", "after", "model", "adjudicated", "task__image__exam__patient")
    found = list(rows.exclude(model=None).order_by("-pk").values_list(*columns)[:MOST_ANSWERS])
    words = _first_words()
    return [
        Revealed(reader, kind, after or kind, model, adjudicated or _of_others(words[task], reader), patient)
        for task, reader, kind, after, model, adjudicated, patient in found
    ]


def _first_words() -> dict[int, dict[int, str]]:
    """What each reader said first, by question and reader, of the questions of which anybody was shown the model's opinion."""
    shown = Lease.objects.filter(revealed__isnull=False).values("task")
    words: dict[int, dict[int, str]] = {}
    for task, reader, kind in own_words(Read.objects.filter(task__in=shown)).values_list("task", "reader", "kind"):
        words.setdefault(task, {})[reader] = kind
    return words


def _of_others(words: dict[int, str], reader: int) -> str | None:
    kinds = {kind for other, kind in words.items() if other != reader and kind != CANNOT_TELL}
    return kinds.pop() if len(kinds) == 1 else None
