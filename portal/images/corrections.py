"""Versions of what is said of an image: written wherever something that was said before is said otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime

from django.db.models import Min

from portal.accounts.models import User
from portal.audit.models import AuditEvent
from portal.audit.services import event, record_all
from portal.core.statements import insert_rows
from portal.images.models import BESIDE_OTHERS, Correction, Image, Regrouping
from portal.images.placing import Placing, Plan, prepare, write_images
from portal.jobs import services as jobs

PART = 1000
"""So many images are written between two words of how far it is."""
Told = Callable[[int, int], object]
"""Hears how many of how many are done. What it raises stops the work."""


def nobody(done: int, of: int) -> None:
    del done, of


def follow(wanted: Plan, *, actor: User, told: Told = nobody) -> tuple[list[Placing], int]:
    """Carry a plan out and write it down, in parts; its images are held by the caller. What changed, and how many versions there are.

    Patients and exams come first and work last, as everybody takes their locks.
    """
    changed, versions = prepare(wanted), 0
    for start in range(0, len(changed), PART):
        told(start, len(changed))
        part = changed[start : start + PART]
        write_images(part)
        versions += _story(part, actor, None)
    told(len(changed), len(changed))
    _judge_anew(changed)
    return changed, versions


def write_down(changed: Sequence[Placing], *, actor: User, regrouping: Regrouping | None = None) -> int:
    """A version for each image of which something was overwritten, an audit event for every change, and the work to judge their exams
    anew. In the transaction of the change, under its locks. Returns how many versions there are."""
    versions = _story(changed, actor, regrouping)
    _judge_anew(changed)
    return versions


def _story(changed: Sequence[Placing], actor: User, regrouping: Regrouping | None) -> int:
    versions = [_version(one, actor, regrouping) for one in changed if one.corrects]
    insert_rows(versions)
    record_all([_event(one, actor, regrouping) for one in changed])
    return len(versions)


def _version(one: Placing, actor: User, regrouping: Regrouping | None) -> Correction:
    return Correction(
        image=one.image,
        actor=actor,
        table_id=one.row.table_id if one.row else None,
        row=one.row.table_row if one.row else None,
        regrouping=regrouping,
        exam_before_id=one.exam_before,
        exam_after_id=one.image.exam_id,
        device_before=one.now.device,
        device_after=one.then.device,
        kind_before=one.now.stated_kind,
        kind_after=one.then.stated_kind,
        captured_before=one.now.captured,
        captured_after=one.then.captured,
    )


def _event(one: Placing, actor: User, regrouping: Regrouping | None) -> AuditEvent:
    pairs = {
        "exam": (one.exam_before, one.image.exam_id), "device": (one.now.device, one.then.device),
        "stated_kind": (one.now.stated_kind, one.then.stated_kind), "captured": (_text(one.now.captured), _text(one.then.captured)),
    }  # fmt: skip
    source = {"table": one.row.table_id, "row": one.row.table_row} if one.row else {"regrouping": regrouping and regrouping.pk}
    return event(
        actor_id=actor.pk, action="image.corrected" if one.corrects else "image.placed", subject=one.image, site_id=one.image.site_id,
        changes={name: list(pair) for name, pair in pairs.items() if pair[0] != pair[1]}, **source,
    )  # fmt: skip


def _text(moment: datetime | None) -> str:
    return moment.isoformat() if moment else ""


def _judge_anew(changed: Sequence[Placing]) -> None:
    """What counts beside others and has others beside it now: itself in its new exam, and one of those that it left in the old."""
    moved = [one for one in changed if one.exam_before != one.image.exam_id or one.now.device != one.then.device]
    left = {one.exam_before for one in moved if one.exam_before and one.exam_before != one.image.exam_id}
    jobs.put(kind="assess", subject_ids=[*(one.image.pk for one in moved if one.image.state in BESIDE_OTHERS), *_one_of_each(left)])


def _one_of_each(exams: Collection[int]) -> list[int]:
    if not exams:
        return []
    rows = Image.objects.filter(exam__in=exams, state__in=BESIDE_OTHERS).order_by().values("exam").annotate(first=Min("pk"))
    return [row["first"] for row in rows]
