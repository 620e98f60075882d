"""A reader sees the exam's other pictures beside theirs, and learns nothing else by it."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from PIL import Image as Picture

from portal.audit.models import AuditEvent
from portal.images.models import Image
from portal.reviews.leases import lease_next
from portal.reviews.models import Lease, ReviewTask
from portal.reviews.room import beside
from tests.cast import Cast, make_analysis, make_image, picture_bytes

pytestmark = pytest.mark.django_db


@pytest.fixture
def exam(cast: Cast) -> list[Image]:
    """One picture to be read and, of the same exam, one in each state that may be seen."""
    read = make_image(cast.north, state="in_review", patient="P7", exam="E7", p_non_regular=0.5)
    ReviewTask.objects.filter(image=read).update(priority=1)
    return [read, *(make_image(cast.north, state=state, patient="P7", exam="E7") for state in ("clean", "accepted", "settled"))]


def addresses(client: Client) -> list[str]:
    page = client.get("/reading/").content.decode()
    found = re.search(r'name="token" value="([^"]+)" />\s+<input type="hidden"\s+name="box"', page)
    keys = re.findall(r'data-beside="([^"]*)"', page)
    return [f"/reading/beside/{found[1]}/{key}/full/" for key in keys[0].split()] if found else []


def test_the_exams_other_pictures_are_shown_and_served(cast: Cast, exam: list[Image]) -> None:
    client = cast.client(cast.rita)
    found = addresses(client)
    assert len(found) == 3
    for address in found:
        for size in ("full", "small"):
            response = client.get(address.replace("full", size))
            assert response.status_code == 200
            assert "no-store" in response["Cache-Control"]
            Picture.open(io.BytesIO(response.content)).load()
    viewed = set(AuditEvent.objects.filter(action="view_picture", actor_id=cast.rita.pk).values_list("subject_id", flat=True))
    assert viewed == {image.pk for image in exam[1:]}
    event = AuditEvent.objects.filter(action="view_beside").latest("id")
    assert sorted(event.details["images"]) == sorted(image.pk for image in exam[1:])


@pytest.mark.parametrize("state", ["received", "rejected", "quarantined", "withdrawn"])
def test_what_may_not_be_seen_is_not_shown(cast: Cast, exam: list[Image], state: str) -> None:
    make_image(cast.north, state=state, patient="P7", exam="E7")
    assert len(addresses(cast.client(cast.rita))) == 3


def test_other_exams_patients_and_sites_are_not_shown(cast: Cast, exam: list[Image]) -> None:
    make_image(cast.north, state="accepted", patient="P7", exam="E8")
    make_image(cast.north, state="accepted", patient="P8", exam="E7")
    make_image(cast.river, state="accepted", patient="P7", exam="E7")
    make_image(cast.north, state="accepted", patient=None)
    assert len(addresses(cast.client(cast.rita))) == 3


def test_a_picture_without_an_exam_has_none_beside_it(cast: Cast) -> None:
    make_image(cast.north, state="in_review", patient=None, p_non_regular=0.5)
    make_image(cast.north, state="accepted", patient=None)
    page = cast.client(cast.rita).get("/reading/").content.decode()
    assert "data-picture" in page
    assert 'data-beside=""' in page


def test_the_addresses_are_the_leases_own_and_die_with_it(cast: Cast, exam: list[Image]) -> None:
    client = cast.client(cast.rita)
    found = addresses(client)
    assert cast.client(cast.ravi).get(found[0]).status_code == 404
    assert cast.client(cast.alice).get(found[0]).status_code == 403
    lease = Lease.objects.get()
    assert client.get(f"/reading/beside/{lease.token}/{'0' * 32}/full/").status_code == 404
    Lease.objects.update(until=Now() - timedelta(seconds=1))
    assert [client.get(address).status_code for address in found] == [404] * 3
    lease_next(reader=cast.ravi)
    assert not set(found) & set(addresses(cast.client(cast.ravi)))


def test_a_sibling_that_is_withdrawn_meanwhile_is_gone_at_once(cast: Cast, exam: list[Image]) -> None:
    client = cast.client(cast.rita)
    before = addresses(client)
    Image.objects.filter(pk=exam[1].pk).update(state="withdrawn")
    assert sorted(client.get(address).status_code for address in before) == [200, 200, 404]


def test_order_and_number_do_not_tell_what_anybody_said(cast: Cast, exam: list[Image]) -> None:
    """The same addresses in the same order whatever the machines say of the siblings, and whatever becomes of them by that."""
    client = cast.client(cast.rita)
    before = addresses(client)
    make_analysis(exam[1], p_non_regular=0.99, kind="green_filter")
    Image.objects.filter(pk=exam[2].pk).update(state="in_review")
    assert addresses(client) == before


def test_the_order_is_not_that_of_arrival(cast: Cast) -> None:
    """Over many leases every sibling comes first at times."""
    read = make_image(cast.north, state="in_review", patient="P7", exam="E7", p_non_regular=0.5)
    for _ in range(3):
        make_image(cast.north, state="accepted", patient="P7", exam="E7")
    task = ReviewTask.objects.get(image=read)
    firsts = {beside.siblings(Lease(task=task, reader=cast.rita, token=f"token-{k}"))[0].image.pk for k in range(60)}
    assert len(firsts) == 3


def test_a_large_exam_shows_a_dozen_in_as_many_queries_as_a_small_one(cast: Cast, exam: list[Image]) -> None:
    client = cast.client(cast.rita)
    addresses(client)
    with CaptureQueriesContext(
        connection,
    ) as few:
        addresses(client)
    for k in range(15):
        make_image(cast.north, state="accepted", patient="P7", exam="E7", data=picture_bytes(seed=90_000 + k))
    with CaptureQueriesContext(connection) as many:
        assert len(addresses(client)) == beside.MOST
    assert len(many) == len(few)
