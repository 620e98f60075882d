"""Writes of reading: an answer is taken, people's word settles it. Triage is in `questions.py`, late images in
`reassess.py`, leases in `leases.py`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import BadInput, NotVisible, WrongState
from portal.core.statements import Prepared
from portal.images.models import OUT, UPLOAD_CANCELLED, Image, ImageState
from portal.jobs import services as jobs
from portal.labels import services as labels
from portal.labels.models import Provenance
from portal.ml import Kind
from portal.reviews import consensus, rows, selectors
from portal.reviews.consensus import CANNOT_TELL, UNSURE, Decision, Rule, Step
from portal.reviews.facts import blind_words, fact, rule_of
from portal.reviews.leases import Role, extend_lease, lease_next, release
from portal.reviews.models import Lease, Purpose, Read, ReviewTask, TaskState
from portal.reviews.quality import qualification
from portal.reviews.questions import Question, move, open_tasks, triage
from portal.reviews.reassess import Moved, reassess
from portal.reviews.rules import set_rules

__all__ = [
    "Answer", "Moved", "close", "extend_lease", "lease_next", "reassess", "release", "reopen", "set_rules", "submit_read", "take_out",
    "triage", "withdraw",
]  # fmt: skip

UNUSABLE_REASONS = ("blurred", "too_dark", "too_bright", "obstructed", "not_in_view", "text_on_picture")
CANNOT_TELL_REASONS = ("between_kinds", "picture_too_poor", "needs_other_pictures", "outside_my_experience")
REASONS_OF: dict[str, tuple[str, ...]] = {Kind.UNUSABLE: UNUSABLE_REASONS, CANNOT_TELL: CANNOT_TELL_REASONS}
BOX_KINDS = (Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE, Kind.POST_TREATMENT)
"""Answers after which there is a cervix to draw a box around, where the study asks for one."""
SURE = 3


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reader says of a picture. `kind`: a Kind or `cannot_tell`. `box`: x0, y0, x1, y1 in pixels, where they drew one.

    `reasons`: of `unusable`, or of `cannot_tell`. `confidence`: 1 unsure, 2 fairly sure, 3 sure. `seconds`: of active reading.
    """

    kind: str
    box: tuple[float, float, float, float] | None = None
    reasons: tuple[str, ...] = ()
    note: str = ""
    seconds: float = 0.0
    role: Role = "reader"
    confidence: int | None = None


# ---- questions --------------------------------------------------------------------------------------------------------
@transaction.atomic
def reopen(*, image: Image, actor: User, note: str = "") -> ReviewTask:
    """Ask readers again about an image that is accepted or settled. Its label stands until they have answered."""
    if image.state not in (ImageState.ACCEPTED, ImageState.SETTLED):
        raise WrongState("Only an image that is accepted or settled can be asked about again.")
    question = Question(image, ("reopened",), 1.0, selectors.rules_for(image.site_id))
    return open_tasks([question], actor=actor, note=note)[0]


@transaction.atomic
def withdraw(*, image: Image, actor: User, reason: str) -> Image:
    """Take an image out of all that comes, for good. Its questions are cancelled; answers and labels stay in the history.

    The other images of its exam are judged anew without it.
    """
    access.require(actor, "withdraw", site=image.site_id)
    if not reason.strip():
        raise BadInput("Say why the image is withdrawn.")
    return take_out(image=image, actor_id=actor.pk, reason=reason)


@transaction.atomic
def take_out(*, image: Image, actor_id: int | None, reason: str) -> Image:
    """The same where the right to it was checked when it was asked for."""
    # the task before the image, as submit_read does: the other order may deadlock with a reader
    live = ReviewTask.objects.filter(image=image, state__in=[TaskState.OPEN, TaskState.ADJUDICATION])
    tasks = list(live.select_for_update(no_key=True))
    held = Image.objects.select_for_update(no_key=True).get(pk=image.pk)
    if held.state in (ImageState.REJECTED, *OUT):
        raise WrongState("This image is out already. Reload the page.")
    # whoever opens a question holds the image, so from here on there is none but these; one opened between the two locks cannot be
    # locked now without the danger of a deadlock
    if live.exclude(pk__in=[task.pk for task in tasks]).exists():
        raise WrongState("A question about this image was opened in this very moment. Nothing was changed: withdraw it again.")
    Image.objects.filter(pk=held.pk).update(state=ImageState.WITHDRAWN, state_reason=_unlike_a_cancelled_upload(reason.strip()[:300]))
    for task in tasks:
        close(task, TaskState.CANCELLED)
    jobs.put(kind="assess", subject_ids=[held.pk], actor_id=actor_id)
    audit.record(
        actor_id=actor_id, action="image.withdrawn", subject=held, site_id=held.site_id, before=held.state, after="withdrawn",
        tasks=[task.pk for task in tasks],
    )  # fmt: skip
    held.refresh_from_db()
    return held


def _unlike_a_cancelled_upload(reason: str) -> str:
    """That very reason brings an image back when its file is sent again, and is the upload's alone to give."""
    return f"{reason} Withdrawn by hand." if reason == UPLOAD_CANCELLED else reason


# ---- answers ----------------------------------------------------------------------------------------------------------
@transaction.atomic
def submit_read(*, task: ReviewTask, reader: User, answer: Answer) -> Decision:
    """Take a reader's answer, end their lease, and settle the image or ask on. An answer that comes after its lease is taken
    as long as nobody else took the place; else WrongState, and nothing is written."""
    image = task.image
    check(answer, image)
    task = lock_task(task)
    refuse_without_box(task, answer)
    ended = Lease.objects.filter(selectors.LIVE, task=task, reader=reader).update(ended=Now())
    given = list(Read.objects.filter(task=task).order_by("id"))
    reads = blind_words(given)
    _refuse_unless_due(task, reader, answer, reads, in_time=bool(ended))
    if not ended:
        Lease.objects.filter(task=task, reader=reader, ended__isnull=True).update(ended=Now())
    version = 1 + max((read.version for read in given if read.reader_id == reader.pk), default=0)
    reads.append(append(task, image, reader, answer, version=version))
    if answer.role == "reader":
        task.answered += 1
    return follow(task, image, reads)


def follow(task: ReviewTask, image: Image, reads: list[Read]) -> Decision:
    """What the answers that count now amount to, written: the question is settled, asks on, or goes to an adjudicator. Its row is held."""
    rule = rule_of(task)
    decision = consensus.decide([fact(read) for read in reads], rule)
    if task.purpose != Purpose.REVIEW:
        close(task, TaskState.CLOSED)
        if task.purpose == Purpose.QUALIFICATION:
            qualification.judge(reader=reads[-1].reader)
        return decision
    task.reads_needed = decision.reads_needed
    if decision.step is Step.SETTLE:
        _settle(task, image, reads, decision, rule)
        return decision
    # an amended answer may also take a question back from the adjudicators
    state = TaskState.ADJUDICATION if decision.step is Step.ADJUDICATE else TaskState.OPEN
    if task.state == TaskState.ADJUDICATION != state:
        Lease.objects.filter(task=task, ended__isnull=True).update(ended=Now())
    task.state = state
    task.save(update_fields=["state", "reads_needed", "answered"])
    return decision


def check(answer: Answer, image: Image) -> None:
    """Whether an answer can be taken at all. Raises BadInput, in words for the reader."""
    if answer.kind not in {*Kind, CANNOT_TELL}:
        raise BadInput("Choose what the picture shows first.")
    if answer.role == "adjudicator" and answer.kind == CANNOT_TELL:
        raise BadInput("An adjudicator's word is the last: choose a kind, or 'unusable' with its reasons.")
    if answer.role == "adjudicator" and not (answer.note.strip() or answer.reasons):
        raise BadInput("Say in a few words why: your reason is kept with your word.", code="no_reason")
    if answer.kind == Kind.UNUSABLE and not answer.reasons:
        raise BadInput("Say why the picture is unusable: mark one reason at least.")
    if not set(answer.reasons) <= set(REASONS_OF.get(answer.kind, ())):
        raise BadInput("One of the reasons is not known here. Mark the reasons again.")
    if answer.confidence not in (None, UNSURE, 2, SURE):
        raise BadInput("Say how sure you are in one of three steps.")
    if len(answer.note) > 2000:
        raise BadInput("The note is longer than 2,000 characters. Shorten it.")
    if answer.box and not _inside(answer.box, image):
        raise BadInput("The box does not lie within the picture. Draw it again.")


def refuse_without_box(task: ReviewTask, answer: Answer) -> None:
    """Where readers are asked for a box of their own. Raises BadInput."""
    if task.asks.box and answer.role == "reader" and answer.kind in BOX_KINDS and answer.box is None:
        raise BadInput("This study asks for a box: draw it around the cervix, then submit.", code="no_box")


def _inside(box: tuple[float, float, float, float], image: Image) -> bool:
    x0, y0, x1, y1 = box
    return 0 <= x0 < x1 <= (image.width or 0) and 0 <= y0 < y1 <= (image.height or 0)


def lock_task(task: ReviewTask) -> ReviewTask:
    """The question as it stands, its row held until the transaction ends."""
    row = _LOCK.first(task.pk)
    if row is None:
        raise NotVisible
    return rows.task_of(row)


_LOCK = Prepared("lock_task", "bigint", f"SELECT {rows.TASK} FROM {rows.WITH_IMAGE} WHERE task.id = $1 FOR NO KEY UPDATE OF task")  # noqa: S608  # nosec B608


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


def append(task: ReviewTask, image: Image, reader: User, answer: Answer, *, version: int = 1, revealed: bool = False) -> Read:
    """One more row of answers; the task's row is held."""
    read = Read(
        task=task, reader=reader, version=version, kind=answer.kind, confidence=answer.confidence,
        box=list(answer.box) if answer.box else None, reasons=list(answer.reasons), note=answer.note, role=answer.role,
        seconds=answer.seconds, revealed=revealed,
    )  # fmt: skip
    event = audit.part_values(
        actor_id=reader.pk, action="read", subject=Read, site_id=image.site_id, task=task.pk, image=image.pk, role=answer.role,
        version=version,
    )  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_APPEND, {**{name: getattr(read, name) for name in _COLUMNS}, **event})
        read.pk, read.created = cursor.fetchone()
    read._state.adding = False
    return read


_COLUMNS = (
    "task_id", "reader_id", "version", "current", "undone", "kind", "confidence", "box", "reasons", "note", "role", "seconds", "revealed",
)  # fmt: skip
_APPEND = f"""
WITH read AS (
    INSERT INTO reviews_read ({", ".join(_COLUMNS)}) VALUES ({", ".join(f"%({name})s" for name in _COLUMNS)}) RETURNING id, created
), told AS ({audit.record_part("read")})
SELECT id, created FROM read
"""  # noqa: S608  # nosec B608 # our own names
"""The answer and its event by one statement."""


def _settle(task: ReviewTask, image: Image, reads: list[Read], decision: Decision, rule: Rule) -> None:
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
        basis=_basis(task, reads, decision, rule),
    )
    before = image.state
    move([image], ImageState.SETTLED)
    audit.record(
        actor_id=reads[-1].reader_id, action="image.settled", subject=image, site_id=image.site_id, before=before, after="settled",
        task=task.pk,
    )  # fmt: skip
    close(task, TaskState.CLOSED)


def _basis(task: ReviewTask, reads: list[Read], decision: Decision, rule: Rule) -> dict[str, Any]:
    """What the label rests on: answers, the rule's row, and where likelihood settled it, how likely it was and by which row of readers."""
    basis = {"task": task.pk, "reads": [read.pk for read in reads], "reads_needed": task.reads_needed, "rule": task.rules_id}
    if decision.posterior is None or rule.skill is None:
        return basis
    return {**basis, "posterior": decision.posterior, "reliability": rule.skill.version}


def close(task: ReviewTask, state: TaskState) -> None:
    """End a task and every lease on it."""
    task.state = state
    _CLOSE.first(task.pk, state, task.answered, task.reads_needed)


_CLOSE = Prepared("close_task", "bigint, text, integer, integer", """
WITH ended AS (
    UPDATE reviews_lease SET ended = statement_timestamp() WHERE task_id = $1 AND ended IS NULL
)
UPDATE reviews_reviewtask SET state = $2, closed = statement_timestamp(), answered = $3, reads_needed = $4 WHERE id = $1 RETURNING id
""")  # fmt: skip
