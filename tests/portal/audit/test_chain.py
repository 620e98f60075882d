"""Whoever owns the database can change the trail, but not unseen."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from portal.audit import services
from portal.audit.models import AuditEvent, AuditSeal
from portal.embedded import OWNER
from tests import servers
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


def _events(cast: Cast, count: int) -> None:
    for number in range(count):
        services.record(actor_id=cast.sys.pk, action="looked", subject=cast.north, site_id=cast.north.pk, number=number, text="é")


def _as_owner(*statements: str) -> None:
    with psycopg.connect(servers.postgres.url(role=OWNER), autocommit=True) as db:
        for table in ("audit_auditevent", "audit_auditseal"):
            db.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        for statement in statements:
            db.execute(statement)
        for table in ("audit_auditevent", "audit_auditseal"):
            db.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")


def test_sealing_covers_each_event_once_and_the_chain_is_whole(cast: Cast) -> None:
    _events(cast, 5)
    assert [services.seal(limit=2) for _ in range(4)] == [2, 2, 1, 0]
    found = services.verify()
    assert (found.sealed, found.unsealed, found.breaks) == (5, 0, ())


def test_events_that_are_not_yet_sealed_are_counted_not_blamed(cast: Cast) -> None:
    _events(cast, 2)
    services.seal()
    _events(cast, 3)
    found = services.verify()
    assert (found.sealed, found.unsealed, found.breaks) == (2, 3, ())


def test_two_beats_at_once_seal_each_event_once(cast: Cast) -> None:
    _events(cast, 40)

    def beat() -> None:
        services.seal(limit=10)
        connection.close()

    beats = [threading.Thread(target=beat) for _ in range(6)]
    for each in beats:
        each.start()
    for each in beats:
        each.join()
    assert AuditSeal.objects.count() == 40
    assert services.verify().breaks == ()


_TAMPERING: dict[str, Callable[[int], tuple[str, ...]]] = {
    "who": lambda n: (f"UPDATE audit_auditevent SET actor_id = 99 WHERE id = {n}",),
    "when": lambda n: (f"UPDATE audit_auditevent SET created = created - interval '1 day' WHERE id = {n}",),
    "details": lambda n: (f"UPDATE audit_auditevent SET details = '{{}}' WHERE id = {n}",),
    "removed": lambda n: (f"DELETE FROM audit_auditseal WHERE event_id = {n}", f"DELETE FROM audit_auditevent WHERE id = {n}"),
    "swapped": lambda n: (
        f"UPDATE audit_auditseal SET event_id = -1 * event_id WHERE event_id = {n}; "
        f"UPDATE audit_auditseal SET event_id = {n} WHERE event_id = {n + 1}; "
        f"UPDATE audit_auditseal SET event_id = {n + 1} WHERE event_id = -{n}",
    ),
}


@pytest.mark.parametrize("what", _TAMPERING)
def test_the_owners_tampering_is_found(cast: Cast, what: str) -> None:
    _events(cast, 5)
    services.seal()
    event = AuditEvent.objects.order_by("pk")[2]
    _as_owner(*_TAMPERING[what](event.pk))
    assert services.verify().breaks
    with pytest.raises(CommandError, match="was changed"):
        call_command("verify_audit")


_EVENTS, _ALTERED = int(os.environ.get("WINNOW_EVENTS", "60")), int(os.environ.get("WINNOW_ALTERED", "3"))
"""The long form: `make tamper`, 20 of each kind among 2,000."""

_KINDS: dict[str, Callable[[int], tuple[str, ...]]] = {
    "altered": lambda n: (f"UPDATE audit_auditevent SET details = jsonb_set(details, '{{number}}', '-1') WHERE id = {n}",),
    "altered by another name": lambda n: (f"UPDATE audit_auditevent SET actor_id = actor_id + 1 WHERE id = {n}",),
    "removed": lambda n: _TAMPERING["removed"](n),
    "reordered": lambda n: _TAMPERING["swapped"](n),
    "inserted": lambda n: (
        "INSERT INTO audit_auditevent (created, actor_id, action, subject_type, subject_id, site_id, details) SELECT "
        f"created - interval '2 days', actor_id, 'looked', subject_type, subject_id, site_id, details FROM audit_auditevent WHERE id = {n}",
    ),
    "inserted with a seal": lambda n: (
        f"UPDATE audit_auditseal SET previous = md5({n}::text) || md5('q') WHERE event_id = {n}",
        "INSERT INTO audit_auditevent (id, created, actor_id, action, subject_type, subject_id, site_id, details) SELECT "
        f"id + 1000000, created, actor_id, 'looked', subject_type, subject_id, site_id, details FROM audit_auditevent WHERE id = {n}",
        "INSERT INTO audit_auditseal (created, event_id, previous, digest) SELECT "
        f"created, {n} + 1000000, md5({n}::text) || md5('p'), md5({n}::text) || md5('d') FROM audit_auditseal WHERE event_id = {n}",
    ),
}


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("sealed_again", [False, True])
def test_of_each_kind_of_tampering_every_single_one_is_found(cast: Cast, kind: str, sealed_again: bool) -> None:
    services.record_all(
        services.event(actor_id=cast.sys.pk, action="looked", subject=cast.north, site_id=cast.north.pk, number=number)
        for number in range(_EVENTS)
    )
    services.seal()
    first = AuditEvent.objects.order_by("pk")[0].pk
    chosen = [first + 2 + (_EVENTS - 4) // _ALTERED * number for number in range(_ALTERED)]
    assert services.verify().breaks == ()
    _as_owner(*(statement for event in chosen for statement in _planted(kind, event)))
    if sealed_again:
        services.seal()
    assert len(services.verify().breaks) >= _ALTERED
    found = services.check()
    assert len(found.breaks) >= _ALTERED
    with pytest.raises(CommandError, match="was changed"):
        call_command("verify_audit")


def _planted(kind: str, event: int) -> tuple[str, ...]:
    if kind == "inserted with a seal":
        return _KINDS[kind](event)[1:] if event % 2 else _KINDS[kind](event)
    return _KINDS[kind](event)


def test_the_daily_walk_knows_when_the_end_was_cut_off_since_the_last(cast: Cast) -> None:
    _events(cast, 5)
    services.seal()
    assert services.check().breaks == []
    last = AuditEvent.objects.order_by("-pk")[0].pk
    _as_owner(f"DELETE FROM audit_auditseal WHERE event_id = {last}", f"DELETE FROM audit_auditevent WHERE id = {last}")
    assert len(services.check().breaks) == 1


def test_cutting_off_the_end_is_found_by_a_head_from_the_log(cast: Cast) -> None:
    _events(cast, 5)
    services.seal()
    head = services.verify().head
    last = AuditEvent.objects.order_by("-pk")[0].pk
    _as_owner(f"DELETE FROM audit_auditseal WHERE event_id = {last}", f"DELETE FROM audit_auditevent WHERE id = {last}")
    assert services.verify().breaks == ()
    assert services.verify(expected_head=head).breaks


def test_the_command_says_that_the_chain_is_whole(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    _events(cast, 2)
    services.seal()
    call_command("verify_audit", head=services.verify().head)
    assert "The chain is whole." in capsys.readouterr().out
