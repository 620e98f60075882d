"""What a question is for is not to be seen: one that settles a picture and one that measures the reader by the same picture are answered
byte for byte alike, with the same headers and number of queries, until the own answer is in and in what is said to it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client
from django.utils import timezone

from portal.accounts.models import Role, Site
from portal.images.models import Image
from portal.labels.models import Label
from portal.reviews import routing
from portal.reviews.models import KnownImage, Lease, Read, ReviewRules, ReviewTask
from portal.reviews.quality import known_images
from portal.web import room
from tests.cast import browser_of, make_image, make_user, picture_bytes
from tests.same_bytes import Answer, Answers, Numbers, Step, differences, same_dice, talk

_JSON = {"Accept": "application/json"}
_TOKEN = re.compile(r'name="token" value="([^"]+)"')


class Asked:
    """A reader, and what waits for them: a picture that is to be settled, or is settled and there to measure, and another after it."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self.before = self.numbers.standing()
        self.reader = make_user("ravi", (Role.READER, None))
        with same_dice(0):
            self.browser: Client = browser_of(self.reader)
        site = Site.objects.create(name="North", slug="north")
        first, _ = (make_image(site, state="in_review", p_non_regular=0.3, data=picture_bytes(seed=seed)) for seed in (3, 4))
        self.task = ReviewTask.objects.get(image=first)
        ReviewTask.objects.filter(pk=self.task.pk).update(priority=1.0)

    @contextmanager
    def about(self, wanted: str, *, measures_reader: bool, changed: dict[str, Any]) -> Iterator[None]:
        """The dice say that a question of this kind is wanted now; there is a picture for it, or there is none and a review comes.

        `changed`: what the rules say since the review was asked; what measures was asked after that.
        """
        with transaction.atomic():
            shares = {"gold_share": 0.2 if wanted == "gold" else 0.0, "repeat_share": 0.2 if wanted == "repeat" else 0.0}
            before = ReviewRules.objects.create(**shares, boxes="optional" if changed.get("boxes") else "asked")
            ReviewTask.objects.update(rules=before)
            ReviewRules.objects.create(**shares, **changed)
            if measures_reader:
                self._settle(wanted)
            with patch.object(known_images, "draw", lambda *_: 0.1):
                yield
            transaction.set_rollback(True)

    def _settle(self, wanted: str) -> None:
        Label.objects.create(image_id=self.task.image_id, kind="regular", provenance="consensus")
        Image.objects.filter(pk=self.task.image_id).update(state="settled")
        ReviewTask.objects.filter(pk=self.task.pk).update(state="closed")
        if wanted == "gold":
            KnownImage.objects.create(image_id=self.task.image_id, kind="regular")
        else:
            long_ago = timezone.now() - timedelta(days=20)
            Read.objects.bulk_create([Read(task=self.task, reader=self.reader, kind="regular", created=long_ago)])

    def close(self) -> None:
        self.numbers.put(self.before)
        self.numbers.close()


@pytest.fixture(scope="module")
def asked(django_db_setup: Any, django_db_blocker: Any) -> Iterator[Asked]:
    with django_db_blocker.unblock(), transaction.atomic():
        made = Asked()
        yield made
        transaction.set_rollback(True)
        made.close()


def _read(say: Callable[[Step], Answer]) -> None:
    """Everything that may be asked about a picture until it is answered, and the answer."""
    page = say(Step("GET", "/reading/")).body.decode()
    found = _TOKEN.search(page)
    assert found, "nothing waits"
    token = {"token": found[1]}
    for address in (f"/reading/picture/{found[1]}/", f"/reading/picture/{found[1]}/small/"):
        say(Step("GET", address))
    say(Step("GET", "/reading/next/", headers=_JSON))
    say(Step("POST", "/reading/ahead/", headers=_JSON))
    say(Step("POST", "/reading/draft/", token | {"kind": "regular", "note": "my words"}, headers=_JSON))
    say(Step("POST", "/reading/extend/", token))
    say(Step("POST", "/reading/answer/", token | {"note": "my words"}))
    say(Step("POST", "/reading/release/", token))
    again = json.loads(say(Step("GET", "/reading/next/", headers=_JSON)).body)["token"]
    say(Step("GET", "/reading/when/"))
    say(Step("POST", "/reading/answer/", {"token": again, "kind": "green_filter"}, headers=_JSON))
    say(Step("POST", "/reading/answer/", {"token": again, "kind": "regular"}, headers=_JSON))
    say(Step("POST", "/reading/answer/", {"token": again, "kind": "regular", "box": "5,5,50,50"}, headers=_JSON))
    say(Step("GET", f"/reading/revealed/{again}/"))
    say(Step("GET", f"/reading/picture/{again}/"))


def _compared(asked: Asked, purpose: str, changed: dict[str, Any] | None = None) -> tuple[list[str], Answers]:
    """The own answer itself may take another number of queries: what it settles is known to whoever counts them, when it is in."""
    told = []
    for measures_reader in (False, True):
        with asked.about(purpose, measures_reader=measures_reader, changed=changed or {}):
            told.append(talk(asked.browser, _read))
    own = next(str(question[-1]) for question, (answer,) in told[0] if b'"recorded": true' in answer.body)
    return [fault for fault in differences(*told) if not (fault.endswith("queries") and fault.startswith(own))], told[0]


@pytest.mark.parametrize("purpose", ["gold", "repeat"])
@pytest.mark.parametrize(
    "changed", [{}, {"boxes": "asked"}, {"boxes": "asked", "reveal": True}], ids=["no box now", "a box now", "opinion"]
)
def test_a_question_that_measures_is_like_one_that_settles(asked: Asked, purpose: str, changed: dict[str, Any]) -> None:
    """Also where the rules have changed since the review was asked."""
    found, told = _compared(asked, purpose, changed)
    assert not found, "\n".join(found)
    assert sum(b'"recorded": true' in answer.body for _, (answer,) in told) == 1
    assert sum(b'"code": "no_box"' in answer.body for _, (answer,) in told) == (2 if changed else 0)


# ---- planted faults ---------------------------------------------------------------------------------------------------
def _called_a_test(request: HttpRequest, template: str, context: Any, honest: Any = render, **rest: Any) -> HttpResponse:
    answer: HttpResponse = honest(request, template, context, **rest)
    lease = Lease.objects.filter(token=context.get("token")).first()
    if lease:
        answer["X-Purpose"] = lease.task.purpose
    return answer


@pytest.mark.parametrize(
    ("place", "said"),
    [((room, "render", _called_a_test), "GET /reading/: headers"), ((routing, "roughly", str), "body")],
    ids=["a header names it", "what waits is counted"],
)
def test_a_word_of_what_a_question_is_for_is_found(asked: Asked, place: tuple[Any, str, Any], said: str) -> None:
    with patch.object(*place):
        found, _ = _compared(asked, "gold")
    assert any(said in told for told in found), found
