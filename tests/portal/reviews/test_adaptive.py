"""Adaptive reads: what readers said is believed as far as they read well, and the label says by which rule and how likely."""

from __future__ import annotations

import pytest
from django.db import ProgrammingError, transaction
from django.db.models.functions import Now

from portal.accounts.models import Role, User
from portal.audit.models import AuditEvent
from portal.jobs import services as jobs
from portal.labels.models import Label, Provenance
from portal.pipeline.handlers import HANDLERS
from portal.pipeline.tasks import measure_readers
from portal.reviews.consensus import CLEAR, Step
from portal.reviews.models import Read, Reliability, ReviewRules, ReviewTask
from portal.reviews.quality import evidence
from portal.reviews.quality.measuring import FRESH, measure, measure_when_due
from portal.reviews.room.versions import amend
from portal.reviews.services import Answer, lease_next, submit_read
from tests.cast import Cast, make_image, make_read, make_task, make_user
from tests.portal.reviews.test_lease_next import queries
from tests.portal.reviews.test_submit_read import read

pytestmark = pytest.mark.django_db


def adaptive(cast: Cast, *, asked: int = 1) -> ReviewTask:
    rules = ReviewRules.objects.create(reads_needed=asked, adaptive=True)
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(rules=rules, reads_needed=asked)
    task.refresh_from_db()
    return task


def history(cast: Cast, readers: tuple[User, ...], count: int = 30) -> None:
    """Closed questions on which these readers agreed."""
    for number in range(count):
        kind = "green_filter" if number % 5 == 0 else "regular"
        image = make_image(cast.north, state="settled", kind=kind, patient=f"H{number}")
        task = ReviewTask.objects.get(image=image)
        for reader in readers:
            make_read(task, reader, kind)


def test_of_readers_of_whom_nothing_is_known_two_are_asked(cast: Cast) -> None:
    task = adaptive(cast)
    assert read(cast.rita, "regular") is Step.FURTHER_READER
    assert read(cast.ravi, "regular") is Step.SETTLE
    basis = Label.objects.get(image=task.image, current=True).basis
    assert basis["posterior"] >= CLEAR
    assert (basis["rule"], basis["reliability"]) == (task.rules_id, None)


def test_a_reader_who_is_known_to_read_well_is_enough_where_it_is_clear(cast: Cast) -> None:
    history(cast, (cast.rita, cast.ravi, make_user("tess", (Role.READER, None))), 60)
    row = measure()
    task = adaptive(cast)
    assert read(cast.rita, "regular") is Step.SETTLE
    label = Label.objects.get(image=task.image, current=True)
    assert (label.provenance, label.basis["reliability"], label.basis["rule"]) == (Provenance.CONSENSUS, row.pk, task.rules_id)
    assert label.basis["posterior"] >= CLEAR


def test_after_three_an_adjudicator(cast: Cast) -> None:
    adaptive(cast, asked=2)
    read(cast.rita, "regular")
    assert read(cast.ravi, "green_filter") is Step.FURTHER_READER
    assert read(make_user("tess", (Role.READER, None)), "lugol_iodine") is Step.ADJUDICATE


def test_who_cannot_tell_calls_the_next_however_clear_the_others_are(cast: Cast) -> None:
    """That an image cannot be told is a word on it, and the likelihood of the others' words does not know of it."""
    history(cast, (cast.rita, cast.ravi, tess := make_user("tess", (Role.READER, None))), 60)
    measure()
    task = adaptive(cast)
    assert read(cast.ravi, "cannot_tell") is Step.FURTHER_READER
    assert read(cast.rita, "regular") is Step.FURTHER_READER
    assert read(tess, "regular") is Step.SETTLE
    assert Label.objects.get(image=task.image, current=True).basis["posterior"] >= CLEAR


def test_of_two_who_cannot_tell_an_adjudicator_is_asked_and_no_third_in_vain(cast: Cast) -> None:
    adaptive(cast)
    assert read(cast.ravi, "cannot_tell") is Step.FURTHER_READER
    assert read(cast.rita, "cannot_tell") is Step.ADJUDICATE


def test_other_rules_ask_nothing_of_it(cast: Cast) -> None:
    history(cast, (cast.rita, cast.ravi))
    measure()
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    assert read(cast.rita, "regular") is Step.FURTHER_READER
    read(cast.ravi, "regular")
    assert "posterior" not in Label.objects.get(image=task.image, current=True).basis


def test_it_costs_an_answer_one_statement(cast: Cast) -> None:
    history(cast, (cast.rita, cast.ravi))
    measure()
    counted = []
    for task in (make_task(cast.north), adaptive(cast)):
        ReviewTask.objects.filter(pk=task.pk).update(priority=1.0, reads_needed=2)
        lease = lease_next(reader=cast.ravi)
        assert lease is not None
        assert lease.task_id == task.pk
        counted.append(queries(lambda lease=lease: submit_read(task=lease.task, reader=cast.ravi, answer=Answer("cannot_tell"))))  # type: ignore[misc]
        ReviewTask.objects.filter(pk=task.pk).update(priority=0.0)
    assert counted[1] == counted[0] + 1


def test_an_amended_answer_is_weighed_likewise(cast: Cast) -> None:
    task = adaptive(cast, asked=2)
    read(cast.rita, "green_filter")
    amend(task=task, reader=cast.rita, answer=Answer("regular", confidence=1))
    assert read(cast.ravi, "regular") is Step.SETTLE
    assert Label.objects.get(image=task.image, current=True).basis["posterior"] >= CLEAR


# ---- measuring --------------------------------------------------------------------------------------------------------
def test_readers_are_measured_when_there_is_something_new(cast: Cast) -> None:
    assert measure_when_due() is None
    history(cast, (cast.rita, cast.ravi), FRESH // 2)
    measure_readers()
    claim = jobs.claim("measure_readers", worker="w")[0]
    HANDLERS["measure_readers"].work([claim])
    row = Reliability.objects.get()
    assert (row.answers, row.images, row.patients) == (FRESH, FRESH // 2, FRESH // 2)
    assert AuditEvent.objects.filter(action="readers_measured").count() == 1
    assert measure_when_due() is None
    measure_readers()
    assert jobs.claim("measure_readers", worker="w") == [], "nothing new, no work"
    figures = row.content["readers"][str(cast.rita.pk)]
    assert figures["specificity"][0] > 0.9
    assert figures["specificity"][4:] == [8, 8]
    with pytest.raises(ProgrammingError, match="Cannot update"), transaction.atomic():
        Reliability.objects.update(created=Now())


def test_measuring_takes_the_same_few_statements_for_many(cast: Cast) -> None:
    history(cast, (cast.rita, cast.ravi), 3)
    few = queries(measure)
    history(cast, (cast.rita, cast.ravi), 9)
    assert queries(measure) <= few


def test_only_first_words_in_the_open_queue_measure_a_reader(cast: Cast) -> None:
    task = make_task(cast.north)
    first = make_read(task, cast.rita, "regular", current=False)
    make_read(task, cast.rita, "green_filter", version=2, revealed=True)
    undone = make_read(task, cast.ravi, "lugol_iodine", current=False, undone=True)
    again = make_read(task, cast.ravi, "unusable", version=2)
    make_read(task, cast.ada, "regular", role="adjudicator")
    gold = ReviewTask.objects.create(image=make_image(cast.north, state="settled"), purpose="gold", for_reader=cast.rita)
    make_read(gold, cast.rita, "regular")
    assert {(one.reader, one.kind) for one in evidence.said()} == {(cast.rita.pk, "regular"), (cast.ravi.pk, "unusable")}
    assert set(evidence.own_words(Read.objects.filter(task=task))) == {first, again}
    assert undone.pk < again.pk


def test_who_answered_an_image_twice_is_one_witness(cast: Cast) -> None:
    """And what they said when they were asked again is their word, also where that is no kind."""
    image = make_image(cast.north, state="in_review")
    first = make_task(image)
    make_read(first, cast.rita, "regular")
    make_read(first, cast.ravi, "regular")
    ReviewTask.objects.filter(pk=first.pk).update(state="closed")
    again = ReviewTask.objects.create(image=image)
    make_read(again, cast.rita, "green_filter", confidence=1)
    make_read(again, cast.ravi, "cannot_tell")
    assert sorted((one.reader, one.kind, one.unsure) for one in evidence.said()) == [
        (cast.rita.pk, "green_filter", True), (cast.ravi.pk, "cannot_tell", False),
    ]  # fmt: skip
    assert (measure().answers, measure().images) == (1, 1)


def test_what_an_adjudicator_settled_is_taken_for_true(cast: Cast) -> None:
    for number in range(8):
        image = make_image(cast.north, state="settled", kind="green_filter", patient=f"A{number}", provenance=Provenance.ADJUDICATION)
        task = ReviewTask.objects.get(image=image)
        make_read(task, cast.rita, "regular")
        make_read(task, cast.ravi, "regular")
    found = measure().content["readers"][str(cast.rita.pk)]
    assert found["sensitivity"][0] == 0.0
    assert found["specificity"] is None
