"""Whoever owns the database can change the trail, but not unseen."""

from __future__ import annotations

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
