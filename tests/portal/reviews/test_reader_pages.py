"""Every reader's figures for those who lead the study, in the order of names; a reader sees their own and nobody else's."""

from __future__ import annotations

import re

import pgtrigger
import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from portal.reviews.models import Reliability, ReviewTask
from portal.reviews.quality.measuring import measure
from portal.reviews.room.looking_back import AMENDABLE
from tests.cast import Cast, make_image, make_read
from tests.portal.reviews.test_quality import measuring, settled, shown

pytestmark = pytest.mark.django_db


def studied(cast: Cast, count: int = 12) -> None:
    for number in range(count):
        image, task = settled(cast, "green_filter" if number % 2 else "regular", f"P{number}")
        kind = "green_filter" if number % 2 else "regular"
        make_read(task, cast.rita, kind, seconds=3.0)
        make_read(task, cast.ravi, "regular" if number == 1 else kind, seconds=5.0)
        measuring("repeat", image, cast.rita, "cannot_tell" if number == 0 else kind)
        measuring("gold", image, cast.ravi, "regular")


def measured_long_ago() -> None:
    row = measure()
    with pgtrigger.ignore():
        Reliability.objects.filter(pk=row.pk).update(created=Now() - AMENDABLE)


def test_a_reader_sees_how_well_they_read_and_no_one_elses(cast: Cast) -> None:
    studied(cast)
    client = cast.client(cast.rita)
    assert "How well you read" not in client.get("/reading/mine/").content.decode()
    measure()
    assert "How well you read" not in client.get("/reading/mine/").content.decode(), "it was made of answers that may still be amended"
    measured_long_ago()
    page = client.get("/reading/mine/").content.decode()
    for words in (
        "How well you read",
        "11 images, 11 patients",
        "3.0 s",
        "Of one mind with oneself",
        "too few images yet",
        "Dawid and Skene",
    ):
        assert words in page, words
    assert "Ravi" not in page
    assert "5.0 s" not in page
    assert page.count('<svg class="forest"') == 2
    assert "beyond doubt, called so: too few images yet" in re.sub(r"\s+", " ", page), "rita was never given gold"
    assert "beyond doubt, called so: too few" not in cast.client(cast.ravi).get("/reading/mine/").content.decode()
    assert cast.client(cast.rita).get("/reviews/readers/").status_code == 403


def test_those_who_lead_the_study_see_all_in_the_order_of_names(cast: Cast) -> None:
    client = cast.client(cast.max)
    assert "Nothing to tell yet" in client.get("/reviews/readers/").content.decode()
    studied(cast)
    measure()
    with CaptureQueriesContext(connection) as few:
        page = client.get("/reviews/readers/").content.decode()
    assert page.index("Ravi") < page.index("Rita")
    for words in ("24 answers about 12 images of 12 patients", "0.500", "Moved by the model", "Nobody has been shown", "no league table"):
        assert words in page, words
    assert page.count('<svg class="forest"') == 3, "of six images of a kind nothing is drawn"
    studied(cast, 14)
    measure()
    with CaptureQueriesContext(connection) as more:
        client.get("/reviews/readers/")
    assert len(more) <= len(few)


def test_who_is_moved_by_the_model_is_told_with_n(cast: Cast) -> None:
    for number in range(12):
        image = make_image(cast.north, state="settled", kind="green_filter", patient=f"P{number}", p_non_regular=0.9)
        task = ReviewTask.objects.get(image=image)
        shown(task, cast.rita)
        make_read(task, cast.rita, "regular", current=number >= 9)
        if number < 9:
            make_read(task, cast.rita, "green_filter", version=2, revealed=True)
        make_read(task, cast.ravi, "green_filter")
    measured_long_ago()
    page = re.sub(r"<[^>]+>|\s+", " ", cast.client(cast.sys).get("/reviews/readers/").content.decode())
    page = re.sub(r" +", " ", page)
    assert "Of 12 answers after which the model's opinion was shown" in page
    assert "of answers that differed from it: 0.750" in page
    assert "(12 images, 12 patients)" in page
    assert "the others say what was given up: too few images yet" in page
    assert "You and the model" in cast.client(cast.rita).get("/reading/mine/").content.decode()
