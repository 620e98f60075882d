"""Own answers opened again: amended as versions, and, where the study says so, beside the model's opinion. Never others', nor for ever."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pgtrigger
import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone

from portal.analyses.models import Analysis
from portal.audit.models import AuditEvent
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews.models import Lease, Read, ReviewRules, ReviewTask
from tests.cast import Cast, make_image, make_read, make_task

pytestmark = pytest.mark.django_db
JSON = {"Accept": "application/json"}


def answer(client: Client, kind: str = "regular", **more: Any) -> tuple[str, dict[str, Any]]:
    """Of the picture that is next: its address, and what was said."""
    token = client.get("/reading/next/", headers=JSON).json()["token"]
    said = client.post("/reading/answer/", {"token": token, "kind": kind, **more}, headers=JSON)
    assert said.status_code == 200
    return token, said.json()


def versions() -> list[tuple[Any, ...]]:
    return list(Read.objects.order_by("id").values_list("kind", "version", "current", "revealed"))


def amend(client: Client, token: str, kind: str, **more: Any) -> Any:
    return client.post("/reading/amend/", {"token": token, "kind": kind, **more}, headers=JSON)


def picture_of(page: str) -> str:
    found = re.search(r'data-picture="([^"]+)"', page)
    assert found
    return found[1]


def test_an_answer_of_the_last_days_is_amended_and_both_versions_stay(cast: Cast) -> None:
    task = make_task(cast.north)
    client = cast.client(cast.rita)
    token, _ = answer(client, note="at first")
    listed = client.get("/reading/mine/").content.decode()
    assert f"/reading/amend/{token}/" in listed
    page = client.get(f"/reading/amend/{token}/").content.decode()
    assert "at first" in page
    assert client.get(picture_of(page)).headers["Content-Type"] == "image/jpeg"
    assert amend(client, token, "green_filter").json() == {"recorded": True, "to": "/reading/mine/"}
    assert versions() == [("regular", 1, False, False), ("green_filter", 2, True, False)]
    # what was settled is asked about again, and stands until then
    assert Label.objects.get(current=True).kind == "regular"
    assert ReviewTask.objects.filter(image=task.image, state="open").count() == 1


def test_the_same_answer_again_is_no_version(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.rita)
    token, _ = answer(client, "unusable", reasons="blurred", note="so so", confidence="2", box="1,2,30,40")
    assert amend(client, token, "unusable", reasons="blurred", note="so so", confidence="2", box="1.0,2.0,30.0,40.0").status_code == 200
    assert len(versions()) == 1
    assert amend(client, token, "unusable", reasons="too_dark").status_code == 200
    assert len(versions()) == 2
    assert amend(client, token, "unusable").status_code == 400
    assert amend(client, token, "regular", box="1,2,nan,4").status_code == 400
    assert len(versions()) == 2


def test_an_amended_answer_is_not_undone(cast: Cast) -> None:
    make_task(cast.north)
    client = cast.client(cast.rita)
    token, _ = answer(client)
    amend(client, token, "green_filter")
    assert client.get("/reading/").context["undoable"] is None
    assert client.post("/reading/undo/", {"token": token}, headers=JSON).status_code == 409
    assert versions()[-1] == ("green_filter", 2, True, False)


def test_an_open_question_goes_on_from_the_amended_answer(cast: Cast) -> None:
    task = make_task(cast.north)
    ReviewTask.objects.update(reads_needed=2, rules=ReviewRules.objects.create(reads_needed=2))
    client = cast.client(cast.rita)
    token, _ = answer(client)
    amend(client, token, "green_filter")
    answer(cast.client(cast.ravi), "green_filter")
    assert Label.objects.get(image=task.image, current=True).kind == "green_filter"


def test_nobody_opens_what_they_have_not_answered_or_what_is_gone(cast: Cast) -> None:
    task = make_task(cast.north)
    client, other = cast.client(cast.rita), cast.client(cast.ravi)
    held = client.get("/reading/next/", headers=JSON).json()["token"]
    for address in (f"/reading/amend/{held}/", f"/reading/revealed/{held}/", "/reading/again/guessed/"):
        assert client.get(address).status_code == 404
    token, _ = answer(client)
    picture = picture_of(client.get(f"/reading/amend/{token}/").content.decode())
    assert other.get(f"/reading/amend/{token}/").status_code == 404
    assert other.get(picture).status_code == 404
    assert amend(other, token, "green_filter").status_code == 404
    assert client.get(f"/reading/picture/{token}/").status_code == 404
    Image.objects.filter(pk=task.image_id).update(state="withdrawn")
    for address in (f"/reading/amend/{token}/", picture):
        assert client.get(address).status_code == 404
    assert f"/reading/amend/{token}/" not in client.get("/reading/mine/").content.decode()
    assert amend(client, token, "green_filter").status_code == 404


def test_the_pictures_address_dies_and_old_answers_stand(cast: Cast, time_machine: Any) -> None:
    task = make_task(cast.north)
    client = cast.client(cast.rita)
    token, _ = answer(client)
    picture = picture_of(client.get(f"/reading/amend/{token}/").content.decode())
    time_machine.move_to(timezone.now() + timedelta(minutes=11))
    assert client.get(picture).status_code == 404
    other = make_task(cast.north)
    old = Lease.objects.create(task=other, reader=cast.rita, token="of-last-week", until=Now(), ended=Now())
    make_read(other, cast.rita, created=timezone.now() - timedelta(days=8))
    assert client.get(f"/reading/amend/{old.token}/").status_code == 409
    assert amend(client, old.token, "green_filter").json()["code"] == "wrong_state"
    assert task.pk


def test_an_amendment_that_ends_a_disagreement_asks_nobody_in_vain(cast: Cast) -> None:
    rules = ReviewRules.objects.create(reads_needed=2)
    task = make_task(cast.north)
    ReviewTask.objects.filter(pk=task.pk).update(reads_needed=2, rules=rules)
    client = cast.client(cast.rita)
    token, _ = answer(client, "green_filter")
    answer(cast.client(cast.ravi), "regular")
    task.refresh_from_db()
    assert (task.state, task.reads_needed) == ("open", 3)
    amend(client, token, "regular")
    task.refresh_from_db()
    assert (task.state, task.reads_needed, task.answered) == ("closed", 2, 2)
    assert Label.objects.get(image=task.image, current=True).kind == "regular"


# ---- blind first, revealed second -------------------------------------------------------------------------------------
@pytest.fixture
def revealing(cast: Cast) -> ReviewTask:
    image = make_image(cast.north, state="in_review", p_non_regular=0.4321)
    make_image(cast.north, state="accepted", kind="lugol_iodine")
    ReviewTask.objects.update(rules=ReviewRules.objects.create(reveal=True))
    return ReviewTask.objects.get(image=image, state="open")


def test_what_the_model_says_is_shown_after_the_own_answer_and_not_before(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    token = client.get("/reading/next/", headers=JSON).json()["token"]
    before = client.get("/reading/").content.decode() + client.get("/reading/next/", headers=JSON).content.decode()
    assert "0.43" not in before
    assert "lugol iodine" not in before
    assert client.get(f"/reading/revealed/{token}/").status_code == 404
    token, said = answer(client, "green_filter")
    assert said == {"recorded": True, "to": f"/reading/revealed/{token}/"}
    page = client.get(said["to"]).content.decode()
    for told in ("0.43", "once you have answered them", 'class="earlier"', "Keep or amend"):
        assert told in page, told
    sibling = Image.objects.get(state="accepted")
    seen = ReviewTask.objects.create(image=sibling, state="closed")
    make_read(seen, cast.ravi, "lugol_iodine")
    assert "answered it calls" not in client.get(said["to"]).content.decode()
    make_read(seen, cast.rita, "lugol_iodine")
    assert "answered it calls" in client.get(said["to"]).content.decode()
    assert client.get(picture_of(page)).status_code == 200
    assert AuditEvent.objects.filter(action="reveal", actor_id=cast.rita.pk, subject_id=revealing.image_id).exists()
    assert cast.client(cast.ravi).get(said["to"]).status_code == 404


def test_the_opinion_tells_nothing_of_how_unusual_the_picture_is_to_the_model(cast: Cast, revealing: ReviewTask) -> None:
    """As it tells nothing of the Deep SAD distance: both are for those who see the image's page."""
    client = cast.client(cast.rita)
    _, said = answer(client, "green_filter")
    page = client.get(said["to"]).content.decode()
    analysis = Analysis.objects.get(image=revealing.image)
    hidden = [f"{analysis.ood:.3f}", f"{analysis.neighbours:.4f}", f"{analysis.logit:.4f}", "21.6", "0.4000", "training images", "unusual"]
    assert "The model says" in page
    assert [word for word in hidden if word in page] == []


def test_who_was_shown_the_models_opinion_amends_and_cannot_undo(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    token, said = answer(client, "green_filter")
    assert client.get("/reading/").context["undoable"]
    client.get(said["to"])
    assert client.get("/reading/").context["undoable"] is None
    assert client.post("/reading/undo/", {"token": token}, headers=JSON).json()["code"] == "revealed"
    assert amend(client, token, "regular", reading_on="1").json()["to"] == "/reading/"
    assert versions() == [("green_filter", 1, False, False), ("regular", 2, True, True)]


def test_where_the_model_sees_it_lies_over_the_picture(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    _, said = answer(client, "green_filter")
    assert "was not kept" in client.get(said["to"]).content.decode()
    with pgtrigger.ignore():
        heat = {"region": [10.0, 20.0, 70.0, 50.0], "rows": [[0.1, 0.2, 0.9], [0.0, 0.4, 0.3]]}
        Analysis.objects.filter(image=revealing.image).update(heat=heat)
    page = client.get(said["to"]).content.decode()
    assert '<rect x="50.0" y="20.0" width="20.0" height="15.0" fill-opacity="0.45" />' in page
    assert page.count("fill-opacity") == 6
    assert "most of it upper right" in page


def test_an_amendment_after_the_models_opinion_settles_nothing(cast: Cast, revealing: ReviewTask) -> None:
    ReviewTask.objects.filter(pk=revealing.pk).update(reads_needed=2)
    client = cast.client(cast.rita)
    token, said = answer(client, "green_filter")
    client.get(said["to"])
    amend(client, token, "regular")
    answer(cast.client(cast.ravi), "green_filter")
    label = Label.objects.get(image=revealing.image, current=True)
    first, amended, other = Read.objects.order_by("pk")
    assert (label.kind, label.basis["reads"]) == ("green_filter", [first.pk, other.pk])
    assert (first.current, amended.current) == (False, True)


def test_who_keeps_the_answer_has_one_version(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    token, said = answer(client, "green_filter")
    client.get(said["to"])
    amend(client, token, "green_filter", reading_on="1")
    assert versions() == [("green_filter", 1, True, False)]
    assert Lease.objects.get(token=token).revealed is not None


def test_the_opinion_is_shown_for_some_minutes_and_only_where_the_rules_say_so(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    token, said = answer(client)
    Lease.objects.filter(token=token).update(ended=Now() - timedelta(minutes=11))
    assert client.get(said["to"]).status_code == 404
    ReviewRules.objects.create(reveal=False)
    make_task(cast.north)
    token, said = answer(client)
    assert "next" in said
    assert client.get(f"/reading/revealed/{token}/").status_code == 404


def test_who_knows_the_models_opinion_is_not_asked_about_that_image_again(cast: Cast, revealing: ReviewTask) -> None:
    client = cast.client(cast.rita)
    token, said = answer(client, "green_filter")
    client.get(said["to"])
    amend(client, token, "regular")
    assert ReviewTask.objects.filter(image=revealing.image, state="open").count() == 1
    assert client.get("/reading/next/", headers=JSON).json()["token"] == ""
    assert cast.client(cast.ravi).get("/reading/next/", headers=JSON).json()["token"]
