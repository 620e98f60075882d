"""A site's page: what it sent, what became of it, what is awaited, how much it may hold."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.images.models import UploadFile
from portal.web.shares import wilson
from portal.web.site_selectors import site_page
from tests.cast import Cast, make_image, make_upload

pytestmark = pytest.mark.django_db


def _fill(cast: Cast) -> None:
    for number in range(3):
        make_image(cast.north, state="settled", kind="regular", patient=f"P{number}")
    make_image(cast.north, state="settled", kind="green_filter", patient="P0")
    make_image(cast.north, state="in_review", patient="P1")
    make_image(cast.north, state="quarantined", patient="P1")
    make_image(cast.north, state="withdrawn", patient="P9")
    make_image(cast.north, patient=None)
    make_image(cast.river, state="settled", kind="lugol_iodine")
    UploadFile.objects.create(upload=make_upload(cast.north), name="never.jpg", outcome="missing", table_row=2)


def test_it_counts_what_the_site_sent_and_nobody_elses(cast: Cast) -> None:
    _fill(cast)
    page = site_page(cast.north)
    assert (page.images, page.patients) == (7, 3)
    assert dict(page.fates) == {
        "settled by people": 4, "accepted": 0, "waiting for readers": 1, "in work": 1, "in quarantine": 1, "rejected or failed": 0,
        "taken back": 1,
    }  # fmt: skip
    assert [(row.kind, row.images.hits, row.patients.hits, row.patients.total) for row in page.kinds] == [
        ("regular", 3, 3, 3),
        ("green_filter", 1, 1, 3),
    ]
    awaited = page.awaited
    assert (awaited.in_work, awaited.in_review, awaited.rows_without_file, awaited.without_patient, awaited.quarantined) == (1, 1, 1, 1, 1)
    assert awaited.oldest_question is not None
    assert page.chart is not None
    assert sum(sum(one["values"]) for one in page.chart["series"]) == 8


def test_its_queries_do_not_grow_with_the_images(cast: Cast) -> None:
    _fill(cast)
    with CaptureQueriesContext(connection) as few:
        site_page(cast.north)
    _fill(cast)
    with CaptureQueriesContext(connection) as more:
        site_page(cast.north)
    assert len(few) == len(more) <= 10


def test_the_sites_staff_and_the_administrators_see_it_others_do_not(cast: Cast) -> None:
    _fill(cast)
    address = f"/sites/{cast.north.pk}/"
    for user in (cast.alice, cast.lena, cast.max, cast.sys):
        page = cast.client(user).get(address).content.decode()
        assert "settled by people" in page
        assert ("Set the limits" in page) == (user == cast.sys)
    assert cast.client(cast.bob).get(address).status_code == 404
    assert cast.client(cast.rita).get(address).status_code == 403


def test_the_administrator_sets_limits_there(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    browser.post(f"/sites/{cast.north.pk}/limits/", {"gigabytes": "1.5", "max_files": "", "max_in_work": "0"})
    page = browser.get(f"/sites/{cast.north.pk}/").content.decode()
    assert "0 bytes of 1.5 GB" in page
    assert browser.post(f"/sites/{cast.north.pk}/limits/", {"gigabytes": "-1"}).status_code == 400


def test_the_stores_page_shows_checks_and_begins_one(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    assert "No check yet" in browser.get("/store/").content.decode()
    browser.post("/store/check/")
    assert "running" in browser.get("/store/").content.decode()
    assert cast.client(cast.max).get("/store/").status_code == 403


def test_an_interval_keeps_within_its_bounds() -> None:
    none, some, all_ = wilson(0, 10), wilson(3, 10), wilson(10, 10)
    assert (none.low, round(all_.high or 0.0, 9)) == (0.0, 1.0)
    assert some.low is not None
    assert some.high is not None
    assert (round(some.low, 4), round(some.high, 4)) == (0.1078, 0.6032)
    assert wilson(0, 0).value is None
