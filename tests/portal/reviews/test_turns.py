"""The reading room without loading anew: an answer in, the next turn back, and nothing in it that a reader must not know."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.db.models.functions import Now
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from portal.accounts.models import Membership
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.models import Draft, Lease, Read, ReviewRules, ReviewTask
from portal.reviews.room import drafts
from portal.reviews.skips import REASONS
from tests.cast import Cast, make_image, make_read, make_task

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


SOME = "Some pictures wait for you."


def turn(client: Client) -> dict[str, Any]:
    answer = client.get("/reading/next/", headers=JSON)
    assert answer.status_code == 200
    return dict(answer.json())


def send(client: Client, address: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(f"/reading/{address}/", fields, headers=JSON)
    return answer.status_code, dict(answer.json())


def tasks(cast: Cast, count: int) -> list[ReviewTask]:
    made = [make_task(cast.north) for _ in range(count)]
    for place, task in enumerate(made):
        ReviewTask.objects.filter(pk=task.pk).update(priority=1 - place / 100)
    return made


def test_an_answer_brings_the_next_turn_with_it(cast: Cast) -> None:
    first, second = tasks(cast, 2)
    client = cast.client(cast.rita)
    given = turn(client)
    assert (given["waiting"], given["draft"], given["beside"], given["box_asked"]) == (SOME, {}, given["beside"], False)
    status, said = send(client, "answer", token=given["token"], kind="regular", seconds="3.5", confidence="1")
    assert (status, said["recorded"], said["undo"], said["next"]["waiting"]) == (200, True, 60, SOME)
    assert Lease.objects.get(token=said["next"]["token"]).task_id == second.pk
    read = Read.objects.get()
    assert (read.task_id, read.kind, read.seconds, read.confidence) == (first.pk, "regular", 3.5, 1)
    status, said = send(client, "answer", token=said["next"]["token"], kind="cannot_tell", reasons="between_kinds")
    assert (status, said["next"]["token"], said["next"]["why"]) == (200, "", "There is nothing for you to read now.")
    assert Read.objects.latest("id").reasons == ["between_kinds"]


def test_what_cannot_be_taken_is_said_in_words_for_the_page(cast: Cast) -> None:
    tasks(cast, 1)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    assert send(client, "answer", token=token)[0] == 400
    assert send(client, "answer", token=token, kind="unusable")[1]["code"] == "bad_input"
    assert send(client, "answer", token="guessed", kind="regular")[1]["code"] == "not_found"
    assert send(client, "answer", token=token, kind="regular")[0] == 200
    status, said = send(client, "answer", token=token, kind="green_filter")
    assert (status, said["code"]) == (409, "already_answered")
    assert send(Client(), "answer", token=token, kind="regular")[1]["code"] == "not_authenticated"
    Membership.objects.filter(user=cast.rita).delete()
    assert send(client, "answer", token=token, kind="regular")[1]["code"] == "not_allowed"
    assert Read.objects.get().kind == "regular"


def test_a_turn_takes_few_queries_however_many_wait(cast: Cast) -> None:
    def cycle() -> int:
        with CaptureQueriesContext(connection) as captured:
            send(client, "answer", token=turns.pop(), kind="regular")
        return len(captured)

    tasks(cast, 2)
    client = cast.client(cast.rita)
    turns = [turn(client)["token"]]
    few = cycle()
    tasks(cast, 9)
    turns = [turn(client)["token"]]
    assert cycle() <= few + 1


def test_two_pictures_are_fetched_ahead_and_come_in_their_order(cast: Cast) -> None:
    made = tasks(cast, 4)
    client, other = cast.client(cast.rita), cast.client(cast.ravi)
    first = turn(client)
    ahead = client.post("/reading/ahead/", headers=JSON).json()["ahead"]
    assert len(ahead) == 2
    assert client.post("/reading/ahead/", headers=JSON).json()["ahead"] == ahead
    assert turn(client)["token"] == first["token"]
    assert all(client.get(address).status_code == 200 for address in ahead)
    assert other.get(ahead[0]).status_code == 404
    assert Lease.objects.get(token=turn(other)["token"]).task_id == made[3].pk
    _, said = send(client, "answer", token=first["token"], kind="regular")
    assert said["next"]["picture"] == ahead[0]
    _, said = send(client, "answer", token=said["next"]["token"], kind="regular")
    assert said["next"]["picture"] == ahead[1]


def test_a_reservation_is_a_picture_and_nothing_else(cast: Cast) -> None:
    tasks(cast, 2)  # of one exam
    client = cast.client(cast.rita)
    first = turn(client)
    said = client.post("/reading/ahead/", headers=JSON).json()
    assert list(said) == ["ahead"]
    (address,) = said["ahead"]
    ahead = Lease.objects.get(reserved=True)
    key = first["beside"][0]
    assert client.get(f"/reading/beside/{first['token']}/{key}/small/").status_code == 200
    assert client.get(f"/reading/beside/{ahead.token}/{key}/small/").status_code == 404
    Lease.objects.filter(pk=ahead.pk).update(until=Now())
    assert client.get(address).status_code == 404


def test_who_stops_reading_gives_reservations_back_by_themselves(cast: Cast) -> None:
    tasks(cast, 3)
    client = cast.client(cast.rita)
    turn(client)
    client.post("/reading/ahead/", headers=JSON)
    assert turn(cast.client(cast.ravi))["token"] == ""
    Lease.objects.filter(reserved=True).update(until=Now())
    assert turn(cast.client(cast.ravi))["token"]


def test_what_was_marked_comes_back_with_the_picture_on_another_device(cast: Cast) -> None:
    tasks(cast, 1)
    desk, tablet = cast.client(cast.rita), cast.client(cast.rita)
    token = turn(desk)["token"]
    marked = {"kind": "unusable", "reasons": ["blurred"], "confidence": 2, "note": "half a thought", "box": "1.0,2.0,30.0,40.0"}
    assert send(desk, "draft", token=token, **marked) == (200, {"kept": True})
    assert turn(tablet)["draft"] == marked
    page = tablet.get("/reading/").content.decode()
    assert "half a thought" in page
    assert send(cast.client(cast.ravi), "draft", token=token, kind="regular")[0] == 404
    send(tablet, "answer", token=token, kind="regular")
    assert not Draft.objects.exists()


def test_a_slip_is_taken_back_and_opens_with_what_was_answered(cast: Cast) -> None:
    made = tasks(cast, 2)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    _, said = send(client, "answer", token=token, kind="green_filter", note="a slip", confidence="3")
    assert ReviewTask.objects.get(pk=made[0].pk).state == "closed"
    status, undone = send(client, "undo", token=token)
    assert status == 200
    assert undone["next"]["draft"] == {"kind": "green_filter", "reasons": [], "confidence": 3, "note": "a slip", "box": ""}
    assert ReviewTask.objects.get(pk=made[0].pk).state == "open"
    assert turn(client)["token"] == undone["next"]["token"]
    _, again = send(client, "answer", token=undone["next"]["token"], kind="regular")
    assert again["next"]["token"] == said["next"]["token"]
    assert list(Read.objects.order_by("id").values_list("kind", "version", "current", "undone")) == [
        ("green_filter", 1, False, True), ("regular", 2, True, False),
    ]  # fmt: skip


def test_what_was_taken_back_stays_so_however_often(cast: Cast) -> None:
    (task,) = tasks(cast, 1)
    client = cast.client(cast.rita)
    for kind in ("green_filter", "lugol_iodine"):
        token = turn(client)["token"]
        assert send(client, "answer", token=token, kind=kind)[0] == 200
        assert send(client, "undo", token=token)[0] == 200
    assert not Label.objects.filter(image=task.image, current=True).exists()
    send(client, "answer", token=turn(client)["token"], kind="regular")
    assert Label.objects.get(image=task.image, current=True).kind == "regular"


def test_who_skips_what_has_gone_to_adjudicators_sees_nothing_of_it(cast: Cast) -> None:
    task, other = tasks(cast, 2)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    for one in (task, other):
        make_read(one, cast.ravi, "green_filter", note="a remark of ravi")
    ReviewTask.objects.update(state="adjudication")
    status, said = send(client, "skip", token=token, why="not_now")
    assert (status, said["next"]["token"]) == (200, "")
    assert "ravi" not in str(said)
    assert not Lease.objects.filter(reader=cast.rita, ended=None).exists()


def test_what_is_kept_after_the_answer_is_not_kept(cast: Cast) -> None:
    tasks(cast, 1)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    send(client, "answer", token=token, kind="regular")
    assert send(client, "draft", token=token, kind="green_filter", note="late")[0] == 200
    assert not Draft.objects.exists()


def test_a_draft_that_was_on_its_way_when_the_answer_came_is_not_kept(cast: Cast) -> None:
    """It has looked up its lease before the answer ended it."""
    tasks(cast, 1)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    before = Lease.objects.get(token=token)
    send(client, "answer", token=token, kind="regular")
    drafts.keep(lease=before, content={"kind": "green_filter", "note": "late"})
    assert not Draft.objects.exists()


def test_undoing_is_refused_when_the_minute_is_over_and_to_others(cast: Cast) -> None:
    (task,) = tasks(cast, 1)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    assert send(client, "undo", token=token)[0] == 404
    make_read(task, cast.rita, created=timezone.now() - timedelta(seconds=61))
    assert send(cast.client(cast.ravi), "undo", token=token)[0] == 404
    status, said = send(client, "undo", token=token)
    assert (status, said["code"]) == (409, "too_late")
    assert Read.objects.get().current


def test_a_skipped_picture_goes_to_another_reader_and_not_back(cast: Cast) -> None:
    made = tasks(cast, 2)
    client = cast.client(cast.rita)
    token = turn(client)["token"]
    assert send(client, "skip", token=token, why="boring")[0] == 400
    _, said = send(client, "skip", token=token, why=REASONS[0])
    assert Lease.objects.get(token=said["next"]["token"]).task_id == made[1].pk
    assert said["next"]["waiting"] == SOME
    assert send(client, "skip", token=token, why=REASONS[0])[1]["code"] == "too_late"
    assert Lease.objects.get(token=turn(cast.client(cast.ravi))["token"]).task_id == made[0].pk
    assert Lease.objects.get(token=token).skipped == REASONS[0]


def test_a_box_is_asked_for_where_the_rules_in_force_say_so(cast: Cast) -> None:
    """And not those that the question began with: what measures a reader always begins with the newest, and would be known by it."""
    tasks(cast, 2)
    ReviewTask.objects.update(rules=ReviewRules.objects.create(boxes="optional"))
    ReviewRules.objects.create(site=cast.river, boxes="optional")
    ReviewRules.objects.create(boxes="asked")
    client = cast.client(cast.rita)
    given = turn(client)
    assert given["box_asked"]
    status, said = send(client, "answer", token=given["token"], kind="regular")
    assert (status, said["code"]) == (400, "no_box")
    assert send(client, "answer", token=given["token"], kind="regular", box="5,5,50,50")[0] == 200
    assert send(client, "answer", token=turn(client)["token"], kind="not_cervix")[0] == 200


def test_it_works_by_plain_forms_too(cast: Cast) -> None:
    tasks(cast, 2)
    client = cast.client(cast.rita)
    page = client.get("/reading/")
    token = page.context["token"]
    page = client.post("/reading/answer/", {"token": token, "kind": "regular"}, follow=True)
    assert b"Recorded." in page.content
    assert page.context["undoable"]["token"] == token
    page = client.post("/reading/undo/", {"token": token}, follow=True)
    assert page.context["shown"]["kind"] == "regular"
    page = client.post("/reading/skip/", {"token": page.context["token"], "why": REASONS[0]}, follow=True)
    assert b"Skipped." in page.content


def test_how_much_waits_is_said_in_words(cast: Cast) -> None:
    image = make_image(cast.north, state="in_review")
    twins = Image.objects.bulk_create(
        Image(site=cast.north, upload=image.upload, sha256=f"{k:064}", size=1, format="jpeg", original_name="t.jpg") for k in range(120)
    )
    for state in ("clean", "analysed", "in_review"):
        clean = {"clean_sha256": "0" * 64, "clean_format": "jpg", "width": 9, "height": 9} if state == "clean" else {}
        Image.objects.filter(pk__in=[twin.pk for twin in twins]).update(state=state, **clean)
    ReviewTask.objects.bulk_create(ReviewTask(image=twin, priority=0.1) for twin in twins)
    client = cast.client(cast.rita)
    given = turn(client)
    assert given["waiting"] == "Hundreds of pictures wait for you."
    assert given["waiting"] in client.get("/reading/").content.decode()
