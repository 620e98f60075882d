"""The fence: who no longer holds a job writes nothing."""

from collections.abc import Callable

import pytest
from django.db import transaction

from portal.accounts.models import Site
from portal.jobs import services
from portal.jobs.models import Job
from portal.jobs.services import LostClaim


def _late(expire: Callable[[], int]) -> services.Claim:
    services.enqueue(kind="sanitise", subject_id=1)
    late = services.claim("sanitise", worker="slow")[0]
    expire()
    services.sweep()
    return late


@transaction.atomic
def _write_and_complete(claim: services.Claim) -> None:
    Site.objects.create(name="result of the late one", slug="late")
    services.complete(claim)


@pytest.mark.django_db(transaction=True)
def test_a_late_writer_is_refused_and_its_result_rolled_back(expire: Callable[[], int]) -> None:
    late = _late(expire)
    now = services.claim("sanitise", worker="quick")[0]
    assert now.attempt == late.attempt + 1
    with pytest.raises(LostClaim):
        _write_and_complete(late)
    assert not Site.objects.exists()
    services.complete(now)
    assert Job.objects.get().state == "done"


@pytest.mark.django_db
@pytest.mark.parametrize("end", [services.complete, services.stop, lambda c: services.fail(c, "why"), lambda c: services.strike(c, "why")])
def test_no_way_of_ending_passes_the_fence(end: Callable[[services.Claim], object], expire: Callable[[], int]) -> None:
    late = _late(expire)
    with pytest.raises(LostClaim):
        end(late)
    assert Job.objects.get().state == "queued"


@pytest.mark.django_db
def test_a_result_is_accepted_once() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    held = services.claim("sanitise", worker="w")[0]
    services.complete(held)
    with pytest.raises(LostClaim):
        services.complete(held)


@pytest.mark.django_db
def test_a_lease_that_ran_out_unnoticed_still_holds() -> None:
    services.enqueue(kind="sanitise", subject_id=1)
    held = services.claim("sanitise", worker="w")[0]
    services.complete(held)
    assert Job.objects.get().state == "done"


@pytest.mark.django_db
def test_a_sign_of_life_extends_only_what_is_still_held(expire: Callable[[], int]) -> None:
    services.enqueue_many(kind="sanitise", subject_ids=[1, 2, 3])
    one, two, three = services.claim("sanitise", worker="w")
    services.complete(two)
    services.cancel(job=Job.objects.get(subject_id=3), actor_id=1)
    expire()
    assert services.extend([one, two, three], progress={"fraction": 0.5}) == {one.job_id}
    assert services.sweep() == []
    row = Job.objects.get(subject_id=1)
    assert (row.state, row.progress) == ("claimed", {"fraction": 0.5})


@pytest.mark.django_db
def test_a_sign_of_life_without_progress_keeps_the_progress() -> None:
    services.enqueue(kind="train", subject_id=1)
    held = services.claim("train", worker="w")
    services.extend(held, progress={"fraction": 0.5})
    services.extend(held)
    assert Job.objects.get().progress == {"fraction": 0.5}
