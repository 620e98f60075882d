"""A late image: the others of its exam are judged anew beside it. What people did or hold is never touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from portal.analyses.beside import Beside, beside
from portal.analyses.models import Assessment
from portal.audit import services as audit
from portal.images.models import BESIDE_OTHERS, Image, ImageState
from portal.labels import selectors as label_selectors
from portal.labels import services as labels
from portal.labels.models import Label, Provenance
from portal.ml import Route
from portal.reviews import selectors
from portal.reviews.models import ReviewTask, TaskState
from portal.reviews.questions import Case, Question, accept, judge, move_in_queue, objection, open_tasks

BY_PEOPLE = ("reopened",)
"""Why people ask; no machine takes such a question back."""
_NOISE = 1e-9
"""Probabilities nearer than this are the same: another machine may round differently."""


class Moved(Exception):
    """An image came into another exam between the look and the lock. Nothing was written: ask again."""


@transaction.atomic
def reassess(image_ids: Sequence[int]) -> list[Assessment]:
    """Judge these images and all others of their exams beside one another as they are now; write what differs from what stands.

    Each by the version that it stands judged by. A fixed number of statements. Raises Moved.
    """
    images = _hold(image_ids)
    current = Assessment.objects.filter(image__in=[image.pk for image in images], current=True)
    standing = {one.image_id: one for one in current.select_related("analysis").defer("analysis__embedding", "analysis__quality")}
    judged = [(image, standing[image.pk].analysis) for image in images if image.pk in standing]
    changed = [(image, one) for (image, _), one in zip(judged, beside(judged), strict=True) if _differs(standing[image.pk], one)]
    if not changed:
        return []
    cases, made = judge(changed)
    audit.record_all(
        audit.event(
            actor_id=None, action="image.assessed", subject=case.image, site_id=case.image.site_id, assessment=assessment.pk,
            siblings=len(assessment.siblings), kind=assessment.kind, route=assessment.route,
        )
        for case, assessment in zip(cases, made, strict=True)
    )  # fmt: skip
    _follow(list(zip(cases, made, strict=True)), standing)
    return made


def _hold(image_ids: Sequence[int]) -> list[Image]:
    """The images of the exams of these, and of those that these were compared with, locked in the order of their ids.

    Everybody who changes what an image counts for beside others holds its row when queueing its work: whoever waited here for that
    lock reads, afterwards, what was changed.
    """
    seen = Assessment.objects.filter(image__in=image_ids, current=True).values_list("siblings", flat=True)
    near = {*image_ids, *(pk for siblings in seen for pk in siblings)}
    exams = set(Image.objects.filter(pk__in=near, exam__isnull=False).values_list("exam", flat=True))
    rows = Image.objects.filter(Q(exam__in=exams) | Q(pk__in=near)).order_by("pk")
    images = list(rows.select_for_update(no_key=True))
    if any(image.exam_id and image.exam_id not in exams for image in images if image.pk in image_ids):
        raise Moved
    return [image for image in images if image.state in BESIDE_OTHERS]


def _differs(standing: Assessment, now: Beside) -> bool:
    said = now.assessed
    return (
        sorted(standing.siblings) != sorted(now.siblings)
        or abs(standing.p_non_regular - said.p_non_regular) > _NOISE
        or standing.kind != said.kind
    )


def _follow(judged: Sequence[tuple[Case, Assessment]], before: Mapping[int, Assessment]) -> None:
    """Labels and questions after the new word. What is settled keeps its label."""
    accepted = [one for one in judged if one[0].image.state == ImageState.ACCEPTED]
    waiting = [one for one in judged if one[0].image.state == ImageState.IN_REVIEW]
    label_of = label_selectors.current_of_all([case.image.pk for case, _ in (*accepted, *waiting)])
    asked = _about_accepted(accepted, label_of)
    cleared = [(case, made) for case, made in waiting if _cleared(case, before[case.image.pk], label_of.get(case.image.pk))]
    taken_back = _take_back({case.image.pk for case, _ in cleared})
    labelled = [case.image.pk for case, _ in cleared if case.image.pk in label_of and label_of[case.image.pk].kind == case.kind]
    accept([(case, made) for case, made in cleared if case.image.pk in taken_back], labelled=labelled)
    move_in_queue([case for case, _ in waiting if case.image.pk not in taken_back])
    open_tasks(asked)


def _about_accepted(accepted: Sequence[tuple[Case, Assessment]], label_of: Mapping[int, Label]) -> list[Question]:
    """An automatic label follows the machines' new word; what is in doubt again is asked about."""
    followed = [(case, made) for case, made in accepted if case.sure and _is_automatic(label_of.get(case.image.pk))]
    labels.set_labels([case.label(made) for case, made in followed if label_of[case.image.pk].kind != case.kind])
    rest = [case for case, _ in accepted if case.image.pk not in {one.image.pk for one, _ in followed}]
    questions = [objection(case, label_of.get(case.image.pk)) for case in rest]
    return [question for question in questions if question is not None]


def _is_automatic(label: Label | None) -> bool:
    return label is not None and label.provenance == Provenance.AUTOMATIC


def _cleared(case: Case, before: Assessment, label: Label | None) -> bool:
    """Whether the doubt that was asked about is gone. A label that stands from another model and says otherwise is a doubt of its own."""
    if not case.sure or before.route != Route.REVIEW:
        return False
    if label is None or label.kind == case.kind:
        return True
    return _is_automatic(label) and label.basis.get("version") == case.beside.analysis.version_id


def _take_back(image_ids: set[int]) -> set[int]:
    """Close the machines' own questions about these images that no reader holds or has answered; returns whose were closed.

    Skips a task that is locked, for somebody is taking or answering it right now. A lease that has run out may still bring an
    answer: only one that was ended does not count.
    """
    if not image_ids:
        return set()
    held = ReviewTask.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("image")
    tasks = list(held.filter(image__in=image_ids, state=TaskState.OPEN).exclude(reasons__overlap=list(BY_PEOPLE)))
    touched = selectors.touched(tasks)
    free = [task for task in tasks if task.pk not in touched]
    ReviewTask.objects.filter(pk__in=[task.pk for task in free]).update(state=TaskState.CANCELLED, closed=Now())
    audit.record_all(
        audit.event(actor_id=None, action="take_back_task", subject=task, site_id=task.image.site_id, image=task.image_id) for task in free
    )
    return {task.image_id for task in free}
