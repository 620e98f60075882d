"""The pages of rules and of the queue, and what the reading page answers to what it cannot use."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from portal.reviews.models import Read, ReviewRules, ReviewTask
from tests.cast import Cast, make_image, make_read, make_task

pytestmark = pytest.mark.django_db


def token(client: Client) -> str:
    found = re.search(r'name="token" value="([^"]+)"', client.get("/reading/").content.decode())
    assert found
    return found[1]


def test_an_answer_that_cannot_be_used_comes_back_as_it_was_written(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.rita)
    response = client.post("/reading/answer/", {"token": token(client), "kind": "unusable", "note": "hard to say"})
    page = response.content.decode()
    assert response.status_code == 400
    assert "mark one reason at least" in page
    assert "hard to say" in page
    assert re.search(r'value="unusable"[^>]* checked', page)
    assert not Read.objects.exists()


def test_a_broken_answer_is_refused(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.rita)
    for broken in (
        {"box": "1,2,x,4"},
        {"box": "nan,0,5,5"},
        {"kind": "purple"},
        {"seconds": "-1"},
        {"reasons": "ugly"},
        {"note": "x" * 5000},
    ):
        assert client.post("/reading/answer/", {"token": token(client), "kind": "regular", **broken}).status_code == 400
    assert client.post("/reading/answer/", {"token": "guessed", "kind": "regular"}).status_code == 404
    assert not Read.objects.exists()


def test_a_lease_is_extended_and_given_back(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.rita)
    held = token(client)
    assert client.post("/reading/extend/", {"token": held}).json() == {"held": True}
    assert client.post("/reading/release/", {"token": held}).status_code == 302
    assert client.post("/reading/extend/", {"token": held}).json() == {"held": False}
    assert cast.client(cast.ravi).get("/reading/").context["token"]


def test_changes_come_by_post_alone(cast: Cast) -> None:
    client = cast.client(cast.ada)
    for address in ("/reading/answer/", "/reading/extend/", "/reading/release/", "/adjudication/answer/"):
        assert client.get(address).status_code == 405


def test_an_administrator_sets_a_rule(cast: Cast) -> None:
    client = cast.client(cast.max)
    response = client.post("/reading/rules/", {"site": cast.north.pk, "reads_needed": "2", "t_lo": "0.05", "t_hi": ""}, follow=True)
    assert "The rule is in force" in response.content.decode()
    rule = ReviewRules.objects.get()
    assert (rule.site, rule.reads_needed, rule.t_lo, rule.t_hi, rule.set_by) == (cast.north, 2, 0.05, None, cast.max)
    refused = client.post("/reading/rules/", {"reads_needed": "1", "t_lo": "0.9", "t_hi": "0.1"})
    assert refused.status_code == 400
    assert "above the upper one" in refused.content.decode()
    assert cast.client(cast.rita).get("/reading/rules/").status_code == 403


def test_the_queue_shows_answers_and_agreement_in_a_fixed_number_of_queries(cast: Cast) -> None:
    client = cast.client(cast.max)

    def look() -> tuple[int, str]:
        with CaptureQueriesContext(connection) as captured:
            page = client.get("/reviews/")
        assert page.status_code == 200
        return len(captured), page.content.decode()

    def fill(count: int) -> None:
        for _ in range(count):
            task = make_task(make_image(cast.north, state="in_review", patient=f"P{ReviewTask.objects.count()}"))
            for reader in (cast.rita, cast.ravi):
                make_read(task=task, reader=reader, kind="regular")

    fill(2)
    look()
    few, _ = look()
    fill(6)
    many, page = look()
    assert few == many
    assert "8 images of 8 patients" in page
    assert "1.000" in page


def test_a_settled_image_is_asked_about_again(cast: Cast) -> None:
    image = make_image(cast.north, state="settled")
    task = ReviewTask.objects.get(image=image)
    assert cast.client(cast.max).post(f"/reviews/{task.pk}/reopen/").status_code == 302
    assert ReviewTask.objects.filter(image=image, state="open").count() == 1
    assert cast.client(cast.rita).post(f"/reviews/{task.pk}/reopen/").status_code == 403
