"""Nobody sees what is not theirs, in its strongest form: whatever other sites have, a site's people are answered with the same bytes.

Two states of one database are compared: the own site alone, and with two others around it, one with lower numbers and one with higher, that
hold the same photographs, codes, words and people's names, and others beside. Then the same life goes on in both: a data set of all sites
is frozen, a model learns from it. Status, headers, cookies, body, order and the number of queries must be equal (see `same_bytes` for what
is made equal before, and for the one thing that is struck out).

Not compared, as they are of no site: how long an answer takes, and what a model says, which has learned from all sites.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import pytest
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.test import Client
from django.test.utils import override_settings

from portal.accounts import access
from portal.accounts.models import User
from portal.api import views
from portal.datasets.models import Snapshot
from portal.images import room, wordings
from portal.images import selectors as images
from portal.images.models import Image, Upload
from portal.images.storage import Spooled
from portal.web import audit, home, selectors
from tests.cast import browser_of, make_version
from tests.questions import conversations, first_of_each, of_program, of_stranger, questions
from tests.same_bytes import Answers, Numbers, Question, differences, further_pages, record, same_dice
from tests.two_sites import HIGH, LOW, MIDDLE, PAGE, make_everyone, make_life, make_other, make_own


class Worlds:
    """One own site, with others around it or without."""

    def __init__(self) -> None:
        self.numbers = Numbers()
        self._before = self.numbers.standing()
        self.numbers.put(MIDDLE)
        self._champion = make_version("champion")
        self._everyone = make_everyone()
        self.own = make_own(self._everyone, self._champion)
        with same_dice(0):
            self.browsers = {"lead": browser_of(self.own.lead), "uploader": browser_of(self.own.uploader)}
        self.browsers |= {"program": Client(), "nobody": Client()}
        self._stand = self.numbers.standing()

    @contextmanager
    def others(self, there: bool) -> Iterator[Callable[[str, Sequence[Question]], Answers]]:
        """A world in which to ask: who, and what."""
        with transaction.atomic():
            for place, name in ((LOW, "River"), (HIGH, "Hill")) if there else ():
                self.numbers.put(place)
                make_other(name, self._everyone, self._champion)
            self.numbers.put(self._stand)
            make_life(self._everyone)
            yield partial(self._ask, self.numbers.standing())
            transaction.set_rollback(True)

    def _ask(self, stand: dict[str, int], name: str, asked: Sequence[Question]) -> Answers:
        # a data set of more sites has more rows, and takes more numbers: go on where both worlds have none
        self.numbers.put({table: max(value, MIDDLE + 10_000) for table, value in stand.items()})
        return record(self.browsers[name], asked)

    def close(self) -> None:
        self.numbers.put(self._before)
        self.numbers.close()


@contextmanager
def small_pages() -> Iterator[None]:
    """So that a few rows are several pages, and quickly drawn."""
    with (
        patch.object(selectors, "PAGE", PAGE), patch.object(images, "UPLOADS_PAGE", PAGE), patch.object(images, "FILES_PAGE", PAGE),
        patch.object(audit, "_PAGE", PAGE), patch.object(views.NewestFirst, "page_size", PAGE),
    ):  # fmt: skip
        yield


@pytest.fixture(scope="module")
def worlds(django_db_setup: Any, django_db_blocker: Any) -> Iterator[Worlds]:
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    with django_db_blocker.unblock(), override_settings(ACCOUNT_RATE_LIMITS=False), small_pages(), transaction.atomic():
        made = Worlds()
        yield made
        transaction.set_rollback(True)
        made.close()


def _asked(worlds: Worlds) -> dict[str, list[Question]]:
    lead = questions(worlds.browsers["lead"], worlds.own.lead, worlds.own)
    return {
        "lead": [*lead, *conversations(worlds.own)], "uploader": first_of_each(lead), "program": list(of_program(worlds.own)),
        "nobody": list(of_stranger()),
    }  # fmt: skip


def test_a_site_is_answered_alike_whatever_others_have(worlds: Worlds) -> None:
    with worlds.others(False) as ask:
        asked = _asked(worlds)
        alone = {name: ask(name, list_) for name, list_ in asked.items()}
        further = {name: further_pages(answers) for name, answers in alone.items()}
        alone |= {f"{name}, on": ask(name, list_) for name, list_ in further.items()}
    with worlds.others(True) as ask:
        amid = {name: ask(name, list_) for name, list_ in asked.items()}
        amid |= {f"{name}, on": ask(name, list_) for name, list_ in further.items()}
    found = [f"{name}: {fault}" for name in alone for fault in differences(alone[name], amid[name])]
    assert not found, "\n".join(found)
    given = [answer for answers in alone.values() for _, several in answers for answer in several]
    assert len(given) >= 500
    assert sum(answer.status == 200 for answer in given) >= 300
    assert all(answer.status < 500 for answer in given)
    assert further["lead"]


# ---- planted faults ---------------------------------------------------------------------------------------------------


def _counts_all(_: QuerySet[Image], honest: Any = images.counted) -> dict[str, int]:
    return dict(honest(Image.objects.all()))


def _one_model_for_all(model: type[Model], user: User, pk: int, honest: Any = access.get_visible) -> Any:
    found = Upload.objects.filter(pk=pk).first() if model is Upload else None
    return found or honest(model, user, pk)


def _known_anywhere(upload: Upload, name: str, spooled: Spooled, honest: Any = room.enter) -> tuple[Upload, str]:
    held, reason = honest(upload, name, spooled)
    return held, "This file is here already." if Image.objects.filter(sha256=spooled.sha256).count() > 1 else reason


def _devices_of_all(_: Any) -> list[str]:
    return sorted(set(Image.objects.exclude(device="").values_list("device", flat=True)))


def _held_by_items(images_: Sequence[int]) -> list[Snapshot]:
    """As it was: an image that was left out for its copy at another site is in no data set."""
    return list(Snapshot.objects.filter(items__image__in=images_).distinct())


def _with_total(request: HttpRequest, template: str, context: Any, honest: Any = render) -> HttpResponse:
    answer: HttpResponse = honest(request, template, context)
    answer["X-Total"] = str(Image.objects.count())
    return answer


def _asks_more(user: User, honest: Any = images.uploads, **rest: Any) -> list[Upload]:
    for upload in Upload.objects.exclude(site__in=access.sites(user)):
        upload.refresh_from_db()
    return list(honest(user, **rest))


FAULTS: dict[str, tuple[tuple[Any, str, Any], str, str]] = {
    "a count over everybody's rows": ((images, "counted", _counts_all), "gallery", "GET /images/: body"),
    "one model that all may see": ((access, "get_visible", _one_model_for_all), "upload", f"GET /uploads/{LOW + 1}/: 404 or 200"),
    "a duplicate is looked for at all sites": ((room, "enter", _known_anywhere), "conversations", "name=theirs.jpg: body"),
    "a choice of everybody's devices": ((wordings, "known_devices", _devices_of_all), "table", "GET /tables/"),
    "a data set that a copy is missing in": ((selectors, "holding", _held_by_items), "image", "GET /images/"),
    "a header that counts": ((home, "render", _with_total), "home", "GET /: headers"),
    "queries for what others have": ((images, "uploads", _asks_more), "upload_list", "queries"),
}  # fmt: skip
"""What is put in whose place, which questions are asked then, and what must be said of it."""


def test_each_planted_leak_is_found(worlds: Worlds) -> None:
    seen: dict[str, list[Answers]] = {fault: [] for fault in FAULTS}
    asked: dict[str, list[Question]] = {}
    for there in (False, True):
        with worlds.others(there) as ask:
            for fault, (place, about, _) in FAULTS.items():
                asked.setdefault(about, _about(worlds, about))
                with patch.object(*place):
                    seen[fault].append(ask("lead", asked[about]))
    found = {fault: list(differences(*answers)) for fault, answers in seen.items()}
    missed = {fault: found[fault] for fault, (_, _, said) in FAULTS.items() if not any(said in told for told in found[fault])}
    assert not missed, missed


def _about(worlds: Worlds, about: str) -> list[Question]:
    if about == "conversations":
        return [question for question in conversations(worlds.own) if "/files/?name=theirs" in question[0].address]
    return [question for question in questions(worlds.browsers["lead"], worlds.own.lead, worlds.own, only=about) if not question[0].sent]
