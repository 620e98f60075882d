"""Work whose worker was killed: the pages say since when there was no sign of life, and that it goes on by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from portal.jobs import services as jobs
from portal.jobs.models import Job
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db
SILENT = "has given no sign of life since"


def test_the_pages_of_an_image_and_its_upload_say_that_its_worker_is_silent_and_when_it_goes_on(cast: Cast) -> None:
    image = make_image(cast.north)
    jobs.put(kind="sanitise", subject_ids=[image.pk])
    (claim,) = jobs.claim("sanitise", worker="w")
    alice = cast.client(cast.alice)

    def said() -> list[bool]:
        pages = [alice.get(address).content.decode() for address in (f"/images/{image.pk}/", f"/uploads/{image.upload_id}/live/")]
        return [SILENT in page for page in pages]

    assert said() == [False, False]
    until = timezone.now() + timedelta(seconds=40)
    Job.objects.filter(pk=claim.job_id).update(lease_until=until)
    page = alice.get(f"/images/{image.pk}/").content.decode()
    last = until - timedelta(seconds=jobs.lease_seconds("sanitise"))
    assert f"The machine at work on this image {SILENT} {last:%H:%M:%S} UTC." in page
    assert f"taken up again by itself after {until:%H:%M:%S} UTC" in page
    assert f"on 1 of these images {SILENT}" in alice.get(f"/uploads/{image.upload_id}/").content.decode()
    jobs.extend([claim])
    assert said() == [False, False]


def test_what_only_waits_or_has_ended_is_not_silent(cast: Cast) -> None:
    image = make_image(cast.north)
    jobs.put(kind="sanitise", subject_ids=[image.pk])
    Job.objects.update(created=timezone.now() - timedelta(hours=2))
    assert SILENT not in cast.client(cast.alice).get(f"/images/{image.pk}/").content.decode()
