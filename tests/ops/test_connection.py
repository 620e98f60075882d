"""A connection that is kept from request to request: looked at, and asked only where something has come."""

from __future__ import annotations

import time

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests import servers


@pytest.mark.django_db(transaction=True)
def test_a_connection_is_usable_until_its_server_closes_it_and_nothing_is_asked() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (backend,) = cursor.fetchone()
    with CaptureQueriesContext(connection) as asked:
        assert connection.is_usable()
    assert len(asked) == 0
    with psycopg.connect(servers.postgres.url(), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [backend])
    until = time.monotonic() + 20
    while connection.is_usable() and time.monotonic() < until:
        time.sleep(0.02)
    assert not connection.is_usable()
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)
