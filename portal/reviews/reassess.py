"""A late image: the others of its exam are judged anew beside it. What people did or hold is never touched."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence

from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.db.models.functions import Now

from portal.analyses.beside import Beside, beside, crowded, opens, unseen
from portal.analyses.models import Assessment
from portal.audit import services as audit
from portal.images.models import BESIDE_OTHERS, Image, ImageState
from portal.labels import selectors as label_selectors
from portal.labels import services as labels
from portal.labels.models import Label, Provenance
from portal.ml import UNCALIBRATED, Route
from portal.reviews import selectors
from portal.reviews.models import Purpose, ReviewTask, TaskState
from portal.reviews.questions import Case, Question, accept, judge, move_in_queue, objection, open_tasks
from portal.reviews.triage import BY_SITE

log = logging.getLogger(__name__)
KEPT = ("reopened", *BY_SITE)
"""Why people ask, or chance, or a site that has earned nothing; no machine takes such a question back, whatever it says."""
_NOISE = 1e-9
"""Probabilities nearer than this are the same: another machine may round differently."""


class Moved(Exception):
    """An image came into another exam between the look and the lock. Nothing was written: ask again."""


@transaction.atomic
def reassess(image_ids: Sequence[int]) -> list[Assessment]:
    """Judge these images and all others of their exams beside one another as they are now; write what differs from what stands.

    Each by the version that it stands judged by; one whose version cannot be opened any more keeps its word. A number of statements that
    depends on that of the versions alone. Raises Moved.
    """
    images = _hold(image_ids)
    current = Assessment.objects.filter(image__in=[image.pk for image in images], current=True)
    standing = {one.image_id: one for one in current.select_related("analysis__version").defer("analysis__embedding", "analysis__quality")}
    readable = _readable(standing.values())
    judged = [
        (image, standing[image.pk].analysis)
        for image in images
        if image.pk in standing and standing[image.pk].analysis.version_id in readable
    ]
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


def _readable(standing: Iterable[Assessment]) -> set[int]:
    versions = {one.analysis.version_id: one.analysis.version for one in standing}
    gone = [version for version in versions.values() if not opens(version)]
    for version in gone:
        log.error("The bundle of %s cannot be opened: what it judged is not judged anew. Restore its folder.", version)
    return set(versions) - {version.pk for version in gone}


def _hold(image_ids: Sequence[int]) -> list[Image]:
    """The images of the exams of these, and of those that these were compared with, locked in the order of their ids.

    Everybody who changes what an image counts for beside others holds its row when queueing its work: whoever waited here for that
    lock reads, afterwards, what was changed.
    """
    seen = Assessment.objects.filter(image__in=image_ids, current=True).values_list("siblings", flat=True)
    near = {*image_ids, *(pk for siblings in seen for pk in siblings)}
    exams = set(Image.objects.filter(pk__in=near, exam__isnull=False).values_list("exam", flat=True))
    # of a heap without end only those that were compared while it was small, to be judged alone from now on
    heaps = Q(pk__in=[])
    for exam, device in crowded(exams):
        heaps |= Q(exam=exam, device=device)
    compared = Exists(Assessment.objects.filter(image=OuterRef("pk"), current=True, siblings__len__gt=0))
    rows = Image.objects.filter(Q(exam__in=exams) & (~heaps | compared) | Q(pk__in=near)).order_by("pk")
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
        # A device that is named later, or put right
        or (UNCALIBRATED in standing.reasons) != (UNCALIBRATED in said.reasons)
    )


def _follow(judged: Sequence[tuple[Case, Assessment]], before: Mapping[int, Assessment]) -> None:
    """Labels and questions after the new word. What is settled keeps its label; no question is taken back while there are images of the
    exam that this version has yet to look at."""
    accepted = [one for one in judged if one[0].image.state == ImageState.ACCEPTED]
    waiting = [one for one in judged if one[0].image.state == ImageState.IN_REVIEW]
    label_of = label_selectors.current_of_all([case.image.pk for case, _ in (*accepted, *waiting)])
    asked = _about_accepted(accepted, label_of)
    left = unseen([(case.image, case.beside.analysis) for case, _ in waiting])
    cleared = [
        (case, made) for case, made in waiting
        if (case.image.exam_id, case.image.device, case.beside.analysis.version_id) not in left
        and _cleared(case, before[case.image.pk], label_of.get(case.image.pk))
    ]  # fmt: skip
    taken_back = _take_back({case.image.pk for case, _ in cleared})
    labelled = [case.image.pk for case, _ in cleared if case.image.pk in label_of and label_of[case.image.pk].kind == case.kind]
    accept([(case, made) for case, made in cleared if case.image.pk in taken_back], labelled=labelled)
    move_in_queue([case for case, _ in waiting if case.image.pk not in taken_back])
    open_tasks(asked)


def _about_accepted(accepted: Sequence[tuple[Case, Assessment]], label_of: Mapping[int, Label]) -> list[Question]:
    """An automatic label of the same version follows the machines' new word; what is in doubt again, or what a new model says
    otherwise, is asked about."""
    followed = [(case, made) for case, made in accepted if case.stands and _is_its_own(case, label_of.get(case.image.pk))]
    labels.set_labels([case.label(made) for case, made in followed if label_of[case.image.pk].kind != case.kind])
    rest = [case for case, _ in accepted if case.image.pk not in {one.image.pk for one, _ in followed}]
    questions = [objection(case, label_of.get(case.image.pk)) for case in rest]
    return [question for question in questions if question is not None]


def _is_its_own(case: Case, label: Label | None) -> bool:
    """Whether the label is the word of the very version that speaks now."""
    return label is not None and label.provenance == Provenance.AUTOMATIC and label.basis.get("version") == case.beside.analysis.version_id


def _cleared(case: Case, before: Assessment, label: Label | None) -> bool:
    """Whether the doubt that was asked about is gone. A label that stands from another model and says otherwise is a doubt of its own."""
    if not case.sure or before.route != Route.REVIEW:
        return False
    if label is None or label.kind == case.kind:
        return True
    return _is_its_own(case, label)


def _take_back(image_ids: set[int]) -> set[int]:
    """Close the machines' own questions about these images that no reader holds or has answered; returns whose were closed.

    Skips a task that is locked, for somebody is taking or answering it right now. A lease that has run out may still bring an
    answer: only one that was ended does not count.
    """
    if not image_ids:
        return set()
    held = ReviewTask.objects.select_for_update(no_key=True, skip_locked=True, of=("self",)).select_related("image")
    tasks = list(held.filter(image__in=image_ids, state=TaskState.OPEN, purpose=Purpose.REVIEW).exclude(reasons__overlap=list(KEPT)))
    touched = selectors.touched(tasks)
    free = [task for task in tasks if task.pk not in touched]
    ReviewTask.objects.filter(pk__in=[task.pk for task in free]).update(state=TaskState.CANCELLED, closed=Now())
    audit.record_all(
        audit.event(actor_id=None, action="take_back_task", subject=task, site_id=task.image.site_id, image=task.image_id) for task in free
    )
    return {task.image_id for task in free}
