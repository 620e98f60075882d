"""Writes of reading: triage opens a question, an answer is taken, people's word settles it. Leases are in `leases.py`."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts.models import Site, User
from portal.analyses import services as analyses
from portal.analyses.models import Analysis
from portal.audit import services as audit
from portal.core.errors import BadInput, NotVisible, WrongState
from portal.images.models import Image, ImageState
from portal.labels import selectors as label_selectors
from portal.labels import services as labels
from portal.labels.models import HUMAN, Provenance
from portal.ml import Kind, Route
from portal.reviews import consensus, selectors
from portal.reviews import triage as triage_rules
from portal.reviews.consensus import CANNOT_TELL, Decision, ReadFact, Rule, Step
from portal.reviews.leases import Role, extend_lease, lease_next, release
from portal.reviews.models import Lease, Read, ReviewRules, ReviewTask, TaskState
from portal.reviews.triage import Facts, Routed, Rules

__all__ = [
    "Answer", "close", "extend_lease", "lease_next", "release", "reopen", "set_rules", "submit_read", "triage",
]  # fmt: skip

UNUSABLE_REASONS = ("blurred", "too_dark", "too_bright", "obstructed", "not_in_view", "text_on_picture")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says of a picture. `kind`: a Kind or `cannot_tell`. `box`: x0, y0, x1, y1 in pixels, where they drew one."""

    kind: str
    box: tuple[float, float, float, float] | None = None
    reasons: tuple[str, ...] = ()
    note: str = ""
    seconds: float = 0.0
    role: Role = "reader"


# ---- triage -----------------------------------------------------------------------------------------------------------
@transaction.atomic
def triage(*, image: Image, analysis: Analysis) -> Routed:
    """Route a fresh analysis by the site's rule: an automatic label, or a question to readers. In the caller's transaction.

    What people have settled stays as it is. What was accepted is asked about when a new model objects or says another kind; an
    open question only moves in the queue.
    """
    rules = selectors.rules_for(image.site_id)
    facts = Facts(Route(analysis.route), Kind(analysis.kind), analysis.p_non_regular, tuple(analysis.reasons))
    routed = triage_rules.route(facts, rules)
    analyses.assess(analysis=analysis, route=routed.route, reasons=list(routed.reasons), rule=rules.as_json())
    if image.state == ImageState.ANALYSED:
        _route_new(image, analysis, routed, rules)
    elif image.state == ImageState.ACCEPTED:
        _question_accepted(image, analysis, routed, rules)
    elif image.state == ImageState.IN_REVIEW:
        _move_in_queue(image, routed.priority)
    return routed


def _move_in_queue(image: Image, priority: float) -> None:
    """Skips a task that is being answered right now: the caller holds the image's row, and an answer takes task before image."""
    task = ReviewTask.objects.select_for_update(no_key=True, skip_locked=True).filter(image=image, state=TaskState.OPEN).first()
    if task is not None:
        ReviewTask.objects.filter(pk=task.pk).update(priority=priority)


def _route_new(image: Image, analysis: Analysis, routed: Routed, rules: Rules) -> None:
    if routed.route is Route.REVIEW:
        _open_task(image, reasons=routed.reasons, priority=routed.priority, rules=rules)
        return
    _move(image, ImageState.ANALYSED, ImageState.ACCEPTED)
    kind = Kind.REGULAR if routed.route is Route.AUTO_REGULAR else Kind(analysis.kind)
    basis = {"analysis": analysis.pk, "version": analysis.version_id, "rule": rules.as_json()}
    labels.set_label(image=image, kind=kind, provenance=Provenance.AUTOMATIC, basis=basis)


def _question_accepted(image: Image, analysis: Analysis, routed: Routed, rules: Rules) -> None:
    label = label_selectors.current_of(image)
    if label is not None and label.provenance in HUMAN:
        return
    if routed.route is Route.REVIEW:
        _open_task(image, reasons=routed.reasons, priority=routed.priority, rules=rules)
    elif label is None or label.kind != analysis.kind:
        _open_task(image, reasons=("models_disagree",), priority=1.0, rules=rules)


def _open_task(
    image: Image, *, reasons: tuple[str, ...], priority: float, rules: Rules, actor: User | None = None, note: str = ""
) -> ReviewTask:
    _move(image, image.state, ImageState.IN_REVIEW)
    task = ReviewTask.objects.create(image=image, reasons=list(reasons), priority=priority, reads_needed=rules.reads_needed)
    audit.record(
        actor_id=actor.pk if actor else None,
        action="open_task",
        subject=task,
        site_id=image.site_id,
        image=image.pk,
        reasons=list(reasons),
        note=note,
    )
    return task


@transaction.atomic
def reopen(*, image: Image, actor: User, note: str = "") -> ReviewTask:
    """Ask readers again about an image that is accepted or settled. Its label stands until they have answered."""
    if image.state not in (ImageState.ACCEPTED, ImageState.SETTLED):
        raise WrongState("Only an image that is accepted or settled can be asked about again.")
    return _open_task(image, reasons=("reopened",), priority=1.0, rules=selectors.rules_for(image.site_id), actor=actor, note=note)


@transaction.atomic
def set_rules(*, site: Site | None, reads_needed: int, t_lo: float | None, t_hi: float | None, actor: User) -> ReviewRules:
    """The rule from now on, for one site or for all that have none of their own. Open tasks keep the rule they began with."""
    if reads_needed not in (1, 2):
        raise BadInput("Choose one or two independent reads.")
    if any(t is not None and not 0 <= t <= 1 for t in (t_lo, t_hi)):
        raise BadInput("A threshold lies between 0 and 1. Leave it empty for the model's own.")
    if t_lo is not None and t_hi is not None and t_lo > t_hi:
        raise BadInput("The lower threshold is above the upper one. Exchange them.")
    row = ReviewRules.objects.create(site=site, reads_needed=reads_needed, t_lo=t_lo, t_hi=t_hi, set_by=actor)
    values = {"reads_needed": reads_needed, "t_lo": t_lo, "t_hi": t_hi}
    audit.record(actor_id=actor.pk, action="set_rules", subject=row, site_id=site.pk if site else None, **values)
    return row


# ---- answers ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def submit_read(*, task: ReviewTask, reader: User, answer: Answer) -> Decision:
    """Take a reader's answer, end their lease, and settle the image or ask on. An answer that comes after its lease is taken
    as long as nobody else took the place; else WrongState, and nothing is written."""
    image = task.image
    _check(answer, image)
    task = _locked(task)
    ended = Lease.objects.filter(selectors.LIVE, task=task, reader=reader).update(ended=Now())
    reads = list(Read.objects.filter(task=task).order_by("id"))
    _refuse_unless_due(task, reader, answer, reads, in_time=bool(ended))
    read = _append(task, image, reader, answer)
    reads.append(read)
    decision = consensus.decide([ReadFact(r.kind, r.role == "adjudicator") for r in reads], Rule(task.reads_needed))
    if decision.step is Step.SETTLE:
        _settle(task, image, reads, decision)
    elif decision.step is Step.ADJUDICATE:
        ReviewTask.objects.filter(pk=task.pk).update(state=TaskState.ADJUDICATION)
    elif decision.reads_needed != task.reads_needed:
        ReviewTask.objects.filter(pk=task.pk).update(reads_needed=decision.reads_needed)
    return decision


def _check(answer: Answer, image: Image) -> None:
    if answer.kind not in {*Kind, CANNOT_TELL}:
        raise BadInput("Choose what the picture shows first.")
    if answer.role == "adjudicator" and answer.kind == CANNOT_TELL:
        raise BadInput("An adjudicator's word is the last: choose a kind, or 'unusable' with its reasons.")
    if answer.kind == Kind.UNUSABLE and not answer.reasons:
        raise BadInput("Say why the picture is unusable: mark one reason at least.")
    if not set(answer.reasons) <= set(UNUSABLE_REASONS):
        raise BadInput("One of the reasons is not known here. Mark the reasons again.")
    if len(answer.note) > 2000:
        raise BadInput("The note is longer than 2,000 characters. Shorten it.")
    if answer.box and not _inside(answer.box, image):
        raise BadInput("The box does not lie within the picture. Draw it again.")


def _inside(box: tuple[float, float, float, float], image: Image) -> bool:
    x0, y0, x1, y1 = box
    return 0 <= x0 < x1 <= (image.width or 0) and 0 <= y0 < y1 <= (image.height or 0)


def _locked(task: ReviewTask) -> ReviewTask:
    return ReviewTask.objects.select_for_update(no_key=True).get(pk=task.pk)


def _refuse_unless_due(task: ReviewTask, reader: User, answer: Answer, reads: list[Read], *, in_time: bool) -> None:
    """The refusals tell nothing of other readers."""
    if any(read.reader_id == reader.pk for read in reads):
        raise WrongState("You have answered this picture already, and that answer stands.", code="already_answered")
    if not in_time and not Lease.objects.filter(task=task, reader=reader).exists():
        raise NotVisible
    expected = TaskState.ADJUDICATION if answer.role == "adjudicator" else TaskState.OPEN
    if task.state != expected or (not in_time and not _place_left(task, reader, answer, reads)):
        raise WrongState("This picture is no longer waiting for your answer, so it was not recorded. Go on with the next.", code="too_late")


def _place_left(task: ReviewTask, reader: User, answer: Answer, reads: list[Read]) -> bool:
    held = Lease.objects.filter(selectors.LIVE, task=task).exclude(reader=reader).count()
    answered = sum(read.role == "reader" for read in reads)
    return held == 0 if answer.role == "adjudicator" else answered + held < task.reads_needed


def _append(task: ReviewTask, image: Image, reader: User, answer: Answer) -> Read:
    read = Read.objects.create(
        task=task,
        reader=reader,
        kind=answer.kind,
        box=list(answer.box) if answer.box else None,
        reasons=list(answer.reasons),
        note=answer.note,
        role=answer.role,
        seconds=answer.seconds,
    )
    audit.record(actor_id=reader.pk, action="read", subject=read, site_id=image.site_id, task=task.pk, image=image.pk, role=answer.role)
    return read


def _settle(task: ReviewTask, image: Image, reads: list[Read], decision: Decision) -> None:
    """Label, image, task and what leases are left: all end together."""
    assert decision.kind is not None
    agreeing = [read for read in reads if read.kind == decision.kind and (read.role == "adjudicator" or not decision.adjudicated)]
    boxes = [(r.box[0], r.box[1], r.box[2], r.box[3]) for r in agreeing if r.box]
    labels.set_label(
        image=image,
        kind=decision.kind,
        provenance=Provenance.ADJUDICATION if decision.adjudicated else Provenance.CONSENSUS,
        actor=agreeing[-1].reader if decision.adjudicated else None,
        box=consensus.agreed_box(boxes),
        reasons=sorted({reason for read in agreeing for reason in read.reasons}),
        basis={"task": task.pk, "reads": [read.pk for read in reads], "reads_needed": task.reads_needed},
    )
    _move(image, "in_review", "settled")
    close(task, TaskState.CLOSED)


def _move(image: Image, state: str, to: str) -> None:
    """Change the state if it is still what was read; the database refuses what the table of changes does not allow."""
    if Image.objects.filter(pk=image.pk, state=state).update(state=to, state_reason="") != 1:
        raise WrongState("The image has moved on in the meantime. Reload the page.")
    image.state = to


def close(task: ReviewTask, state: TaskState) -> None:
    """End a task and every lease on it."""
    ReviewTask.objects.filter(pk=task.pk).update(state=state, closed=Now())
    Lease.objects.filter(task=task, ended__isnull=True).update(ended=Now())
