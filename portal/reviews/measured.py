"""Reads of how well readers read: the answers that may measure them, and what was last made of them."""

from __future__ import annotations

from typing import Any

from django.db.models import Case, Exists, F, JSONField, OuterRef, Q, QuerySet, Subquery, When
from django.db.models.functions import JSONObject

from portal.labels.models import Label, Provenance
from portal.reviews.models import Purpose, Read, Reliability, ReviewTask
from portal.reviews.reliability import Said
from portal.reviews.skill import Skill

MOST_ANSWERS = 200_000
"""The newest so many say what readers are like; more would only take longer."""
UNSURE = 1


def own_words(reads: QuerySet[Read]) -> QuerySet[Read]:
    """Of these answers, each reader's first word on a question, slips that they took back at once left out: who amends later may know more
    than the picture. Adjudicators have seen the others' answers."""
    own = Q(role="reader", revealed=False, undone=False)
    earlier = Read.objects.filter(own, task=OuterRef("task"), reader=OuterRef("reader"), version__lt=OuterRef("version"))
    return reads.filter(own).exclude(Exists(earlier))


def said() -> list[Said]:
    """What readers said when they were asked to settle something. Gold and repeats are left out: it is known how they were read."""
    rows = own_words(Read.objects.filter(task__purpose=Purpose.REVIEW)).order_by("-pk")
    columns = rows.values_list("task__image", "reader", "kind", "task__image__exam__patient", "confidence")[:MOST_ANSWERS]
    return [Said(image, reader, kind, patient, confidence == UNSURE) for image, reader, kind, patient, confidence in columns.iterator()]


def adjudicated() -> dict[int, str]:
    """By image: what an adjudicator settled."""
    return dict(Label.objects.filter(current=True, provenance=Provenance.ADJUDICATION).values_list("image", "kind"))


def newest_read() -> int:
    return Read.objects.order_by("-pk").values_list("pk", flat=True).first() or 0


def newest() -> Reliability | None:
    return Reliability.objects.order_by("-pk").first()


def with_skill(tasks: QuerySet[ReviewTask]) -> QuerySet[ReviewTask]:
    """The same rows, each with what is known of readers where its rule asks for it: no statement of its own."""
    known = Reliability.objects.order_by("-pk").values(json=JSONObject(version=F("pk"), skill=F("content__skill")))[:1]
    return tasks.annotate(known_skill=Case(When(rules__adaptive=True, then=Subquery(known)), default=None, output_field=JSONField()))


def skill_of(task: ReviewTask) -> Skill | None:
    """What is known of readers, where the question's rule is adaptive; of a row of `with_skill` without a statement."""
    if not (task.rules and task.rules.adaptive):
        return None
    known: dict[str, Any] | None
    if hasattr(task, "known_skill"):
        known = task.known_skill
    else:
        row = newest()
        known = {"version": row.pk, "skill": row.content["skill"]} if row else None
    return Skill.of_json(known["skill"], known["version"]) if known else Skill()
