"""Draining a queue: batches, unexpected errors, cancels, and what a handler leaves undone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.db.models.functions import Now

from portal.jobs import bell, services
from portal.jobs.kinds import KINDS
from portal.jobs.models import Job
from portal.jobs.services import Claim
from portal.pipeline import runner
from portal.pipeline.runner import Handler

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def rings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    rung: list[str] = []
    monkeypatch.setattr(bell, "ring", lambda kind, **_: rung.append(kind))
    monkeypatch.setattr(bell, "_BELLS", dict.fromkeys(KINDS, lambda: None))
    monkeypatch.setattr(runner, "PAUSES", (0.0, 0.0))
    return rung


def _complete_all(claims: list[Claim]) -> None:
    for claim in claims:
        services.finish(claim, lambda: None)


def _handler(work: Callable[[list[Claim]], None]) -> Handler:
    return Handler(work, lambda claim, reason: services.fail(claim, reason))


def _states() -> dict[int, str]:
    return dict(Job.objects.values_list("subject_id", "state"))


def test_everything_claimable_is_done_in_batches() -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(20))
    sizes: list[int] = []

    def work(claims: list[Claim]) -> None:
        sizes.append(len(claims))
        _complete_all(claims)

    done = runner.drain("sanitise", _handler(work))
    assert (done, sizes) == (20, [8, 8, 4])
    assert set(_states().values()) == {"done"}


def test_a_full_batch_wakes_another_worker_once(rings: list[str]) -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(20))
    runner.drain("sanitise", _handler(_complete_all))
    assert rings == ["sanitise"]


def test_a_worker_that_has_had_its_turn_rings_and_goes(rings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "TURN_SECONDS", -1)
    services.enqueue_many(kind="sanitise", subject_ids=range(10))
    assert runner.drain("sanitise", _handler(_complete_all)) == 8
    assert rings == ["sanitise", "sanitise"]


def test_an_error_in_one_item_fails_this_item_only() -> None:
    services.enqueue_many(kind="sanitise", subject_ids=range(8))

    def work(claims: list[Claim]) -> None:
        for claim in claims:
            if claim.subject_id == 3:
                raise ValueError("three is a bad number")
            services.finish(claim, lambda: None)

    runner.drain("sanitise", _handler(work))
    assert _states() == {n: "failed" if n == 3 else "done" for n in range(8)}
    bad = Job.objects.get(subject_id=3)
    assert bad.error == "ValueError: three is a bad number"
    assert bad.attempt == 4, "once in the batch, where it counts for nobody, and three times alone"
    assert set(Job.objects.exclude(subject_id=3).values_list("errors", flat=True)) == {0}


def test_what_a_handler_leaves_undone_counts_as_an_error() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    runner.drain("sanitise", _handler(lambda claims: None))
    assert Job.objects.get().error == "its handler left it undone"
    assert _states() == {1: "failed"}


def test_a_database_that_is_away_is_nobodys_fault() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    tries: list[int] = []

    def work(claims: list[Claim]) -> None:
        tries.append(1)
        if len(tries) < 5:
            raise OperationalError("server closed the connection unexpectedly")
        _complete_all(claims)

    runner.drain("sanitise", _handler(work))
    job = Job.objects.get()
    assert (job.state, job.errors, job.deaths, job.attempt) == ("done", 0, 0, 5)


def test_a_job_cancelled_in_the_hands_of_a_dead_worker_is_stopped_with_its_subject() -> None:
    job = services.enqueue(kind="train", subject_id=5)
    services.claim("train", worker="dead")
    services.cancel(job=job, actor_id=1)
    Job.objects.update(lease_until=Now() - timedelta(seconds=1))
    services.sweep()
    told: list[int] = []
    runner.drain("train", Handler(_never, _never_reason, lambda claim: told.append(claim.subject_id)))
    assert (told, _states()) == ([5], {5: "cancelled"})


def test_the_lease_is_extended_while_the_handler_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "lease_seconds", lambda kind: 1)
    services.enqueue(kind="sanitise", subject_id=1)
    swept: list[Claim] = []

    def work(claims: list[Claim]) -> None:
        time.sleep(2.2)
        swept.extend(services.sweep())
        _complete_all(claims)

    runner.drain("sanitise", _handler(work))
    job = Job.objects.get()
    assert (job.state, job.attempt, job.deaths) == ("done", 1, 0)


def test_a_process_that_is_asked_to_end_gives_back_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    stopping = threading.Event()
    monkeypatch.setattr(runner, "STOPPING", stopping)
    services.enqueue_many(kind="train", subject_ids=[1, 2])

    def work(claims: list[Claim]) -> None:
        stopping.set()
        deadline = time.monotonic() + 10
        while claims[0].job_id in services.extend(claims):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        services.complete(claims[0])

    assert runner.drain("train", _handler(work)) == 1
    assert _states() == {1: "queued", 2: "queued"}
    assert set(Job.objects.values_list("deaths", "errors", "alone")) == {(0, 0, False)}


def _never(claims: list[Claim]) -> None:
    raise AssertionError("nothing was to be worked on")


def _never_reason(claim: Claim, reason: str) -> None:
    raise AssertionError(reason)
