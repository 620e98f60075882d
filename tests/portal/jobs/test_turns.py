"""Sites take turns: a long backlog of one costs another at most half of its pace, and nothing starves."""

from __future__ import annotations

from collections import Counter

import pytest
from django.db.models.functions import Now

from portal.accounts.models import Site
from portal.images.models import Image
from portal.jobs import services
from portal.jobs.models import Job
from tests.cast import Cast, make_upload

pytestmark = pytest.mark.django_db


def _images(site: Site, count: int) -> list[int]:
    upload = make_upload(site)
    rows = [
        Image(site=site, upload=upload, original_name="x", sha256=f"{site.pk:04}{number:060}", size=1) for number in range(count)
    ]  # fmt: skip
    return [image.pk for image in Image.objects.bulk_create(rows)]


def _claims_until_done(wanted: set[int], *, limit: int | None = None) -> int:
    """How many claims it takes until all of these subjects were taken in hand."""
    claims = 0
    while wanted:
        taken = services.claim("sanitise", worker="w", limit=limit)
        assert taken, "work is left, but nothing was claimed"
        wanted = wanted - {claim.subject_id for claim in taken}
        claims += 1
    return claims


def _wait_alone(ids: list[int], limit: int | None) -> int:
    services.put(kind="sanitise", subject_ids=ids)
    claims = _claims_until_done(set(ids), limit=limit)
    Job.objects.all().delete()
    return claims


@pytest.mark.parametrize("limit", [None, 1, 3, 16])
def test_fifty_that_come_after_two_thousand_of_another_site_wait_at_most_twice_as_long_as_alone(cast: Cast, limit: int | None) -> None:
    many, few = _images(cast.north, 2_000), _images(cast.river, 50)
    alone = _wait_alone(few, limit)
    services.put(kind="sanitise", subject_ids=many)
    services.claim("sanitise", worker="w", limit=limit)
    services.put(kind="sanitise", subject_ids=few)
    assert _claims_until_done(set(few), limit=limit) <= 2 * alone + 1


def test_a_site_alone_gets_every_batch_whole(cast: Cast) -> None:
    services.put(kind="sanitise", subject_ids=_images(cast.north, 40))
    assert [len(services.claim("sanitise", worker="w")) for _ in range(6)] == [8, 8, 8, 8, 8, 0]


def test_a_site_with_little_leaves_the_rest_of_the_batch_to_the_others(cast: Cast) -> None:
    many, few = _images(cast.north, 40), _images(cast.river, 2)
    services.put(kind="sanitise", subject_ids=[*many, *few])
    taken = services.claim("sanitise", worker="w")
    assert len(taken) == 8
    assert set(few) < {claim.subject_id for claim in taken}


def test_with_more_sites_than_a_batch_holds_each_gets_its_turn(cast: Cast) -> None:
    sites = [Site.objects.create(name=f"s{number}", slug=f"s{number}") for number in range(12)]
    for site in sites:
        services.put(kind="sanitise", subject_ids=_images(site, 20))
    first = [claim.subject_id for _ in range(12) for claim in services.claim("sanitise", worker="w")]
    shares = Counter(Image.objects.filter(pk__in=first).values_list("site", flat=True))
    assert sorted(shares.values()) == [8] * 12


def test_within_a_site_the_order_stays(cast: Cast) -> None:
    many, few = _images(cast.north, 60), _images(cast.river, 20)
    services.put(kind="sanitise", subject_ids=many)
    services.put(kind="sanitise", subject_ids=few)
    taken: list[int] = []
    while claims := services.claim("sanitise", worker="w"):
        taken += [claim.subject_id for claim in claims]
    assert [pk for pk in taken if pk in set(many)] == many
    assert [pk for pk in taken if pk in set(few)] == few


def test_what_must_be_done_alone_has_its_turn_too(cast: Cast) -> None:
    north, river = _images(cast.north, 30), _images(cast.river, 30)
    services.put(kind="sanitise", subject_ids=[*north, *river])
    lone = {north[0], river[0]}
    Job.objects.filter(subject_id__in=lone).update(alone=True, not_before=Now())
    batches = []
    while claims := services.claim("sanitise", worker="w"):
        batches.append({claim.subject_id for claim in claims})
    assert sum(len(batch) for batch in batches) == 60
    assert [batch for batch in batches if batch & lone] == [{pk} for batch in batches for pk in batch if pk in lone]


def test_work_of_no_site_is_claimed_as_ever() -> None:
    services.enqueue_many(kind="freeze", subject_ids=[5, 3])
    assert [services.claim("freeze", worker="w")[0].subject_id for _ in range(2)] == [5, 3]
    assert set(Job.objects.values_list("site_id", flat=True)) == {0}


def test_each_job_knows_whose_it_is_whichever_way_it_was_queued(cast: Cast) -> None:
    (north,), (river,) = _images(cast.north, 1), _images(cast.river, 1)
    services.put(kind="sanitise", subject_ids=[north, river])
    services.enqueue_many(kind="analyse", subject_ids=[north, river, 999])
    owners = dict(Job.objects.filter(kind="sanitise").values_list("subject_id", "site_id"))
    assert owners == {north: cast.north.pk, river: cast.river.pk}
    assert list(Job.objects.filter(kind="analyse").order_by("pk").values_list("site_id", flat=True)) == [cast.north.pk, cast.river.pk, 0]
