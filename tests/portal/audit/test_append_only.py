"""What was recorded stays: not even the application itself can change or remove it."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from portal.audit import services
from portal.audit.models import AuditEvent
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("table", ["audit_auditevent", "audit_auditseal"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET created = now()",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
        "DROP TABLE {} CASCADE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
    ],
)
def test_the_application_cannot(cast: Cast, table: str, statement: str) -> None:
    services.record(actor_id=cast.sys.pk, action="looked", subject=cast.north)
    services.seal()
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement.format(table))
    assert services.verify().sealed == 1


def test_an_event_goes_with_the_transaction_of_its_change(cast: Cast) -> None:
    with transaction.atomic():
        services.record(actor_id=cast.sys.pk, action="looked", subject=cast.north)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()
