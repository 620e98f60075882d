"""Reminders by e-mail: how many pictures wait, at the reader's own interval, and nothing of patients, sites or other people."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core import mail

from portal.accounts.models import User
from portal.pipeline import tasks
from portal.reviews import rest
from portal.reviews.models import Qualification, ReaderSettings, ReviewTask
from portal.reviews.room import digests
from portal.reviews.services import Answer, lease_next, set_rules, submit_read
from tests.cast import Cast, make_read, make_task

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def asks(reader: User, **times: Any) -> None:
    rest.set_times(reader=reader, times=rest.Times(**{"digest_days": 3, **times}))


def sent() -> list[tuple[str, list[str]]]:
    """Subjects and addresses of all mail, and the next beat finds the box empty."""
    found = [(str(message.subject), list(message.to)) for message in mail.outbox]
    mail.outbox.clear()
    return found


def days_pass(count: int) -> None:
    for own in ReaderSettings.objects.exclude(reminded=None):
        assert own.reminded is not None
        ReaderSettings.objects.filter(pk=own.pk).update(reminded=own.reminded - count * DAY)


def test_a_reader_is_reminded_at_their_own_interval(cast: Cast) -> None:
    make_task(cast.north), make_task(cast.north)
    asks(cast.ravi)
    for passed, expected in ((0, 1), (0, 0), (2, 0), (1, 1), (3, 1)):
        days_pass(passed)
        tasks.remind_readers()
        assert sent() == [("2 pictures wait for you in Winnow", ["ravi@example.org"])] * expected


def test_the_mail_tells_nothing_of_what_waits(cast: Cast, settings: Any) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://winnow.example.org"]
    task = make_task(cast.north)
    asks(cast.ravi)
    digests.send_due()
    (message,) = mail.outbox
    assert message.subject == "1 picture waits for you in Winnow"
    assert message.body == (
        "1 picture waits for you in the reading room. https://winnow.example.org/reading/\n\n"
        "You asked to be reminded every 3 days. No reminder comes while you are away, or on a day on which you have read.\n"
        "Change this on your page 'When I read'. https://winnow.example.org/reading/when/\n"
    )
    assert not message.attachments
    headers = str(message.message())
    for told in (task.image.original_name, "North", "P1", "E1", "Alice", "alice@", str(task.image_id) + "/"):
        assert told not in headers


def test_nobody_is_reminded_who_is_away_has_read_today_or_has_nothing_waiting(cast: Cast) -> None:
    task = make_task(cast.north)
    today = datetime.now(UTC).date()
    asks(cast.ravi, away_from=today, away_until=today + DAY)
    digests.send_due()
    assert sent() == []
    asks(cast.ravi)
    make_read(make_task(cast.river), cast.ravi)
    digests.send_due()
    assert sent() == []
    ReviewTask.objects.filter(pk=task.pk).update(state="cancelled")
    asks(cast.rita)
    digests.send_due()
    assert sent() == []
    assert ReaderSettings.objects.filter(reminded=None).count() == 2


def test_nobody_is_reminded_who_did_not_ask_or_reads_no_more(cast: Cast) -> None:
    make_task(cast.north)
    asks(cast.ravi, digest_days=0)
    asks(cast.rita)
    cast.rita.memberships.all().delete()
    asks(cast.ada)
    User.objects.filter(pk=cast.ada.pk).update(is_active=False)
    digests.send_due()
    assert sent() == []


def test_an_adjudicator_is_reminded_of_what_is_to_be_settled(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication")
    asks(cast.ada)
    asks(cast.ravi)
    digests.send_due()
    assert sent() == [("1 picture waits for you in Winnow", ["ada@example.org"])]


def test_who_is_to_qualify_is_reminded_of_the_set_alone(cast: Cast) -> None:
    make_task(cast.north)
    set_rules(site=None, qualify_agreement=0.9, actor=cast.stella)
    asks(cast.ravi)
    digests.send_due()
    assert sent() == []
    Qualification.objects.create(reader=cast.ravi, waived_by=cast.stella)
    digests.send_due()
    assert len(sent()) == 1


def test_a_mail_server_that_refuses_is_tried_again_at_the_next_beat(cast: Cast, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    make_task(cast.north)
    asks(cast.ravi)
    digests.send_due()
    before = ReaderSettings.objects.get(reader=cast.ravi).reminded
    days_pass(3)
    sent()
    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", refuses)
        assert digests.send_due() == 0
    assert "was not sent" in caplog.text
    assert "ravi@example.org" not in caplog.text
    after = ReaderSettings.objects.get(reader=cast.ravi).reminded
    assert before is not None
    assert after == before - 3 * DAY
    assert digests.send_due() == 1


def refuses(self: Any, messages: Any) -> int:
    raise ConnectionRefusedError(messages[0].to[0])


def test_two_beats_at_once_remind_once(cast: Cast) -> None:
    make_task(cast.north)
    asks(cast.ravi)
    first, second = digests.claim(), digests.claim()
    assert (len(first), len(second)) == (1, 0)


def test_where_no_mail_is_sent_nobody_counts_as_reminded(cast: Cast, settings: Any) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
    make_task(cast.north)
    asks(cast.ravi)
    assert digests.send_due() == 0
    assert ReaderSettings.objects.get(reader=cast.ravi).reminded is None
    assert "no mail is sent" in cast.client(cast.ravi).get("/reading/when/").content.decode()


def test_whoever_reads_after_a_reminder_is_left_alone_that_day(cast: Cast) -> None:
    make_task(cast.north), make_task(cast.north)
    asks(cast.ravi, digest_days=1)
    lease = lease_next(reader=cast.ravi)
    assert lease is not None
    submit_read(task=lease.task, reader=cast.ravi, answer=Answer("regular"))
    digests.send_due()
    assert sent() == []
