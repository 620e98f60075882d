"""Triage, by the batch: fresh analyses become automatic labels, or questions to readers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from django.db import transaction

from portal.accounts.models import User
from portal.analyses import services as analyses
from portal.analyses.beside import Beside, beside, to_follow, unseen
from portal.analyses.models import Analysis, Assessment
from portal.analyses.services import Judged
from portal.audit import services as audit
from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.images.models import Image, ImageState
from portal.jobs import services as jobs
from portal.labels import selectors as label_selectors
from portal.labels import services as labels
from portal.labels.models import HUMAN, Label, Provenance
from portal.ml import UNCALIBRATED, Kind, Route
from portal.reviews import crowds, earning, order, selectors
from portal.reviews import triage as triage_rules
from portal.reviews.models import Purpose, ReviewTask, TaskState
from portal.reviews.triage import BY_SITE, Facts, Routed, Rules


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be asked about an image, why, how much is in doubt (1 is most), by which rule, and which look the image has."""

    image: Image
    reasons: tuple[str, ...]
    priority: float
    rules: Rules
    look: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One image judged beside its exam, routed by the rule of its site."""

    image: Image
    beside: Beside
    rules: Rules
    routed: Routed

    @property
    def kind(self) -> Kind:
        return self.beside.assessed.kind

    @property
    def sure(self) -> bool:
        return self.routed.route is not Route.REVIEW

    @property
    def stands(self) -> bool:
        """Whether what was accepted may stay so: that it would be read today whatever the model says is no doubt of it."""
        return self.sure or (bool(self.routed.reasons) and BY_SITE.issuperset(self.routed.reasons))

    def question(self) -> Question:
        return Question(self.image, self.routed.reasons, self.routed.priority, self.rules, self.beside.analysis.look)

    def doubt(self) -> Question:
        """The same about what was accepted: asked because of what the model says, it is none of those that are read whatever it says."""
        return replace(self.question(), reasons=tuple(one for one in self.routed.reasons if one not in BY_SITE))

    def label(self, assessment: Assessment) -> labels.New:
        kind = Kind.REGULAR if self.routed.route is Route.AUTO_REGULAR else self.kind
        analysis = self.beside.analysis
        basis = {
            "analysis": analysis.pk, "version": analysis.version_id, "assessment": assessment.pk,
            "siblings": list(self.beside.siblings), "rule": self.rules.as_json(),
        }  # fmt: skip
        return labels.New(self.image, kind, Provenance.AUTOMATIC, basis=basis)


@transaction.atomic
def triage(fresh: Sequence[tuple[Image, Analysis]]) -> list[Routed]:
    """Route fresh analyses by their sites' rules: automatic labels, or questions to readers. In the caller's transaction.

    Each is judged beside what its exam has by now; the exam's other images are judged anew by `reassess`, for which work is queued, and
    looked at first where this version has not.
    What people have settled stays as it is. What was accepted is asked about when a new model objects or says another kind; an
    open question only moves in the queue. A fixed number of statements; the caller holds the images' rows.
    """
    if not fresh:
        return []
    cases, assessments = judge([(image, one) for (image, _), one in zip(fresh, beside(fresh), strict=True)])
    new = [(case, made) for case, made in zip(cases, assessments, strict=True) if case.image.state == ImageState.ANALYSED]
    asked = [case.question() for case, _ in new if not case.sure]
    asked += _about_accepted([case for case in cases if case.image.state == ImageState.ACCEPTED])
    move_in_queue([case for case in cases if case.image.state == ImageState.IN_REVIEW])
    accept([(case, made) for case, made in new if case.sure])
    open_tasks(asked)
    jobs.put(kind="assess", subject_ids=to_follow(fresh))
    # after a promotion the others of an exam have an earlier version's word only, beside which nothing can be judged
    jobs.put(kind="analyse", subject_ids=sorted({pk for left in unseen(fresh).values() for pk in left}))
    return [case.routed for case in cases]


def judge(found: Sequence[tuple[Image, Beside]]) -> tuple[list[Case], list[Assessment]]:
    """Route by the rules in force now, and write the assessments: both in order. Whatever follows from them is the caller's."""
    rules = _rules_of(found)
    cases = [Case(image, one, rule, _route(image, one, rule)) for (image, one), rule in zip(found, rules, strict=True)]
    made = analyses.assess(Judged(case.beside, case.routed.route, case.routed.reasons, case.rules.as_json()) for case in cases)
    return cases, made


def _rules_of(found: Sequence[tuple[Image, Beside]]) -> list[Rules]:
    """Of each, with what its site's readings have earned the version that judges it."""
    rules = selectors.rules_of({image.site_id for image, _ in found})
    earned = earning.of(rules, {(image.site_id, one.analysis.version_id) for image, one in found})
    held = {pair: replace(rules[pair[0]], earned=earning.held_to(rules[pair[0]], one)) for pair, one in earned.items()}
    return [held.get((image.site_id, one.analysis.version_id), rules[image.site_id]) for image, one in found]


def _route(image: Image, one: Beside, rules: Rules) -> Routed:
    said = one.assessed
    drawn = earning.draw(image.pk) if rules.audit_share else 1.0
    return triage_rules.route(Facts(said.route, said.kind, said.p_non_regular, said.reasons, drawn), rules)


def accept(sure: Sequence[tuple[Case, Assessment]], *, labelled: Collection[int] = ()) -> None:
    """Take the machines' word. `labelled`: images whose label says so already."""
    move([case.image for case, _ in sure], ImageState.ACCEPTED)
    labels.set_labels([case.label(assessment) for case, assessment in sure if case.image.pk not in labelled])


def _about_accepted(accepted: Sequence[Case]) -> list[Question]:
    """The questions that a new model raises about what an earlier one had accepted."""
    standing = label_selectors.current_of_all([case.image.pk for case in accepted]) if accepted else {}
    asked = [objection(case, standing.get(case.image.pk)) for case in accepted]
    return [question for question in asked if question is not None]


def objection(case: Case, label: Label | None) -> Question | None:
    """What is to be asked about an accepted image. People's word is not doubted."""
    if label is not None and label.provenance in HUMAN:
        return None
    if not case.stands:
        return case.doubt()
    if label is None or label.kind != case.kind:
        return Question(case.image, ("models_disagree",), 1.0, case.rules, case.beside.analysis.look)
    return None


def move_in_queue(waiting: Sequence[Case]) -> None:
    """Give open questions the doubt and the look that a new analysis has: two models number their looks each for itself, so that those of
    one must not be counted among the other's.

    Skips a task that is being answered right now: the caller holds the image's row, and an answer takes task before image.
    """
    if not waiting:
        return
    cases = {case.image.pk: case for case in waiting}
    held = ReviewTask.objects.select_for_update(no_key=True, skip_locked=True)
    tasks = list(held.filter(image__in=cases, state=TaskState.OPEN, purpose=Purpose.REVIEW))
    for task in tasks:
        case = cases[task.image_id]
        task.priority, task.look = order.soon(case.routed.priority, task.alike), case.beside.analysis.look
        if UNCALIBRATED not in case.routed.reasons:
            # the sure ones of its device are not read any more, so that it is none of those that are read whatever the model says
            task.reasons = [one for one in task.reasons if one != UNCALIBRATED] or task.reasons
    ReviewTask.objects.bulk_update(tasks, ["priority", "look", "reasons"])


def open_tasks(questions: Sequence[Question], *, actor: User | None = None, note: str = "") -> list[ReviewTask]:
    """Ask readers; the images go into review. In the caller's transaction."""
    if not questions:
        return []
    move([asked.image for asked in questions], ImageState.IN_REVIEW)
    alike = crowds.alike([(asked.image.site_id, asked.look, asked.priority) for asked in questions])
    tasks = ReviewTask.objects.bulk_create(_task(asked, note, count) for asked, count in zip(questions, alike, strict=True))
    audit.record_all(_event(task, actor) for task in tasks)
    return tasks


def _task(asked: Question, note: str, alike: int) -> ReviewTask:
    return ReviewTask(
        image=asked.image, reasons=list(asked.reasons), priority=order.soon(asked.priority, alike), rules_id=asked.rules.version,
        reads_needed=asked.rules.reads_needed, note=note[:500], look=asked.look, alike=alike,
    )  # fmt: skip


def _event(task: ReviewTask, actor: User | None) -> AuditEvent:
    return audit.event(
        actor_id=actor.pk if actor else None,
        action="open_task",
        subject=task,
        site_id=task.image.site_id,
        image=task.image_id,
        reasons=list(task.reasons),
    )


def move(images: Sequence[Image], to: ImageState) -> None:
    """Change the states if they are still what was read; the database refuses what the table of changes does not allow."""
    for state in sorted({image.state for image in images}):
        ids = [image.pk for image in images if image.state == state]
        if Image.objects.filter(pk__in=ids, state=state).update(state=to, state_reason="") != len(ids):
            raise WrongState("The image has moved on in the meantime. Reload the page.")
    for image in images:
        image.state = to
