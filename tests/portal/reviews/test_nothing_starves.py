"""Readers stop, skip, forget and disagree: what they let go returns, every question ends, and nobody settles what they have read."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from portal.accounts.models import Role, User
from portal.ml import Kind
from portal.reviews import leases, rest, selectors
from portal.reviews.models import KnownImage, Lease, Purpose, Read, ReviewTask
from portal.reviews.room.versions import amend, undo
from portal.reviews.services import Answer, lease_next, release, set_rules, submit_read
from portal.reviews.skips import skip
from tests.cast import Cast, make_image, make_task, make_user

pytestmark = pytest.mark.django_db
KINDS = (Kind.REGULAR.value, Kind.GREEN_FILTER.value, Kind.LUGOL_IODINE.value)


def time_passes(span: timedelta) -> None:
    """For every lease, as if the clock had moved on."""
    for lease in Lease.objects.all():
        moved = {"until": lease.until - span} | ({"ended": lease.ended - span} if lease.ended else {})
        Lease.objects.filter(pk=lease.pk).update(**moved)


def test_a_picture_that_was_let_go_goes_to_the_next_reader(cast: Cast) -> None:
    task = make_task(cast.north)
    first = lease_next(reader=cast.rita)
    assert first is not None
    assert lease_next(reader=cast.ravi) is None
    time_passes(leases.LEASE + timedelta(seconds=1))
    second = lease_next(reader=cast.ravi)
    assert second is not None
    assert second.task == task
    assert lease_next(reader=cast.rita) is None


def test_what_was_fetched_ahead_and_never_shown_returns_sooner(cast: Cast) -> None:
    make_task(cast.north), make_task(cast.north)
    lease_next(reader=cast.rita)
    assert len(leases.reserve(reader=cast.rita)) == 1
    assert lease_next(reader=cast.ravi) is None
    time_passes(leases.AHEAD + timedelta(seconds=1))
    assert lease_next(reader=cast.ravi) is not None


def test_a_reader_who_goes_away_gives_back_what_they_hold_in_time(cast: Cast) -> None:
    make_task(cast.north)
    lease = lease_next(reader=cast.rita)
    rest.set_times(reader=cast.rita, times=rest.Times(away_from=(lease.created - timedelta(days=1)).date()))  # type: ignore[union-attr]
    assert lease_next(reader=cast.rita) is None
    time_passes(leases.LEASE + timedelta(seconds=1))
    assert lease_next(reader=cast.ravi) is not None


@pytest.mark.parametrize("seed", [1, 2])
def test_every_question_ends_whatever_readers_do(cast: Cast, seed: int) -> None:
    """Eight questions of two sites, three reads where they disagree, known pictures among them, readers who often do something else."""
    dice = random.Random(seed)
    for number in range(8):
        make_task(cast.north if number % 2 else cast.river)
    for site in (cast.north, cast.river):
        KnownImage.objects.create(image=make_image(site, state="settled"), kind="regular")
    ReviewTask.objects.filter(purpose="review").update(reads_needed=2)
    set_rules(site=None, reads_needed=2, gold_share=0.2, actor=cast.stella)
    readers = [cast.rita, cast.ravi, make_user("nora", (Role.READER, cast.north)), make_user("tess", (Role.READER, None)), cast.ada]
    for _ in range(400):
        left = ReviewTask.objects.filter(purpose=Purpose.REVIEW, state="open").exists()
        if not left and not ReviewTask.objects.filter(state="adjudication").exists():
            break
        act(dice, dice.choice(readers))
    assert not ReviewTask.objects.filter(purpose=Purpose.REVIEW).exclude(state="closed").exists()
    for task in ReviewTask.objects.filter(purpose=Purpose.REVIEW, image__known__isnull=True):
        said = {read.reader_id: read.role for read in task.reads.filter(current=True)}
        assert len(said) == task.reads.filter(current=True).count()
        first = task.reads.filter(role="reader", undone=False).order_by("id").first()
        assert first is not None
        assert not first.reader.memberships.filter(site=task.image.site).exists()
        settled = {pk for pk, role in said.items() if role == "adjudicator"}
        assert not settled & set(task.reads.filter(role="reader").values_list("reader", flat=True))


def act(dice: random.Random, reader: User) -> None:
    """One reader does one thing: mostly they answer what they are given."""
    role = "adjudicator" if reader.memberships.filter(role=Role.ADJUDICATOR).exists() else "reader"
    lease = lease_next(reader=reader, role=role)  # type: ignore[arg-type]
    does = dice.choices(["answer", "forget", "give back", "skip"], [12, 2, 1, 1])[0]
    if lease is None or does == "forget":
        time_passes(timedelta(hours=1))
    elif does == "give back":
        release(lease=lease, reader=reader)
    elif does == "skip":
        skip(lease=lease, reader=reader, reason="not_now")
        time_passes(timedelta(hours=13))
    else:
        said = dice.choice(KINDS) if role == "adjudicator" else dice.choice([*KINDS, "cannot_tell"])
        submit_read(task=lease.task, reader=reader, answer=Answer(said, role=role, note="why"))  # type: ignore[arg-type]


@pytest.fixture
def both(cast: Cast) -> User:
    """Somebody who reads and adjudicates."""
    return make_user("both", (Role.READER, None), (Role.ADJUDICATOR, None))


def answer(task: ReviewTask, reader: User, kind: str) -> None:
    leases.hold(task=task, reader=reader)
    submit_read(task=task, reader=reader, answer=Answer(kind))


def test_who_took_their_answer_back_does_not_settle_the_question_either(cast: Cast, both: User) -> None:
    task = make_task(cast.north)
    answer(task, both, "regular")
    undo(task=task, reader=both)
    Lease.objects.filter(reader=both).update(ended=Now())
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=3)
    for reader, kind in zip((cast.ravi, make_user("tess", (Role.READER, None)), make_user("tom", (Role.READER, None))), KINDS, strict=True):
        answer(task, reader, kind)
    assert ReviewTask.objects.get(pk=task.pk).state == "adjudication"
    assert not selectors.adjudicable_by(both).exists()
    assert lease_next(reader=both, role="adjudicator") is None
    assert lease_next(reader=cast.ada, role="adjudicator") is not None


def test_who_amended_their_answer_does_not_settle_the_question(cast: Cast, both: User) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2)
    task.refresh_from_db()
    answer(task, both, "cannot_tell")
    answer(task, cast.ravi, "cannot_tell")
    amend(task=task, reader=both, answer=Answer("cannot_tell", note="I looked again"))
    assert ReviewTask.objects.get(pk=task.pk).state == "adjudication"
    assert Read.objects.filter(reader=both).count() == 2
    assert lease_next(reader=both, role="adjudicator") is None
    assert lease_next(reader=cast.ada, role="adjudicator") is not None
