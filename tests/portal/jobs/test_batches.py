"""The end of a batch: one transaction, and a fence for each of its jobs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Site
from portal.jobs import services
from portal.jobs.batches import finish_many
from portal.jobs.models import Job
from portal.jobs.services import Claim

pytestmark = pytest.mark.django_db(transaction=True)


def _claims(count: int) -> list[Claim]:
    services.enqueue_many(kind="analyse", subject_ids=range(1, count + 1))
    return services.claim("analyse", worker="w")


def _write(claims: Sequence[Claim]) -> None:
    Site.objects.bulk_create(Site(name=f"result {claim.subject_id}", slug=f"r{claim.subject_id}") for claim in claims)


def _written() -> set[str]:
    return set(Site.objects.values_list("slug", flat=True))


def test_all_results_and_all_ends_are_written_together() -> None:
    claims = _claims(5)
    assert finish_many(claims, _write) == claims
    assert _written() == {"r1", "r2", "r3", "r4", "r5"}
    assert set(Job.objects.values_list("state", flat=True)) == {"done"}


def test_one_lost_claim_leaves_out_its_own_result_alone() -> None:
    claims = _claims(4)
    Job.objects.filter(pk=claims[1].job_id).update(attempt=claims[1].attempt + 1)
    assert finish_many(claims, _write) == [claims[0], *claims[2:]]
    assert _written() == {"r1", "r3", "r4"}
    assert Job.objects.get(pk=claims[1].job_id).state == "claimed"


def test_a_batch_that_was_taken_over_whole_writes_nothing(expire: Callable[[], int]) -> None:
    claims = _claims(3)
    expire()
    services.sweep()
    assert finish_many(claims, _write) == []
    assert _written() == set()


def test_a_death_before_the_commit_leaves_every_job_to_the_next_worker(expire: Callable[[], int]) -> None:
    claims = _claims(3)

    def dies(held: Sequence[Claim]) -> None:
        _write(held)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finish_many(claims, dies)
    assert _written() == set()
    expire()
    services.sweep()
    assert set(Job.objects.values_list("state", "alone")) == {("queued", True)}


def test_what_the_database_refuses_of_one_keeps_no_batch_mate_from_ending() -> None:
    claims = _claims(3)
    Site.objects.create(name="taken", slug="r2")
    with pytest.raises(IntegrityError):
        finish_many(claims, _write)
    assert Job.objects.get(subject_id=1).state == "done"
    assert Job.objects.get(subject_id=2).state == "claimed"
    assert Job.objects.get(subject_id=3).state == "done"


def test_a_batch_costs_as_many_statements_as_one() -> None:
    counts = []
    for count in (1, 12):
        claims = _claims(count)
        Job.objects.filter(pk__in=[claim.job_id for claim in claims]).update(batch_size=count)
        with CaptureQueriesContext(connection) as queries:
            finish_many(claims, lambda held: None)
        counts.append(len(queries))
        Job.objects.all().delete()
    assert counts[0] == counts[1]
