"""Answers that are taken back at once, or amended later. Every version is kept; which one counts is all that changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import NotVisible, WrongState
from portal.images.models import Image, ImageState
from portal.labels import services as labels
from portal.labels.models import Label
from portal.reviews import selectors
from portal.reviews.consensus import Decision, Step, decide
from portal.reviews.facts import blind_words, fact, rule_of
from portal.reviews.leases import hold
from portal.reviews.models import Lease, Purpose, Read, ReviewTask, TaskState
from portal.reviews.questions import Question, move, open_tasks
from portal.reviews.room import drafts
from portal.reviews.services import Answer, append, check, follow, lock_task, refuse_without_box

UNDO = timedelta(seconds=60)
_TOO_LATE = "That answer can no longer be undone. Open it under 'My reading' and amend it there."


@transaction.atomic
def undo(*, task: ReviewTask, reader: User) -> Lease:
    """Take back one's answer of the last minute, as if it had not been given, and hold its picture again.

    What the answer settled is unsettled. Raises WrongState where somebody else has gone on from it, or the minute is over.
    """
    locked, image, given = _held(task)
    mine = next((read for read in reversed(given) if read.reader_id == reader.pk and read.current), None)
    if mine is None:
        raise NotVisible
    last = [read for read in given if not read.undone][-1]
    amended = any(read.reader_id == reader.pk and not read.undone and read.pk != mine.pk for read in given)
    fresh = Read.objects.filter(pk=mine.pk, created__gt=Now() - UNDO).exists()
    if last.pk != mine.pk or amended or not fresh or locked.state == TaskState.CANCELLED:
        raise WrongState(_TOO_LATE, code="too_late")
    if was_revealed(locked, reader):
        raise WrongState("You have seen the model's opinion since, so your first answer stands. You can amend it.", code="revealed")
    if locked.state == TaskState.CLOSED and locked.purpose == Purpose.REVIEW:
        _unsettle(locked, image)
    Read.objects.filter(pk=mine.pk).update(current=False, undone=True)
    left = [read for read in blind_words(given) if read.reader_id != reader.pk]
    _ask_on(locked, left, adjudicated=mine.role == "adjudicator")
    audit.record(actor_id=reader.pk, action="read_undone", subject=mine, site_id=image.site_id, task=locked.pk, image=image.pk)
    # what was open in the meantime comes next, as if it had been fetched ahead
    Lease.objects.filter(selectors.LIVE, reader=reader).update(reserved=True)
    lease = hold(task=locked, reader=reader)
    drafts.keep(lease=lease, content=as_draft(mine))
    return lease


def as_draft(read: Read) -> dict[str, Any]:
    """An answer that was given, in the form of what was marked before: to be looked at again."""
    box = ",".join(f"{side:.1f}" for side in read.box) if read.box else ""
    return {"kind": read.kind, "reasons": read.reasons, "confidence": read.confidence, "note": read.note, "box": box}


def was_revealed(task: ReviewTask, reader: User) -> bool:
    """Whether this reader has seen, after their own answer, what the model says of this picture."""
    return Lease.objects.filter(task=task, reader=reader, revealed__isnull=False).exists()


def _unsettle(task: ReviewTask, image: Image) -> None:
    """The label that this question gave is taken back; the one before it, if there was one, stands again."""
    label = Label.objects.filter(image=image, current=True).first()
    if label is None or label.basis.get("task") != task.pk or image.state != ImageState.SETTLED:
        raise WrongState(_TOO_LATE, code="too_late")
    labels.retract(label=label, why={"undone_task": task.pk})
    move([image], ImageState.IN_REVIEW)


def _ask_on(task: ReviewTask, left: list[Read], *, adjudicated: bool) -> None:
    """The question as it stands with the answers that are left. `adjudicated`: it was an adjudicator's word that was taken back."""
    task.answered = sum(read.role == "reader" for read in left)
    task.closed = None
    _ask_as_they_came(task, left)
    if adjudicated:
        task.state = TaskState.ADJUDICATION
    task.save(update_fields=["state", "closed", "answered", "reads_needed"])


def _ask_as_they_came(task: ReviewTask, reads: list[Read]) -> None:
    """How many answers the question asks for, and of whom: each disagreement in turn has asked for one more."""
    task.state = TaskState.OPEN
    task.reads_needed = task.rules.reads_needed if task.rules else 1
    for count in range(1, task.answered + 1):
        decision = decide([fact(read) for read in reads[:count]], rule_of(task))
        task.reads_needed = max(task.reads_needed, decision.reads_needed)
        if decision.step is Step.ADJUDICATE:
            task.state = TaskState.ADJUDICATION


@transaction.atomic
def amend(*, task: ReviewTask, reader: User, answer: Answer) -> Decision | None:
    """A later version of one's answer, which is one's answer from now on; the earlier ones stay.

    Where the question is still open, consensus goes on from it, unless the model's opinion had been shown: what was said before that is
    what others' answers are held against. Where it was closed and its outcome would be another now, the image is
    asked about again (the label stands until then), and the decision is returned; None where the outcome stands, or nothing is said anew.
    """
    check(answer, task.image)
    locked, image, given = _held(task)
    refuse_without_box(locked, answer)
    mine = next((read for read in given if read.reader_id == reader.pk and read.current), None)
    if mine is None:
        raise NotVisible
    if locked.state == TaskState.CANCELLED:
        raise WrongState("The question was withdrawn, so there is nothing to amend.")
    if mine.role != answer.role:
        raise WrongState("An adjudicator's word is amended where it was given.")
    if _says(mine) == _says(answer):
        return None
    Read.objects.filter(pk=mine.pk).update(current=False)
    mine.current = False
    given.append(append(locked, image, reader, answer, version=mine.version + 1, revealed=was_revealed(locked, reader)))
    if locked.purpose != Purpose.REVIEW or (mine.kind, mine.confidence) == (answer.kind, answer.confidence):
        return None
    if locked.state == TaskState.CLOSED:
        return _asked_again(locked, image, [read for read in given if read.current])
    if given[-1].revealed:
        return None
    words = blind_words(given)
    # where the amendment ends a disagreement, nobody is asked in vain
    was = locked.state
    _ask_as_they_came(locked, words)
    # as `follow` ends the leases of those whom the question is taken back from
    locked.state = was
    return follow(locked, image, words)


def _says(said: Read | Answer) -> tuple[Any, ...]:
    """What an answer says: a version that says the same is none."""
    box = [round(side, 1) for side in said.box] if said.box else None
    return said.kind, box, sorted(said.reasons), said.note, said.confidence


def _asked_again(task: ReviewTask, image: Image, reads: list[Read]) -> Decision | None:
    decision = decide([fact(read) for read in reads], rule_of(task))
    label = Label.objects.filter(image=image, current=True).first()
    if label is None or label.basis.get("task") != task.pk or (decision.step is Step.SETTLE and decision.kind == label.kind):
        return None
    if image.state == ImageState.SETTLED:
        open_tasks([Question(image, ("amended",), 1.0, selectors.rules_for(image.site_id))])
    return decision


def _held(task: ReviewTask) -> tuple[ReviewTask, Image, list[Read]]:
    """The question and then its image, as `submit_read` holds them, and every answer to it that was ever given."""
    locked = lock_task(task)
    image = Image.objects.select_for_update(no_key=True).get(pk=locked.image_id)
    return locked, image, list(Read.objects.filter(task=locked).order_by("id"))
