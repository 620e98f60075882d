"""Claiming: in batches, once, in order, only what is due."""

import threading

import pytest
from django.db import connection

from portal.jobs import services
from portal.jobs.models import Job


@pytest.mark.django_db
def test_a_batch_is_claimed_in_order_and_counts_the_attempt() -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(10, 30))
    taken = services.claim("sanitise", worker="w1", limit=5)
    assert [c.subject_id for c in taken] == [10, 11, 12, 13, 14]
    assert {c.attempt for c in taken} == {1}
    row = Job.objects.get(pk=taken[0].job_id)
    assert (row.state, row.batch_size, row.worker) == ("claimed", 5, "w1")
    assert row.lease_until is not None


@pytest.mark.django_db
def test_the_batch_of_the_kind_is_the_default() -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(100))
    assert len(services.claim("sanitise", worker="w")) == 8
    services.enqueue_many(kind="freeze", subject_ids=range(100))
    assert len(services.claim("freeze", worker="w")) == 1


@pytest.mark.django_db
def test_what_is_not_due_or_of_another_kind_is_left() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    services.release(services.claim("sanitise", worker="w"), delay=60)
    services.enqueue(kind="freeze", subject_id=1)
    assert services.claim("sanitise", worker="w") == []


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_the_same_time_never_share_a_row() -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(400))
    taken: list[int] = []

    def work() -> None:
        while claims := services.claim("sanitise", worker="w"):
            taken.extend(c.subject_id for c in claims)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(400))
