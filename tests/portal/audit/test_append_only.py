"""What was recorded stays: not even the application itself can change or remove it."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction

from portal.audit import services
from portal.audit.models import AuditEvent
from tests.cast import Cast

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("table", ["audit_auditevent", "audit_auditseal", "audit_auditcheck"])
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {} SET created = now()",
        "DELETE FROM {}",
        "TRUNCATE {} CASCADE",
        "DROP TABLE {} CASCADE",
        "ALTER TABLE {} DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "SET ROLE winnow_owner",
        "SET SESSION AUTHORIZATION winnow_owner",
        "ALTER TABLE {} DISABLE TRIGGER append_only",
        "ALTER TABLE {} OWNER TO CURRENT_USER",
        "GRANT UPDATE ON {} TO CURRENT_USER; UPDATE {} SET created = now()",
        "DROP TRIGGER append_only ON {}",
        "CREATE RULE quiet AS ON INSERT TO {} DO INSTEAD NOTHING",
        # what lets the erasure lessen rows that are else protected is of no use here: the right itself is missing
        "SET pgtrigger.ignore = '{{append_only}}'; UPDATE {} SET created = now()",
        "COPY {} FROM PROGRAM 'true'",
    ],
)
def test_the_application_cannot(cast: Cast, table: str, statement: str) -> None:
    services.record(actor_id=cast.sys.pk, action="looked", subject=cast.north)
    services.seal()
    with pytest.raises(DatabaseError), connection.cursor() as cursor:
        cursor.execute(statement.format(table, table))
    assert services.verify().sealed == 1


def test_an_event_goes_with_the_transaction_of_its_change(cast: Cast) -> None:
    with transaction.atomic():
        services.record(actor_id=cast.sys.pk, action="looked", subject=cast.north)
        transaction.set_rollback(True)
    assert not AuditEvent.objects.exists()
