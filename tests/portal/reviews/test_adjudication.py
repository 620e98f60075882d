"""The room of adjudication: it goes on by JSON as reading does, letters tell nothing, and a reason is asked for."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from portal.accounts.models import Role
from portal.reviews.models import Draft, Lease, Read, ReviewTask
from tests.cast import Cast, make_image, make_read, make_task, make_user

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


def disputed(cast: Cast, number: int = 0, **said: str) -> ReviewTask:
    """A question on which two readers disagree, for an adjudicator to settle; the first to be asked has the lowest number."""
    task = make_task(make_image(cast.north, state="in_review", patient=f"P{number}"))
    make_read(task, cast.rita, "regular", note=said.get("rita", "pale"), box=[10.0, 10.0, 50.0, 50.0])
    make_read(task, cast.ravi, "green_filter", note=said.get("ravi", "a tint"))
    ReviewTask.objects.filter(pk=task.pk).update(state="adjudication", priority=1 - number / 10)
    return task


def send(client: Client, address: str, **fields: Any) -> tuple[int, dict[str, Any]]:
    answer = client.post(address, fields, headers=JSON)
    return answer.status_code, dict(answer.json())


def token_of(client: Client) -> str:
    return str(client.get("/adjudication/").context["token"])


def test_an_answer_brings_the_next_question_with_what_its_readers_said(cast: Cast) -> None:
    first, second = disputed(cast), disputed(cast, 1, ravi="<b>greenish</b>")
    client = cast.client(cast.ada)
    status, said = send(client, "/adjudication/answer/", token=token_of(client), kind="green_filter", note="a green cast")
    assert (status, said["undo"], said["next"]["adjudicating"]) == (200, 60, True)
    assert Lease.objects.get(token=said["next"]["token"]).task_id == second.pk
    earlier = said["next"]["earlier"]
    assert "Reader A" in earlier["answers"]
    assert "Reader B" in earlier["answers"]
    assert "&lt;b&gt;greenish&lt;/b&gt;" in earlier["answers"]
    assert earlier["boxes"].count("<rect") == 1
    page = client.get("/adjudication/").content.decode()
    assert " ".join(earlier["answers"].split()) in " ".join(page.split())
    assert not [word for word in ("Rita", "Ravi", "North", "example.org") if word in str(said)]
    assert Read.objects.get(role="adjudicator").task_id == first.pk


def test_a_word_without_a_reason_is_not_taken_and_nothing_is_lost(cast: Cast) -> None:
    task = disputed(cast)
    client = cast.client(cast.ada)
    token = token_of(client)
    assert send(client, "/adjudication/answer/", token=token, kind="regular", note=" ")[1]["code"] == "no_reason"
    page = client.post("/adjudication/answer/", {"token": token, "kind": "regular"})
    assert (page.status_code, page.context["shown"]["kind"]) == (400, "regular")
    assert not Read.objects.filter(role="adjudicator").exists()
    status, _ = send(client, "/adjudication/answer/", token=token, kind="unusable", reasons="blurred")
    assert status == 200
    assert ReviewTask.objects.get(pk=task.pk).state == "closed"


def test_what_was_marked_and_what_was_answered_comes_back(cast: Cast) -> None:
    task = disputed(cast)
    client = cast.client(cast.ada)
    token = token_of(client)
    assert send(client, "/reading/draft/", token=token, kind="regular", note="half a thought")[0] == 200
    assert client.get("/adjudication/").context["shown"]["note"] == "half a thought"
    send(client, "/adjudication/answer/", token=token, kind="regular", note="no tint to be seen")
    status, said = send(client, "/reading/undo/", token=token)
    assert (status, said["next"]["adjudicating"], said["next"]["draft"]["note"]) == (200, True, "no tint to be seen")
    assert "Reader B" in said["next"]["earlier"]["answers"]
    assert Lease.objects.get(token=said["next"]["token"]).task_id == task.pk
    assert Draft.objects.count() == 1


def test_letters_stay_and_do_not_follow_the_order_of_answers(cast: Cast) -> None:
    def letters(client: Client) -> dict[str, str]:
        return {read["note"]: read["letter"] for read in client.get("/adjudication/").context["earlier"]}

    ada, otto = cast.client(cast.ada), cast.client(make_user("otto", (Role.ADJUDICATOR, None)))
    seen = set()
    for number in range(20):
        task = disputed(cast, number)
        first = letters(ada)
        assert sorted(first.values()) == ["A", "B"]
        Lease.objects.all().delete()
        assert letters(otto) == first
        seen.add(first["pale"])
        ReviewTask.objects.filter(pk=task.pk).update(state="cancelled")
    assert seen == {"A", "B"}


def test_who_skips_stays_in_the_room_where_they_are(cast: Cast) -> None:
    both = make_user("both", (Role.READER, None), (Role.ADJUDICATOR, None))
    client = cast.client(both)
    task, further, plain = disputed(cast), disputed(cast, 1), make_task(cast.north)
    token = token_of(client)
    ReviewTask.objects.filter(pk=task.pk).update(state="open")  # an amendment took it back from the adjudicators
    _, said = send(client, "/reading/skip/", token=token, why="not_now", adjudicating="1")
    assert Lease.objects.get(token=said["next"]["token"]).task_id == further.pk
    _, said = send(client, "/reading/skip/", token=said["next"]["token"], why="not_now")
    assert (said["next"]["adjudicating"], said["next"]["earlier"]) == (False, [])
    assert Lease.objects.get(token=said["next"]["token"]).task_id == plain.pk
    reader = cast.client(cast.rita)
    make_task(cast.north)
    token = reader.get("/reading/").context["token"]
    status, said = send(reader, "/reading/skip/", token=token, why="not_now", adjudicating="1")
    assert (status, said["next"]["adjudicating"]) == (200, False)
