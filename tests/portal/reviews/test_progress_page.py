"""The page of progress: for those who lead the study and who run the installation, in as many queries for many questions as for few."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import Membership
from portal.reviews.models import ReviewTask
from portal.web.bars import Span, bars, spans
from tests.cast import Cast, make_image, make_read, make_task


def test_bars_and_lines_are_as_high_and_long_as_what_they_say() -> None:
    chart = bars("By week", ("asked", "settled"), [("1 Jun", (10, 5)), ("8 Jun", (0, 40))])
    assert [label for label, _ in chart.ticks] == ["0", "10", "20", "30", "40"]
    (ten, five), (nothing, forty) = (group.bars for group in chart.groups)
    assert (forty.height, ten.height, five.height, nothing.height) == (150.0, 37.5, 18.8, 0.0)
    assert forty.y + forty.height == chart.base
    assert forty.said == "8 Jun: 40 settled"
    assert bars("By week", ("asked",), []).groups == ()
    drawn = spans("How long", [Span("North", 1.0, 4.0, "said"), Span("River", 2.0, 30.0, "so")])
    north, river = (row.mine for row in drawn.rows)
    assert north is not None
    assert river is not None
    assert north.low < north.high < river.high <= drawn.ticks[-1][1]


def answered(cast: Cast, count: int) -> None:
    for number in range(count):
        task = make_task(make_image(cast.north, state="in_review", patient=f"P{number}"))
        for reader in (cast.rita, cast.ravi):
            make_read(task, reader, seconds=6.0)
        now = datetime.now(UTC)
        ReviewTask.objects.filter(pk=task.pk).update(state="closed", created=now - timedelta(days=number + 1), closed=now)


@pytest.mark.django_db
def test_what_is_asked_answered_and_left(cast: Cast) -> None:
    client = cast.client(cast.max)
    assert "Nothing has been asked" in client.get("/reviews/progress/").content.decode()
    answered(cast, 20)
    make_task(cast.north)
    with CaptureQueriesContext(connection) as few:
        page = client.get("/reviews/progress/").content.decode()
    words = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))
    for said in (
        "2.00 answers a settled question, of 20",
        "From 40 answers",
        "6.0 s",
        "1 image of 1 patient",
        "10.5 days",
        "(20 images, 20 patients)",
    ):
        assert said in words, said
    assert "Nobody who reads here now" not in page
    assert page.count('<svg class="bars"') == page.count('<svg class="forest"') == 1
    answered(cast, 10)
    with CaptureQueriesContext(connection) as more:
        client.get("/reviews/progress/")
    assert len(more) <= len(few) <= 14
    assert cast.client(cast.ada).get("/reviews/progress/").status_code == 403


@pytest.mark.django_db
def test_what_nobody_may_be_given_is_told_with_what_to_do(cast: Cast) -> None:
    make_task(cast.river)
    Membership.objects.exclude(user__in=[cast.rita, cast.sys]).filter(role__in=["reader", "adjudicator"]).delete()
    page = re.sub(r"\s+", " ", cast.client(cast.sys).get("/reviews/progress/").content.decode())
    assert "Nobody who reads here now may be given these" in page
    assert "River: 1 image of at most 1 patient" in page
    assert "1 person reads here" in page
