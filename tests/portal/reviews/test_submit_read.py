"""An answer is taken once, in its time or in a place that nobody took, and settles the image when enough agree."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now

from portal.accounts.models import Role, User
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotVisible, WrongState
from portal.labels.models import Label, Provenance
from portal.reviews.consensus import Step
from portal.reviews.leases import LEASE
from portal.reviews.models import Lease, Read, ReviewTask
from portal.reviews.services import Answer, lease_next, submit_read
from tests.cast import Cast, make_task, make_user
from tests.portal.reviews.test_lease_next import queries

pytestmark = pytest.mark.django_db


def read(reader: User, kind: str, **more: Any) -> Step:
    """The reader takes the next picture and answers."""
    lease = lease_next(reader=reader, role=more.get("role", "reader"))
    assert lease is not None
    return submit_read(task=lease.task, reader=reader, answer=Answer(kind, **more)).step


def needing(cast: Cast, reads: int) -> ReviewTask:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=reads)
    task.refresh_from_db()
    return task


def test_one_read_settles_where_one_is_needed(cast: Cast) -> None:
    task = make_task(cast.north)
    assert read(cast.rita, "green_filter", box=(10.0, 10.0, 60.0, 60.0), note="a tint") is Step.SETTLE
    task.refresh_from_db()
    task.image.refresh_from_db()
    label = Label.objects.get(image=task.image, current=True)
    assert (task.state, task.image.state) == ("closed", "settled")
    assert (label.kind, label.provenance, label.box) == ("green_filter", Provenance.CONSENSUS, [10.0, 10.0, 60.0, 60.0])
    assert not Lease.objects.filter(ended__isnull=True).exists()
    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {"lease", "read", "label"}


def test_two_who_agree_settle(cast: Cast) -> None:
    task = needing(cast, 2)
    assert read(cast.rita, "regular") is Step.FURTHER_READER
    assert read(cast.ravi, "regular") is Step.SETTLE
    assert Label.objects.get(image=task.image, current=True).kind == "regular"


def test_two_who_disagree_call_a_third_and_then_an_adjudicator(cast: Cast) -> None:
    task = needing(cast, 2)
    third = make_user("tess", (Role.READER, None))
    read(cast.rita, "regular")
    assert read(cast.ravi, "green_filter") is Step.FURTHER_READER
    assert read(third, "lugol_iodine") is Step.ADJUDICATE
    assert read(cast.ada, "green_filter", role="adjudicator", note="a green cast") is Step.SETTLE
    label = Label.objects.get(image=task.image, current=True)
    assert (label.kind, label.provenance, label.actor) == ("green_filter", Provenance.ADJUDICATION, cast.ada)
    assert len(label.basis["reads"]) == 4


def test_who_cannot_tell_calls_another_reader(cast: Cast) -> None:
    make_task(cast.north)
    assert read(cast.rita, "cannot_tell") is Step.FURTHER_READER
    assert read(cast.ravi, "cannot_tell") is Step.ADJUDICATE


def test_a_second_answer_is_refused_and_the_first_stands(cast: Cast) -> None:
    task = needing(cast, 2)
    read(cast.rita, "regular")
    with pytest.raises(WrongState) as caught:
        submit_read(task=task, reader=cast.rita, answer=Answer("green_filter"))
    assert caught.value.code == "already_answered"
    assert list(Read.objects.values_list("kind", flat=True)) == ["regular"]


def test_who_never_held_the_picture_is_told_nothing(cast: Cast) -> None:
    task = make_task(cast.north)
    with pytest.raises(NotVisible):
        submit_read(task=task, reader=cast.rita, answer=Answer("regular"))


def late(cast: Cast) -> ReviewTask:
    task = make_task(cast.north)
    assert lease_next(reader=cast.rita) is not None
    Lease.objects.filter(reader=cast.rita).update(until=Now() - LEASE)
    return task


def test_a_late_answer_is_taken_while_nobody_took_the_place(cast: Cast) -> None:
    task = late(cast)
    assert submit_read(task=task, reader=cast.rita, answer=Answer("regular")).step is Step.SETTLE


@pytest.mark.parametrize("answered", [False, True])
def test_a_late_answer_is_refused_when_the_place_is_taken(cast: Cast, answered: bool) -> None:
    task = late(cast)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    if answered:
        submit_read(task=task, reader=cast.ravi, answer=Answer("regular"))
    with pytest.raises(WrongState) as caught:
        submit_read(task=task, reader=cast.rita, answer=Answer("green_filter"))
    assert caught.value.code == "too_late"
    assert not Read.objects.filter(reader=cast.rita).exists()
    assert not answered or Label.objects.filter(image=task.image).count() == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(""),
        Answer("purple"),
        Answer("unusable"),
        Answer("unusable", reasons=("ugly",)),
        Answer("regular", note="x" * 2001),
        Answer("regular", box=(10.0, 10.0, 5.0, 20.0)),
        Answer("regular", box=(0.0, 0.0, 5000.0, 20.0)),
        Answer("cannot_tell", role="adjudicator", note="why"),
        Answer("regular", role="adjudicator", note=" "),
    ],
)
def test_an_answer_that_cannot_be_used_says_why_and_keeps_the_lease(cast: Cast, answer: Answer) -> None:
    task = make_task(cast.north)
    lease_next(reader=cast.rita)
    with pytest.raises(BadInput):
        submit_read(task=task, reader=cast.rita, answer=answer)
    assert Lease.objects.filter(reader=cast.rita, ended__isnull=True).exists()
    assert not Read.objects.exists()


def test_an_answer_costs_six_queries_and_the_last_one_twelve(cast: Cast) -> None:
    task = needing(cast, 2)
    for reader, most in ((cast.rita, 6), (cast.ravi, 6), (cast.ada, 12)):
        lease = lease_next(reader=reader)
        assert lease is not None
        answer = Answer("green_filter" if reader == cast.rita else "regular")
        used = queries(partial(submit_read, task=lease.task, reader=reader, answer=answer))
        assert used <= most, used
    task.refresh_from_db()
    assert task.state == "closed"
