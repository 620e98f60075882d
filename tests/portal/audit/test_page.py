"""The trail as a page: who may see which events, found by every part of them, page by page, as CSV; and every look at a picture in it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from portal.accounts.models import User
from portal.audit import search, services
from portal.audit.models import AuditEvent
from portal.images.models import Image
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_was_shown() -> None:
    cache.clear()


def _plant(cast: Cast) -> None:
    north, river = make_image(cast.north, state="clean"), make_image(cast.river, state="clean")
    services.record(actor_id=cast.alice.pk, action="image.received", subject=north, site_id=cast.north.pk, colour="crimson")
    services.record(actor_id=cast.bob.pk, action="image.received", subject=river, site_id=cast.river.pk, colour="azure")
    services.record(actor_id=None, action="snapshot.frozen", subject=cast.north, images=7)


def _found(cast: Cast, **asked: str) -> list[str]:
    page = cast.client(cast.sys).get("/audit/", asked)
    return [f"{line['event'].action} {line['who']}" for line in page.context["lines"]]


def test_each_part_of_an_event_finds_it(cast: Cast) -> None:
    _plant(cast)
    assert _found(cast, who="alice") == ["image.received Alice"]
    assert _found(cast, who="bob@example.org") == ["image.received Bob"]
    assert _found(cast, who="system") == ["snapshot.frozen the system"]
    assert _found(cast, who="nobody at all") == []
    assert _found(cast, action="snapshot") == ["snapshot.frozen the system"]
    assert _found(cast, subject="images.Image") == ["image.received Bob", "image.received Alice"]
    assert _found(cast, subject=f"images.Image:{Image.objects.get(site=cast.north).pk}") == ["image.received Alice"]
    assert _found(cast, site=str(cast.river.pk)) == ["image.received Bob"]
    assert _found(cast, words="CRIMSON") == ["image.received Alice"]
    today = datetime.now(UTC).date().isoformat()
    assert len(_found(cast, since=today, until=today)) == 3
    assert _found(cast, until="2020-01-01") == []


def test_what_cannot_be_understood_is_said(cast: Cast) -> None:
    assert cast.client(cast.sys).get("/audit/", {"since": "yesterday"}).status_code == 400


def test_a_lead_sees_the_events_of_the_own_site_alone(cast: Cast) -> None:
    _plant(cast)
    services.record(actor_id=cast.rita.pk, action="view_picture", subject=Image.objects.get(site=cast.north), site_id=cast.north.pk)
    page = cast.client(cast.lena).get("/audit/")
    assert [(line["event"].action, line["who"]) for line in page.context["lines"]] == [
        ("view_picture", "Rita"),
        ("image.received", "Alice"),
    ]
    assert "azure" not in page.content.decode()
    lines = b"".join(cast.client(cast.lena).get("/audit/events.csv").streaming_content).decode()  # type: ignore[attr-defined]
    assert "azure" not in lines
    assert "crimson" in lines
    for user in (cast.alice, cast.max, cast.rita, cast.ada):
        assert cast.client(user).get("/audit/").status_code == 403


def test_a_lead_finds_nobody_by_their_address(cast: Cast) -> None:
    _plant(cast)
    assert cast.client(cast.lena).get("/audit/", {"who": "alice@example"}).context["lines"] == []
    assert len(cast.client(cast.lena).get("/audit/", {"who": "alice"}).context["lines"]) == 1


def test_pages_follow_each_other_without_a_gap_and_keep_the_search(cast: Cast) -> None:
    services.record_all(services.event(actor_id=cast.sys.pk, action="looked", subject=cast.north, number=n) for n in range(120))
    browser, seen, query = cast.client(cast.sys), [], "?action=looked"
    while query:
        page = browser.get(f"/audit/{query}")
        seen += [line["event"].details["number"] for line in page.context["lines"]]
        query = f"?{page.context['following']}" if page.context["following"] else ""
    assert seen == list(range(119, -1, -1))


def test_the_queries_of_a_page_are_bounded(cast: Cast) -> None:
    counts = []
    for many in (3, 60):
        services.record_all(
            services.event(actor_id=cast.sys.pk, action="looked", subject=cast.north, site_id=cast.north.pk) for _ in range(many)
        )
        browser = cast.client(cast.sys)
        with CaptureQueriesContext(connection) as queries:
            browser.get("/audit/", {"action": "looked", "who": "sys", "words": "x"})
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 12


def test_a_search_by_actor_action_or_site_is_answered_from_an_index(cast: Cast) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        for wanted, index in (
            (search.Wanted(actors=User.objects.filter(pk=cast.sys.pk).values("pk")), "event_of_actor"),
            (search.Wanted(site=cast.north.pk), "event_of_site"),
        ):
            rows = search.matching(AuditEvent.objects.all(), wanted)[:50]
            cursor.execute(f"EXPLAIN {rows.query}".replace("LIKE %", "LIKE '%'"))
            assert index in "\n".join(row[0] for row in cursor.fetchall())


def test_the_page_says_how_far_the_chain_is_sealed_and_what_the_last_walk_found(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    assert "Nothing is sealed yet" in browser.get("/audit/").content.decode()
    _plant(cast)
    services.seal()
    services.check()
    page = browser.get("/audit/").content.decode()
    assert "Sealed until" in page
    assert "it is whole" in page


def test_a_page_of_thumbnails_is_one_event_a_site_and_a_thumbnail_by_itself_one_too(cast: Cast) -> None:
    images = [make_image(cast.north, state="clean") for _ in range(3)] + [make_image(cast.river, state="clean")]
    browser = cast.client(cast.max)
    browser.get("/images/")
    for image in images:
        assert browser.get(f"/images/{image.pk}/thumb/").status_code == 200
    said = AuditEvent.objects.order_by("pk")
    assert [(event.action, event.site_id, sorted(event.details["images"])) for event in said] == [
        ("images.shown", cast.north.pk, sorted(image.pk for image in images[:3])),
        ("images.shown", cast.river.pk, [images[3].pk]),
    ]
    alone = cast.client(cast.alice)
    for _ in range(2):
        alone.get(f"/images/{images[0].pk}/thumb/")
    assert [(event.action, event.subject_id, event.actor_id) for event in said.all()[2:]] == [
        ("image.thumb_viewed", images[0].pk, cast.alice.pk)
    ]  # fmt: skip


def test_every_other_way_to_a_picture_leaves_word_too(cast: Cast) -> None:
    image = make_image(cast.north, state="clean")
    browser = cast.client(cast.alice)
    for way, action in (
        (f"/images/{image.pk}/picture/", "image.picture_viewed"),
        (f"/images/{image.pk}/original/", "image.original_viewed"),
        (f"/patients/{image.exam.patient_id if image.exam else 0}/", "images.shown"),
        (f"/uploads/{image.upload_id}/", "images.shown"),
    ):
        before = AuditEvent.objects.filter(action=action).count()
        assert browser.get(way).status_code == 200
        assert AuditEvent.objects.filter(action=action).count() == before + 1, way
    polled = AuditEvent.objects.count()
    for _ in range(3):
        browser.get(f"/uploads/{image.upload_id}/live/")
    assert AuditEvent.objects.count() == polled


def test_details_are_words_and_no_python(cast: Cast) -> None:
    said: dict[str, Any] = {
        "before": None, "after": "in_review", "changes": {"stated_kind": ["", "green_filter"], "exam": [None, 12]}, "by_system": True,
        "boxes": [[1, 2.5], [3, 4]], "reasons": ["detector_low", "glare"], "none": [], "rule": {"x0": 0.123456, "blank": False}, "note": "",
    }  # fmt: skip
    services.record(actor_id=None, action="planted", subject=cast.north, **said)
    shown: dict[str, Any] = {"before": {"bytes": 1, "files": 2}, "after": {"bytes": 1, "files": None}}
    services.record(actor_id=None, action="planted", subject=cast.river, **shown)
    second, first = cast.client(cast.sys).get("/audit/", {"action": "planted"}).context["lines"]
    assert dict(first["details"]) == {
        "changed": "nothing → in review", "stated kind": "nothing → green filter", "exam": "nothing → 12", "by system": "yes",
        "boxes": "(1, 2.5), (3, 4)", "reasons": "detector low, glare", "none": "nothing", "rule": "x0: 0.1235; blank: no",
        "note": "nothing",
    }  # fmt: skip
    assert second["details"] == [("changed", "files: 2 → nothing")]
    page = cast.client(cast.sys).get("/audit/").content.decode()
    assert not [python for python in ("None", "True", "False", "{&#x27;", "[&#x27;") if python in page]
