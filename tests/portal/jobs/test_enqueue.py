"""Into the queue: once while in work, one ring a transaction, and no harm from a missing Redis."""

import time

import pytest
import redis
from django.db import transaction

from portal.celery import app
from portal.jobs import bell, services
from portal.jobs.models import Job
from tests import servers


@transaction.atomic
def _enqueue_and_roll_back() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    raise ZeroDivisionError


@pytest.mark.django_db
def test_the_same_work_is_queued_once_while_in_work() -> None:
    first = services.enqueue(kind="sanitise", subject_id=1)
    assert services.enqueue(kind="sanitise", subject_id=1).pk == first.pk
    services.claim("sanitise", worker="w")
    assert services.enqueue(kind="sanitise", subject_id=1).pk == first.pk
    assert Job.objects.count() == 1


@pytest.mark.django_db
def test_work_that_has_ended_may_be_queued_anew() -> None:
    first = services.enqueue(kind="sanitise", subject_id=1)
    services.complete(services.claim("sanitise", worker="w")[0])
    assert services.enqueue(kind="sanitise", subject_id=1).pk != first.pk


@pytest.mark.django_db
def test_many_are_returned_in_the_order_asked_with_those_already_in_work() -> None:
    old = services.enqueue(kind="sanitise", subject_id=7)
    jobs = services.enqueue_many(kind="sanitise", subject_ids=[9, 7, 8, 9])
    assert [job.subject_id for job in jobs] == [9, 7, 8, 9]
    assert jobs[1].pk == old.pk
    assert Job.objects.count() == 3


@pytest.mark.django_db
def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        services.enqueue(kind="dance", subject_id=1)


@pytest.mark.django_db(transaction=True)
def test_a_thousand_in_one_transaction_ring_once_for_each_kind(rings: list[str]) -> None:
    with transaction.atomic():
        for n in range(1000):
            with transaction.atomic():
                services.enqueue(kind="sanitise" if n % 2 else "analyse", subject_id=n)
        assert rings == []
    assert sorted(rings) == ["analyse", "sanitise"]


@pytest.mark.django_db(transaction=True)
def test_a_rolled_back_savepoint_takes_no_ring_from_the_others(rings: list[str]) -> None:
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError):
            _enqueue_and_roll_back()
        services.enqueue(kind="sanitise", subject_id=2)
    assert rings == ["sanitise"]
    assert list(Job.objects.values_list("subject_id", flat=True)) == [2]


@pytest.mark.django_db(transaction=True)
def test_no_ring_without_a_commit(rings: list[str]) -> None:
    with pytest.raises(ZeroDivisionError):
        _enqueue_and_roll_back()
    assert rings == []


@pytest.fixture
def fresh_bell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bell, "_pool", None)
    monkeypatch.setattr(bell, "_silent_until", 0.0)


@pytest.mark.django_db(transaction=True)
def test_a_ring_reaches_the_queue_of_its_kind(fresh_bell: None) -> None:
    broker = redis.Redis(unix_socket_path=str(servers.redis.socket))
    broker.delete("gpu.analyse")
    services.enqueue(kind="analyse", subject_id=1)
    assert broker.llen("gpu.analyse") == 1
    broker.delete("gpu.analyse")


@pytest.mark.django_db(transaction=True)
def test_rings_do_not_pile_up_before_a_busy_worker(fresh_bell: None) -> None:
    broker = redis.Redis(unix_socket_path=str(servers.redis.socket))
    for n in range(30):
        services.enqueue(kind="analyse", subject_id=n)
    assert broker.llen("gpu.analyse") == 8
    broker.delete("gpu.analyse")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("away", ["unix:///nowhere/redis.sock", "unreachable", "hangs"])
def test_a_missing_redis_neither_fails_nor_holds_up_a_request(
    away: str, fresh_bell: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    import socket

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = {"unreachable": "redis://127.0.0.1:1/0", "hangs": f"redis://127.0.0.1:{listener.getsockname()[1]}/0"}.get(away)
    if away == "hangs":
        listener.listen()
    monkeypatch.setattr(app.conf, "broker_url", address or "redis+socket:///nowhere/redis.sock")
    began = time.monotonic()
    for n in range(5):
        services.enqueue(kind="sanitise", subject_id=n)
    assert time.monotonic() - began < 2.5
    assert Job.objects.count() == 5
    listener.close()
