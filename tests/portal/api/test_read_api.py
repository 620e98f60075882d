"""The read API says what the pages say, to whom they say it."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


def _get(cast: Cast, who: Any, address: str) -> Any:
    answer = cast.client(who).get(f"/api/v1/{address}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def test_an_uploader_reads_the_images_of_the_own_site(cast: Cast) -> None:
    image = make_image(cast.north, state="settled", kind="green_filter", patient="N-7")
    make_image(cast.river)
    found = _get(cast, cast.alice, "images/")["results"]
    assert [(row["id"], row["site"], row["patient"], row["kind"], row["provenance"]) for row in found] == [
        (image.pk, "north", "N-7", "green_filter", "consensus")
    ]
    assert _get(cast, cast.alice, f"images/{image.pk}/")["state"] == "settled"


def test_an_image_without_a_patient_and_without_a_label_has_none(cast: Cast) -> None:
    make_image(cast.north, patient=None)
    row = _get(cast, cast.alice, "images/")["results"][0]
    assert (row["patient"], row["exam"], row["kind"]) == ("", "", None)


def test_an_administrator_reads_all_and_a_reader_nothing(cast: Cast) -> None:
    make_image(cast.north)
    make_image(cast.river)
    assert len(_get(cast, cast.max, "images/")["results"]) == 2
    assert [site["slug"] for site in _get(cast, cast.max, "sites/")["results"]] == ["river", "north"]
    assert cast.client(cast.ravi).get("/api/v1/images/").status_code == 403


def test_images_are_filtered_by_state_and_site(cast: Cast) -> None:
    make_image(cast.north, state="clean")
    make_image(cast.north)
    make_image(cast.river, state="clean")
    assert len(_get(cast, cast.max, "images/?state=clean&site=north")["results"]) == 1
    assert _get(cast, cast.alice, "images/?site=river")["results"] == _get(cast, cast.alice, "images/?site=never")["results"] == []
    assert cast.client(cast.alice).get("/api/v1/images/?state=strange").status_code == 400


def test_pages_stay_in_place_while_new_images_arrive(cast: Cast) -> None:
    for _ in range(51):
        make_image(cast.north)
    browser = cast.client(cast.alice)
    first = browser.get("/api/v1/images/").json()
    make_image(cast.north)
    second = browser.get(first["next"]).json()
    assert len(first["results"]) == 50
    assert not {row["id"] for row in first["results"]} & {row["id"] for row in second["results"]}
    assert len(second["results"]) == 1


def test_the_number_of_queries_does_not_grow_with_the_images(cast: Cast) -> None:
    browser, counts = cast.client(cast.alice), []
    for _ in range(2):
        for _ in range(5):
            make_image(cast.north, state="settled")
        with CaptureQueriesContext(connection) as queries:
            browser.get("/api/v1/images/")
        counts.append(len(queries))
    assert counts[0] == counts[1]


def test_nothing_is_written_through_it(cast: Cast) -> None:
    image = make_image(cast.north)
    browser = cast.client(cast.alice)
    for method in ("post", "put", "patch", "delete"):
        assert getattr(browser, method)(f"/api/v1/images/{image.pk}/", {}, content_type="application/json").status_code == 405


def test_without_a_login_the_answer_is_401_in_json(cast: Cast) -> None:
    answer = Client().get("/api/v1/images/")
    assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")


def test_another_sites_image_and_an_absent_one_are_told_alike(cast: Cast) -> None:
    image = make_image(cast.river)
    browser = cast.client(cast.alice)
    hidden, absent = browser.get(f"/api/v1/images/{image.pk}/"), browser.get("/api/v1/images/987654321/")
    assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content) == (404, absent.content)


def test_the_schema_is_clean(cast: Cast, tmp_path: Any) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yaml"))
    assert "/api/v1/images/{image_id}/" in (tmp_path / "schema.yaml").read_text()
    client = APIClient()
    client.force_login(cast.alice, backend="django.contrib.auth.backends.ModelBackend")
    assert client.get("/api/v1/schema/").status_code == 200
