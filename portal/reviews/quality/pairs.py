"""Reads of what two readers said of one picture, each without the other's answer."""

from __future__ import annotations

from django.db.models import QuerySet

from portal.reviews.agreement import Paired
from portal.reviews.consensus import CANNOT_TELL
from portal.reviews.models import Purpose, Read, ReviewTask


def first_pairs(reads: QuerySet[Read], *, tasks: QuerySet[ReviewTask] | None = None) -> list[Paired]:
    """The first two readers' answers to every question that has two, `cannot_tell` left out: adjudicators have seen both, and who was
    shown the model's opinion has too. So it is the first word of each that counts here.

    `tasks`: of these questions alone.
    """
    rows = reads.filter(role="reader", revealed=False, undone=False, task__purpose=Purpose.REVIEW)
    rows = rows if tasks is None else rows.filter(task__in=tasks)
    by_task: dict[int, dict[int, tuple[str, str]]] = {}
    about: dict[int, tuple[int | None, str, str]] = {}
    columns = (
        "task",
        "reader",
        "kind",
        "reader__name",
        "reader__email",
        "task__image__exam__patient",
        "task__image__site__name",
        "created",
    )
    for task, reader, kind, name, email, patient, site, created in rows.order_by("id").values_list(*columns):
        by_task.setdefault(task, {}).setdefault(reader, (kind, name or email))
        about[task] = (patient, site, f"{created:%Y-%m}")
    first = {task: list(said.values())[:2] for task, said in by_task.items() if len(said) > 1}
    return [_paired(said, about[task]) for task, said in first.items() if CANNOT_TELL not in {kind for kind, _ in said}]


def _paired(said: list[tuple[str, str]], about: tuple[int | None, str, str]) -> Paired:
    """In the order of the readers' names: who came first says nothing."""
    (one, one_name), (other, other_name) = sorted(said, key=lambda answer: answer[1])
    return Paired(one, other, *about, (one_name, other_name))
