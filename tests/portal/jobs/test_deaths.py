"""After a worker's death: alone, and out after three deaths alone."""

from collections.abc import Callable

import pytest

from portal.jobs import services
from portal.jobs.models import Job

Expire = Callable[[], int]


@pytest.mark.django_db
def test_a_live_lease_is_left_alone() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    services.claim("sanitise", worker="w")
    assert services.sweep() == []
    assert Job.objects.get().state == "claimed"


@pytest.mark.django_db
def test_after_a_death_in_a_batch_its_rows_are_claimed_one_at_a_time_and_nobody_is_blamed(expire: Expire) -> None:
    services.enqueue_many(kind="sanitise", subject_ids=[1, 2, 3])
    services.claim("sanitise", worker="w")
    expire()
    services.sweep()
    assert set(Job.objects.values_list("state", "alone", "deaths")) == {("queued", True, 0)}
    assert [len(services.claim("sanitise", worker="w")) for _ in range(4)] == [1, 1, 1, 0]


@pytest.mark.django_db
def test_one_alone_row_splits_no_batch_of_the_others(expire: Expire) -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    services.claim("sanitise", worker="w")
    services.enqueue_many(kind="sanitise", subject_ids=[2, 3, 4])
    expire()
    services.sweep()
    sizes = [len(services.claim("sanitise", worker="w")) for _ in range(2)]
    assert sorted(sizes) == [1, 3]


@pytest.mark.django_db
def test_three_deaths_alone_hand_the_job_to_the_sweeper_to_fail(expire: Expire) -> None:
    services.enqueue_many(kind="sanitise", subject_ids=[1, 2])
    services.claim("sanitise", worker="w")
    expire()
    assert services.sweep() == []
    for deaths in (1, 2):
        services.claim("sanitise", worker="w", limit=1)
        services.claim("sanitise", worker="w", limit=1)
        expire()
        assert services.sweep() == []
        assert set(Job.objects.values_list("deaths", flat=True)) == {deaths}
    services.claim("sanitise", worker="w")
    expire()
    (dead,) = services.sweep()
    services.fail(dead, "its worker died three times")
    row = Job.objects.get(pk=dead.job_id)
    assert (row.state, row.error, row.deaths) == ("failed", "its worker died three times", 3)


@pytest.mark.django_db
def test_a_third_death_that_nobody_failed_is_found_by_the_next_sweep(expire: Expire) -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    Job.objects.update(deaths=2)
    services.claim("sanitise", worker="w")
    expire()
    assert len(services.sweep()) == 1
    expire()
    assert len(services.sweep()) == 1


@pytest.mark.django_db
def test_a_cancel_survives_the_death_of_the_worker(expire: Expire) -> None:
    job = services.enqueue(kind="train", subject_id=1)
    services.claim("train", worker="w")
    services.cancel(job=job, actor_id=1)
    expire()
    services.sweep()
    (again,) = services.claim("train", worker="w")
    assert again.cancel_requested


@pytest.mark.django_db(transaction=True)
def test_the_sweep_rings_for_what_it_queues(expire: Expire, rings: list[str]) -> None:
    services.enqueue_many(kind="sanitise", subject_ids=[1, 2])
    services.claim("sanitise", worker="w")
    expire()
    rings.clear()
    services.sweep()
    assert rings == ["sanitise"]


@pytest.mark.django_db
def test_long_work_on_what_is_our_own_is_not_blamed_so_soon(expire: Expire) -> None:
    services.enqueue(kind="walk_chain", subject_id=1)
    for deaths in range(1, 6):
        services.claim("walk_chain", worker="w")
        expire()
        assert services.sweep() == []
        assert Job.objects.get().deaths == deaths
    Job.objects.update(deaths=19)
    services.claim("walk_chain", worker="w")
    expire()
    assert len(services.sweep()) == 1
