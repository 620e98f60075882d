"""People's buttons: cancel, retry."""

import pytest
from django.db.models.functions import Now
from django.utils import timezone

from portal.audit.models import AuditEvent
from portal.core.errors import WrongState
from portal.jobs import services
from portal.jobs.models import Job


@pytest.mark.django_db
def test_a_queued_job_is_cancelled_at_once_and_audited() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    services.cancel(job=job, actor_id=7)
    job.refresh_from_db()
    assert job.state == "cancelled"
    assert job.finished is not None
    assert AuditEvent.objects.get().actor_id == 7


@pytest.mark.django_db
def test_a_claimed_job_is_asked_to_stop_and_stops() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    held = services.claim("train", worker="w")
    services.cancel(job=job, actor_id=7)
    job.refresh_from_db()
    assert job.state == "claimed"
    assert services.extend(held) == set()
    services.stop(held[0])
    job.refresh_from_db()
    assert job.state == "cancelled"


@pytest.mark.django_db
def test_a_job_given_back_after_a_cancel_tells_who_claims_it_next() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    held = services.claim("train", worker="w")
    services.cancel(job=job, actor_id=7)
    services.release(held)
    (again,) = services.claim("train", worker="w")
    assert again.cancel_requested


@pytest.mark.django_db
def test_what_has_ended_is_not_cancelled() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    services.complete(services.claim("train", worker="w")[0])
    services.cancel(job=job, actor_id=7)
    job.refresh_from_db()
    assert job.state == "done"
    assert not AuditEvent.objects.exists()


@pytest.mark.django_db
def test_a_failed_job_is_retried_with_a_clean_sheet_and_a_new_fence() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    old = services.claim("train", worker="w")[0]
    services.fail(old, "disk full")
    again = services.retry(job=job, actor_id=7)
    assert (again.state, again.error, again.errors, again.deaths) == ("queued", "", 0, 0)
    assert services.claim("train", worker="w")[0].attempt == old.attempt + 1
    assert AuditEvent.objects.filter(action="job.retried", actor_id=7).exists()


@pytest.mark.django_db
def test_what_is_not_failed_is_not_retried() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    with pytest.raises(WrongState):
        services.retry(job=job, actor_id=7)


@pytest.mark.django_db
def test_no_retry_beside_the_same_work_queued_anew() -> None:
    job = services.enqueue(kind="train", subject_id=1)
    services.fail(services.claim("train", worker="w")[0], "x")
    services.enqueue(kind="train", subject_id=1)
    with pytest.raises(WrongState):
        services.retry(job=job, actor_id=7)
    assert Job.objects.filter(state="failed").count() == 1


@pytest.mark.django_db
def test_three_unexpected_errors_alone_are_the_last() -> None:
    job = services.enqueue(kind="sanitise", subject_id=1)
    answers = []
    for _ in range(3):
        (held,) = services.claim("sanitise", worker="w")
        answers.append(services.strike(held, "boom", pauses=(0, 0)))
    assert answers == [False, False, True]
    services.fail(held, "boom")
    job.refresh_from_db()
    assert (job.state, job.errors, job.alone) == ("failed", 3, True)


@pytest.mark.django_db
def test_the_second_and_third_try_wait() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    services.strike(services.claim("sanitise", worker="w")[0], "boom", pauses=(30, 300))
    assert services.claim("sanitise", worker="w") == []
    assert 25 < _due_in() <= 30
    Job.objects.update(not_before=Now())
    services.strike(services.claim("sanitise", worker="w")[0], "boom", pauses=(30, 300))
    assert 295 < _due_in() <= 300


def _due_in() -> float:
    return (Job.objects.get().not_before - timezone.now()).total_seconds()
