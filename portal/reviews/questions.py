"""Triage, by the batch: fresh analyses become automatic labels, or questions to readers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from portal.accounts.models import User
from portal.analyses import services as analyses
from portal.analyses.models import Analysis
from portal.analyses.services import Judged
from portal.audit import services as audit
from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.images.models import Image, ImageState
from portal.labels import selectors as label_selectors
from portal.labels import services as labels
from portal.labels.models import HUMAN, Label, Provenance
from portal.ml import Kind, Route
from portal.reviews import selectors
from portal.reviews import triage as triage_rules
from portal.reviews.models import ReviewTask, TaskState
from portal.reviews.triage import Facts, Routed, Rules


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked about an image, why, how soon (1 is soonest) and of how many readers."""

    image: Image
    reasons: tuple[str, ...]
    priority: float
    reads_needed: int


@dataclass(frozen=True, slots=True)
class _Fresh:
    """One fresh analysis, routed by the rule of its site."""

    image: Image
    analysis: Analysis
    rules: Rules
    routed: Routed

    def question(self) -> Question:
        return Question(self.image, self.routed.reasons, self.routed.priority, self.rules.reads_needed)

    def label(self) -> labels.New:
        kind = Kind.REGULAR if self.routed.route is Route.AUTO_REGULAR else Kind(self.analysis.kind)
        basis = {"analysis": self.analysis.pk, "version": self.analysis.version_id, "rule": self.rules.as_json()}
        return labels.New(self.image, kind, Provenance.AUTOMATIC, basis=basis)


@transaction.atomic
def triage(fresh: Sequence[tuple[Image, Analysis]]) -> list[Routed]:
    """Route fresh analyses by their sites' rules: automatic labels, or questions to readers. In the caller's transaction.

    What people have settled stays as it is. What was accepted is asked about when a new model objects or says another kind; an
    open question only moves in the queue. A fixed number of statements; the caller holds the images' rows.
    """
    if not fresh:
        return []
    rules = selectors.rules_of({image.site_id for image, _ in fresh})
    found = [_Fresh(image, analysis, rules[image.site_id], _route(analysis, rules[image.site_id])) for image, analysis in fresh]
    analyses.assess(Judged(one.analysis, one.routed.route, one.routed.reasons, one.rules.as_json()) for one in found)
    new = [one for one in found if one.image.state == ImageState.ANALYSED]
    asked = [one.question() for one in new if one.routed.route is Route.REVIEW]
    asked += _about_accepted([one for one in found if one.image.state == ImageState.ACCEPTED])
    _move_in_queue([one for one in found if one.image.state == ImageState.IN_REVIEW])
    _accept([one for one in new if one.routed.route is not Route.REVIEW])
    open_tasks(asked)
    return [one.routed for one in found]


def _route(analysis: Analysis, rules: Rules) -> Routed:
    facts = Facts(Route(analysis.route), Kind(analysis.kind), analysis.p_non_regular, tuple(analysis.reasons))
    return triage_rules.route(facts, rules)


def _accept(sure: Sequence[_Fresh]) -> None:
    move([one.image for one in sure], ImageState.ACCEPTED)
    labels.set_labels([one.label() for one in sure])


def _about_accepted(accepted: Sequence[_Fresh]) -> list[Question]:
    """The questions that a new model raises about what an earlier one had accepted."""
    standing = label_selectors.current_of_all([one.image.pk for one in accepted]) if accepted else {}
    asked = []
    for one in accepted:
        label: Label | None = standing.get(one.image.pk)
        if label is not None and label.provenance in HUMAN:
            continue
        if one.routed.route is Route.REVIEW:
            asked.append(one.question())
        elif label is None or label.kind != one.analysis.kind:
            asked.append(Question(one.image, ("models_disagree",), 1.0, one.rules.reads_needed))
    return asked


def _move_in_queue(waiting: Sequence[_Fresh]) -> None:
    """Skips a task that is being answered right now: the caller holds the image's row, and an answer takes task before image."""
    if not waiting:
        return
    priorities = {one.image.pk: one.routed.priority for one in waiting}
    held = ReviewTask.objects.select_for_update(no_key=True, skip_locked=True)
    tasks = list(held.filter(image__in=priorities, state=TaskState.OPEN))
    for task in tasks:
        task.priority = priorities[task.image_id]
    ReviewTask.objects.bulk_update(tasks, ["priority"])


def open_tasks(questions: Sequence[Question], *, actor: User | None = None, note: str = "") -> list[ReviewTask]:
    """Ask readers; the images go into review. In the caller's transaction."""
    if not questions:
        return []
    move([asked.image for asked in questions], ImageState.IN_REVIEW)
    tasks = ReviewTask.objects.bulk_create(_task(asked) for asked in questions)
    audit.record_all(_event(task, actor, note) for task in tasks)
    return tasks


def _task(asked: Question) -> ReviewTask:
    return ReviewTask(image=asked.image, reasons=list(asked.reasons), priority=asked.priority, reads_needed=asked.reads_needed)


def _event(task: ReviewTask, actor: User | None, note: str) -> AuditEvent:
    return audit.event(
        actor_id=actor.pk if actor else None,
        action="open_task",
        subject=task,
        site_id=task.image.site_id,
        image=task.image_id,
        reasons=list(task.reasons),
        note=note,
    )


def move(images: Sequence[Image], to: ImageState) -> None:
    """Change the states if they are still what was read; the database refuses what the table of changes does not allow."""
    for state in sorted({image.state for image in images}):
        ids = [image.pk for image in images if image.state == state]
        if Image.objects.filter(pk__in=ids, state=state).update(state=to, state_reason="") != len(ids):
            raise WrongState("The image has moved on in the meantime. Reload the page.")
    for image in images:
        image.state = to
