"""How far reading has come, by site and week; how long questions wait; which nobody may be given. In a fixed number of queries."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Role, User
from portal.reviews import progress
from portal.reviews.models import ReaderSettings, ReviewTask
from portal.reviews.progress import by_site, by_week, paces, reading_now, waiting
from portal.reviews.remaining import Left, Pace, Waiting, left
from tests.cast import Cast, make_image, make_read, make_task, make_user

NOW = datetime.now(UTC)


# ---- the estimate -----------------------------------------------------------------------------------------------------
def test_what_is_left_by_hand() -> None:
    now = Waiting(open_tasks=100, given=20, missing=180, adjudication=5, settled=200, answers=440, adjudicated=10)
    found = left(now, Pace(400, 10.0, 8.0), None)
    assert isinstance(found, Left)
    assert (found.reads, found.adjudications) == (100 * 2.2 - 20, 5 + 0.05 * 100)
    assert found.hours == pytest.approx((200 * 10 + 10 * 10) / 3600)
    assert found.low == pytest.approx((180 + 5) * (10 - 1.96 * 0.4) / 3600)
    assert found.high == pytest.approx((200 + 10) * (10 + 1.96 * 0.4) / 3600)
    assert left(now, None, None) is None
    assert left(now, Pace(19, 10.0, 1.0), None) is None
    few = left(Waiting(10, 0, 20, 0, settled=3, answers=9, adjudicated=3), Pace(50, 36.0, 0.0), Pace(50, 360.0, 0.0))
    assert few is not None
    assert few.hours == pytest.approx(20 * 36 / 3600), "three settled images say nothing of the rest"


# ---- by site and week -------------------------------------------------------------------------------------------------
def closed(task: ReviewTask, *, after: timedelta, ago: timedelta = timedelta(days=1)) -> None:
    ReviewTask.objects.filter(pk=task.pk).update(state="closed", created=NOW - ago - after, closed=NOW - ago)


@pytest.mark.django_db
def test_each_site_with_what_waits_and_how_long_it_took(cast: Cast) -> None:
    for days in range(1, 11):
        task = make_task(cast.north)
        for reader in (cast.rita, cast.ravi):
            make_read(task, reader)
        if days == 10:
            make_read(task, cast.ada, role="adjudicator")
        closed(task, after=timedelta(days=days))
    long_ago = make_task(cast.north)
    closed(long_ago, after=timedelta(days=300), ago=timedelta(days=200))
    waits = make_task(make_image(cast.north, state="in_review", patient="W"))
    ReviewTask.objects.filter(pk=waits.pk).update(reads_needed=3, created=NOW - timedelta(days=4))
    make_read(waits, cast.ravi)
    ReviewTask.objects.filter(pk=make_task(cast.river).pk).update(state="adjudication")
    ReviewTask.objects.create(image=make_image(cast.river, state="settled"), purpose="gold", for_reader=cast.rita)
    north, river = by_site(ReviewTask.objects.all())
    assert (north.name, north.asked, north.open, north.settled, north.adjudicated, north.answers) == ("North", 12, 1, 11, 1, 20)
    assert (north.images, north.patients, north.given, north.missing) == (1, 1, 1, 2)
    assert (north.turned, north.turned_patients) == (10, 1)
    assert north.median == timedelta(days=5.5)
    assert north.p90 == timedelta(days=9.1)
    assert north.oldest == NOW - timedelta(days=4)
    assert (river.name, river.open, river.adjudication, river.settled, river.median) == ("River", 0, 1, 1, None)
    assert waiting([north, river]) == Waiting(1, 1, 2, 1, 12, 20, 1)


@pytest.mark.django_db
def test_each_week_with_what_was_asked_answered_and_settled(cast: Cast) -> None:
    this_week = make_task(cast.north)
    make_read(this_week, cast.ravi)
    make_read(this_week, cast.rita)
    make_read(this_week, cast.ada, role="adjudicator")
    ReviewTask.objects.filter(pk=this_week.pk).update(state="closed", closed=datetime.now(UTC))
    before = make_task(cast.north)
    ReviewTask.objects.filter(pk=before.pk).update(created=NOW - timedelta(weeks=3))
    ReviewTask.objects.filter(pk=make_task(cast.north).pk).update(created=NOW - timedelta(weeks=30))
    old, new = by_week(ReviewTask.objects.all())
    assert (old.asked, old.answers, old.settled, old.adjudicated) == (1, 0, 0, 0)
    assert (new.asked, new.answers, new.settled, new.adjudicated) == (1, 2, 0, 1)
    assert timedelta(weeks=2) < new.begins - old.begins < timedelta(weeks=4)


@pytest.mark.django_db
def test_paces_by_role(cast: Cast) -> None:
    task = make_task(cast.north)
    make_read(task, cast.rita, seconds=4.0)
    make_read(task, cast.ravi, seconds=8.0)
    make_read(make_task(cast.north), cast.ravi, seconds=0.0)
    assert paces() == {"reader": Pace(2, 6.0, 2.0)}


# ---- who is there -----------------------------------------------------------------------------------------------------
def names(people: object) -> list[str]:
    return [person.name for person in people]  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_who_reads_now(cast: Cast) -> None:
    assert names(reading_now()) == ["Rita", "Ravi", "Ada"]
    ReaderSettings.objects.create(reader=cast.rita, away_from=date(2000, 1, 1), away_until=date(2000, 2, 1))
    assert "Rita" in names(reading_now())
    ReaderSettings.objects.filter(pk=cast.rita.pk).update(away_until=None)
    User.objects.filter(pk=cast.ada.pk).update(is_active=False)
    assert names(reading_now()) == ["Ravi"]


@pytest.mark.django_db
def test_many_questions_take_as_many_queries_as_few(cast: Cast) -> None:
    def everything() -> None:
        tasks = ReviewTask.objects.all()
        by_site(tasks), by_week(tasks), paces(), list(reading_now())

    for number in range(3):
        make_read(make_task(cast.north), cast.ravi, seconds=number)
    with CaptureQueriesContext(connection) as few:
        everything()
    for number in range(12):
        make_read(make_task(cast.river), make_user(f"reader{number}", (Role.READER, None)), seconds=number)
    with CaptureQueriesContext(connection) as many:
        everything()
    assert len(many) == len(few) == 7
    assert progress.WEEKS == 12
