"""The house stands: the application's role owns nothing, and append-only tables are."""

import pytest
from django.db import DatabaseError, connection

from portal.audit.models import AuditEvent

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_application_connects_as_a_role_that_owns_no_table() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tableowner = current_user")
        assert cursor.fetchone() == (0,)


def test_an_audit_event_cannot_be_changed() -> None:
    AuditEvent.objects.create(action="x", subject_type="y")
    with pytest.raises(DatabaseError):
        AuditEvent.objects.update(action="z")
