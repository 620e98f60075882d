"""Reads of how well readers read: the answers that may measure them, and what was last made of them."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q, QuerySet

from portal.labels.models import Label, Provenance
from portal.reviews.consensus import UNSURE
from portal.reviews.models import Purpose, Read, Reliability, ReviewTask
from portal.reviews.quality.reliability import Said
from portal.reviews.skill import Skill

MOST_ANSWERS = 50_000
"""The newest so many say what readers are like; more would only take longer."""


def own_words(reads: QuerySet[Read]) -> QuerySet[Read]:
    """Of these answers, each reader's first word on a question, slips that they took back at once left out: who amends later may know more
    than the picture. Adjudicators have seen the others' answers."""
    own = Q(role="reader", revealed=False, undone=False)
    earlier = Read.objects.filter(own, task=OuterRef("task"), reader=OuterRef("reader"), version__lt=OuterRef("version"))
    return reads.filter(own).exclude(Exists(earlier))


def said() -> list[Said]:
    """What readers said when they were asked to settle something, of each image their newest word: who answers a question that was asked
    again is one witness and not two. Gold and repeats are left out: it is known how they were read."""
    rows = own_words(Read.objects.filter(task__purpose=Purpose.REVIEW)).order_by("-pk")
    columns = rows.values_list("task__image", "reader", "kind", "task__image__exam__patient", "confidence")[:MOST_ANSWERS]
    newest: dict[tuple[int, int], Said] = {}
    for image, reader, kind, patient, confidence in columns.iterator():
        newest.setdefault((image, reader), Said(image, reader, kind, patient, confidence == UNSURE))
    return list(newest.values())


def adjudicated() -> dict[int, str]:
    """By image: what an adjudicator settled."""
    return dict(Label.objects.filter(current=True, provenance=Provenance.ADJUDICATION).values_list("image", "kind"))


def newest_read() -> int:
    return Read.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def newest() -> Reliability | None:
    return Reliability.objects.order_by("-pk").first()


def skill_of(task: ReviewTask) -> Skill | None:
    """What is known of readers, by one statement where the question's rule is adaptive; else nothing, and none."""
    if not (task.rules and task.rules.adaptive):
        return None
    row = Reliability.objects.order_by("-pk").values_list("pk", "content__skill").first()
    return Skill.of_json(row[1], row[0]) if row else Skill()
