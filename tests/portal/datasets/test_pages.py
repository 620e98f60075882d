"""The pages of data sets: who reaches what, and what they say."""

import io
import zipfile
from typing import Any

import pytest

from portal.audit.models import AuditEvent
from portal.datasets.models import Snapshot
from portal.datasets.query import Query
from portal.datasets.services import create_snapshot
from tests.cast import Cast, make_image, make_snapshot


def _some(cast: Cast) -> None:
    for n, kind in enumerate(["regular", "green_filter", "lugol_iodine"]):
        make_image(cast.north, state="settled", patient=f"P{n}", kind=kind)
    make_image(cast.river, state="settled", patient="P0", kind="regular")


def _body(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_the_form_shows_live_what_would_be_in_it(cast: Cast) -> None:
    _some(cast)
    client = cast.client(cast.max)
    page = client.get("/snapshots/new/").content.decode()
    assert 'hx-get="/snapshots/preview/"' in page
    every = client.get("/snapshots/preview/?provenances=human").content.decode()
    assert "<b>4</b><span>images</span>" in every
    assert "Kind by split" in every
    assert "The test split" in every
    north = client.get(f"/snapshots/preview/?provenances=human&sites={cast.north.pk}").content.decode()
    assert "<b>3</b><span>images</span>" in north


def test_freezing_leads_to_the_page_of_the_snapshot(cast: Cast) -> None:
    _some(cast)
    response = cast.client(cast.max).post("/snapshots/new/", {"name": "spring", "provenances": "human"})
    snapshot = Snapshot.objects.get()
    assert response.status_code == 302
    assert response["Location"] == f"/snapshots/{snapshot.pk}/"
    page = cast.client(cast.sys).get(response["Location"]).content.decode()
    assert snapshot.hash in page
    assert f'hx-get="/snapshots/{snapshot.pk}/state/"' in page


def test_a_refused_choice_says_why_on_the_form(cast: Cast) -> None:
    response = cast.client(cast.max).post("/snapshots/new/", {"name": "spring", "provenances": "human"})
    assert response.status_code == 400
    assert "No image fits" in response.content.decode()


def test_the_state_stops_polling_once_it_is_frozen(cast: Cast) -> None:
    snapshot = make_snapshot(by=cast.max)
    state = cast.client(cast.max).get(f"/snapshots/{snapshot.pk}/state/").content.decode()
    assert "hx-trigger" not in state
    assert f"/snapshots/{snapshot.pk}/images.csv" in state


def test_a_snapshot_is_downloaded_and_that_is_recorded(cast: Cast) -> None:
    snapshot = make_snapshot(by=cast.max)
    client = cast.client(cast.max)
    response = client.get(f"/snapshots/{snapshot.pk}/images.csv")
    assert len(_body(response).splitlines()) == 5
    archive = zipfile.ZipFile(io.BytesIO(_body(client.get(f"/snapshots/{snapshot.pk}/regular.zip"))))
    assert len([name for name in archive.namelist() if name.endswith(".jpg")]) == 2
    events = AuditEvent.objects.filter(actor_id=cast.max.pk, action__startswith="export").order_by("id")
    assert [event.action for event in events] == ["export.snapshot_csv", "export.snapshot_zip"]


def test_an_unfinished_snapshot_is_not_downloaded(cast: Cast) -> None:
    _some(cast)
    snapshot = create_snapshot(name="spring", query=Query(), actor=cast.max)
    assert cast.client(cast.max).get(f"/snapshots/{snapshot.pk}/images.csv").status_code == 409


@pytest.mark.parametrize("what", ["images.csv", "regular.zip"])
@pytest.mark.parametrize(("who", "status"), [("lena", 200), ("max", 200), ("sys", 200), ("alice", 403), ("rita", 403), ("ada", 403)])
def test_a_sites_collection_is_for_its_lead_and_the_administrators(cast: Cast, what: str, who: str, status: int) -> None:
    _some(cast)
    response = cast.client(cast.people()[who]).get(f"/collection/{cast.north.pk}/{what}")
    assert response.status_code == status
    assert AuditEvent.objects.filter(action__startswith="export", site_id=cast.north.pk).exists() == (status == 200)


def test_a_lead_does_not_know_of_another_sites_collection(cast: Cast) -> None:
    _some(cast)
    client = cast.client(cast.lena)
    theirs = client.get(f"/collection/{cast.river.pk}/images.csv")
    absent = client.get("/collection/999999/images.csv")
    assert (theirs.status_code, absent.status_code) == (404, 404)
    page = client.get("/collection/").content.decode()
    assert "North" in page
    assert "River" not in page


def test_the_collection_page_counts_images_and_patients(cast: Cast) -> None:
    _some(cast)
    make_image(cast.north, state="in_review", patient="P9")
    page = cast.client(cast.lena).get("/collection/").content.decode()
    assert '<td class="num">4 (4)</td>' in page
    assert '<td class="num">1 (1)</td>' in page


@pytest.mark.parametrize("address", ["/snapshots/", "/collection/", "/snapshots/new/"])
def test_pages_take_the_same_number_of_queries_whatever_there_is(cast: Cast, address: str, django_assert_max_num_queries: Any) -> None:
    _some(cast)
    for n in range(4):
        make_snapshot(by=cast.max, name=f"s{n}")
    client = cast.client(cast.max)
    with django_assert_max_num_queries(9):
        assert client.get(address).status_code == 200
