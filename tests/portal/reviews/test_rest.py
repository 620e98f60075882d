"""A reader says when they read: away, at most so many pictures a day. The room says why it gives nothing."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from portal.audit.models import AuditEvent
from portal.reviews import leases, rest, standing
from portal.reviews.models import Lease, Read, ReaderSettings, ReviewTask
from portal.reviews.room.versions import undo
from portal.reviews.services import Answer, lease_next, submit_read
from tests.cast import Cast, make_read, make_task

pytestmark = pytest.mark.django_db
TODAY = datetime.now(UTC).date()
DAY = timedelta(days=1)
FORM = {"digest_days": "0"}


def post(client: Client, **said: Any) -> Any:
    return client.post("/reading/when/", {**FORM, **said}, follow=True)


def answer_next(cast: Cast) -> ReviewTask:
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("regular"))
    return lease.task


def test_who_is_away_is_given_nothing_and_told_why(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.ravi)
    post(client, away_from=TODAY - DAY, away_until=TODAY + 3 * DAY)
    page = client.get("/reading/")
    assert page.context["token"] == ""
    assert f"You are away until {TODAY + 3 * DAY:%-d %B %Y}" in page.content.decode()
    assert leases.reserve(reader=cast.ravi) == []
    post(client, away_from="", away_until=TODAY - DAY)
    assert client.get("/reading/").context["token"]


@pytest.mark.parametrize(
    ("away", "given"),
    [
        ((None, None), True), ((TODAY, TODAY), False), ((TODAY, None), False), ((None, TODAY), False), ((TODAY + DAY, None), True),
        ((None, TODAY - DAY), True), ((TODAY - 2 * DAY, TODAY - DAY), True), ((TODAY + DAY, TODAY + 2 * DAY), True),
    ],
)  # fmt: skip
def test_both_days_of_an_absence_belong_to_it(cast: Cast, away: tuple[date | None, date | None], given: bool) -> None:
    make_task(cast.north)
    rest.set_times(reader=cast.ravi, times=rest.Times(*away))
    assert (lease_next(reader=cast.ravi) is not None) == given


def test_after_so_many_pictures_the_day_is_over(cast: Cast) -> None:
    for _ in range(4):
        make_task(cast.north)
    client = cast.client(cast.ravi)
    post(client, at_most_a_day="2")
    task = answer_next(cast)
    answer_next(cast)
    page = client.get("/reading/")
    assert page.context["token"] == ""
    assert "the 2 pictures that you set yourself for today" in page.content.decode()
    undo(task=answered_last(cast), reader=cast.ravi)
    assert lease_next(reader=cast.ravi) is not None
    assert task.pk != answered_last(cast).pk


def answered_last(cast: Cast) -> ReviewTask:
    return Read.objects.filter(reader=cast.ravi).latest("pk").task


def test_a_later_version_of_an_earlier_days_answer_is_no_picture_of_today(cast: Cast) -> None:
    old, slip, new = (make_task(cast.north) for _ in range(3))
    made = datetime.now(UTC) - 3 * DAY
    Read.objects.bulk_create([
        Read(task=old, reader=cast.ravi, kind="regular", current=False, created=made),
        Read(task=old, reader=cast.ravi, kind="lugol_iodine", version=2),
        Read(task=slip, reader=cast.ravi, kind="regular", current=False, undone=True),
        Read(task=new, reader=cast.ravi, kind="regular", current=False),
        Read(task=new, reader=cast.ravi, kind="lugol_iodine", version=2),
    ])  # fmt: skip
    assert standing.of(cast.ravi).answered == 0, "nobody asks"
    ReaderSettings.objects.update_or_create(reader=cast.ravi, defaults={"at_most_a_day": 5})
    assert standing.of(cast.ravi).answered == 1


def test_nothing_is_fetched_ahead_beyond_the_day(cast: Cast) -> None:
    for _ in range(4):
        make_task(cast.north)
    rest.set_times(reader=cast.ravi, times=rest.Times(at_most_a_day=2))
    lease_next(reader=cast.ravi)
    assert len(leases.reserve(reader=cast.ravi)) == 1
    assert Lease.objects.count() == 2


def test_what_cannot_be_is_refused_in_words(cast: Cast) -> None:
    client = cast.client(cast.rita)
    refused = post(client, away_from=TODAY, away_until=TODAY - DAY)
    assert refused.status_code == 400
    assert "before the first" in refused.content.decode()
    assert post(client, at_most_a_day="0").status_code == 400
    assert post(client, digest_days="2").status_code == 400
    assert post(client, languages=["xx"]).status_code == 400
    assert not ReaderSettings.objects.exists()


def test_the_trail_says_what_was_changed_and_not_to_what(cast: Cast) -> None:
    post(cast.client(cast.rita), away_from=TODAY, languages=["sw", "en"])
    event = AuditEvent.objects.get(action="reading_times_set")
    assert (event.actor_id, event.details) == (cast.rita.pk, {"changed": ["away_from", "languages"]})
    assert ReaderSettings.objects.get(reader=cast.rita).languages == ["en", "sw"]


def test_the_keys_of_a_reader_stay_when_their_times_change(cast: Cast) -> None:
    ReaderSettings.objects.create(reader=cast.rita, keys={"next": "j"}, low_bandwidth=True)
    post(cast.client(cast.rita), digest_days="7")
    own = ReaderSettings.objects.get(reader=cast.rita)
    assert (own.keys, own.low_bandwidth, own.digest_days) == ({"next": "j"}, True, 7)


def test_only_who_reads_has_such_a_page(cast: Cast) -> None:
    assert [cast.client(person).get("/reading/when/").status_code for person in (cast.ada, cast.stella, cast.alice)] == [200, 403, 403]


def test_an_adjudicator_is_first_given_what_they_can_read_the_notes_of(cast: Cast) -> None:
    foreign, plain = make_task(cast.north), make_task(cast.north)
    for task, reader, note in ((foreign, cast.rita, "ni vigumu kusema"), (plain, cast.ravi, "hard to say")):
        make_read(task, reader, note=note)
        ReviewTask.objects.filter(pk=task.pk).update(state="adjudication", priority=1.0 if task == foreign else 0.0)
    ada = cast.client(cast.ada)
    assert given(ada) == foreign, "nobody has said what they read"
    rest.set_times(reader=cast.rita, times=rest.Times(languages=["sw"]))
    rest.set_times(reader=cast.ravi, times=rest.Times(languages=["en", "no"]))
    rest.set_times(reader=cast.ada, times=rest.Times(languages=["no"]))
    assert given(ada) == plain
    ReviewTask.objects.filter(pk=foreign.pk).update(created=datetime.now(UTC) - 8 * DAY)
    assert given(ada) == foreign, "what has waited for a week goes to anybody"


def test_what_nobody_else_can_read_is_given_rather_than_nothing(cast: Cast) -> None:
    task = make_task(cast.north)
    make_read(task, cast.rita, note="ni vigumu kusema")
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication")
    rest.set_times(reader=cast.rita, times=rest.Times(languages=["sw"]))
    rest.set_times(reader=cast.ada, times=rest.Times(languages=["no"]))
    assert given(cast.client(cast.ada)) == task


def given(client: Client) -> ReviewTask:
    """What the room of adjudication gives; it is given back at once."""
    lease = Lease.objects.get(token=client.get("/adjudication/").context["token"])
    Lease.objects.all().delete()
    return lease.task
