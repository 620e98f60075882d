"""Tries every value that a person can send, found by watching what the views read: names in addresses' queries and in forms.

A route is asked once, with the reading of its query and form watched; every name that it reads, and every field of every form that it
makes, is then sent

- numbers and words of things of another site, against numbers and words of nothing: the answers must be equal;
- values that are no value (letters for numbers, huge and negative numbers, NUL, other scripts' digits): nothing answers 5xx.

All of river's things have the same number (`FOREIGN`) and all its words are the same (`WORD`), so that one value stands for each of them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.db import transaction
from django.db.models import Model
from django.forms import BaseForm
from django.http import QueryDict
from django.test import Client
from django.utils import timezone
from rest_framework.serializers import BaseSerializer, Serializer

from portal.accounts import access, routes
from portal.accounts.models import Membership, Role, Site, User
from portal.images.models import Exam, Image, Patient, Upload, UploadFile
from portal.reviews.models import Lease, ReviewTask
from tests.access_matrix import ABSENT, address_of, body_of, masked, names_in
from tests.cast import make_image

FOREIGN = 123_456_789
WORD, NO_WORD = "zanzibar", "xanadu-x"
PAIRS = ((str(FOREIGN), str(ABSENT)), (WORD, NO_WORD))
MALFORMED = ("x'", "-1", "9" * 40, "²", "\0", "1e400", "a" * 5000)
SENDS = ("GET", "POST")


def make_river(site: Site, reader: User) -> Site:
    """Another site full of things that are called alike: number FOREIGN, word WORD."""
    image = make_image(site, state="in_review", patient=WORD, exam=WORD, name=f"{WORD}.jpg")
    task = image.review_tasks.get()
    user = User.objects.create(pk=FOREIGN, email=f"{WORD}@example.org", name=WORD)
    until = timezone.now() + timedelta(hours=1)
    far = Site.objects.create(pk=FOREIGN, name=WORD, slug=WORD, country=WORD)
    Membership.objects.create(pk=FOREIGN, user=user, role=Role.UPLOADER, site=far)
    patient = Patient.objects.create(pk=FOREIGN, site=far, code=WORD)
    exam = Exam.objects.create(pk=FOREIGN, patient=patient, code=WORD)
    upload = Upload.objects.create(pk=FOREIGN, site=far, created_by=user, note=WORD)
    kept = {name: getattr(image, name) for name in ("size", "format", "width", "height")}
    Image.objects.create(pk=FOREIGN, site=far, exam=exam, upload=upload, original_name=WORD, sha256=WORD, device=WORD, **kept)
    UploadFile.objects.create(pk=FOREIGN, upload=upload, name=WORD, outcome="accepted", image_id=FOREIGN)
    ReviewTask.objects.create(pk=FOREIGN, image_id=FOREIGN)
    Lease.objects.create(pk=FOREIGN, task=task, reader=reader, token=WORD, until=until)
    return far


@dataclass(frozen=True)
class Entry:
    """One name that a route reads, and how it is sent."""

    route: str
    address: str
    method: str
    name: str

    def __str__(self) -> str:
        return f"{self.method} {self.address} ({self.route}) {self.name}"


def entries(browser: Client, user: User, things: dict[str, Any], *, only: str = "", but: Collection[str] = ()) -> Iterator[Entry]:
    """Everything that this person can send to what is theirs; not to the routes of `but`."""
    for key, _, text in routes.patterns():
        if only not in key or not access.reaches(user, key) or text.startswith("accounts/") or key in but:
            continue
        named = {name: (things.get(f"{key}.{name}") or things[name]).own for name in names_in(text)}
        address = address_of(text, named)
        for method in SENDS:
            with watched() as names:
                ask(browser, method, address, {})
            yield from (Entry(key, address, method, name) for name in sorted(names))


@contextmanager
def watched() -> Iterator[set[str]]:
    """The names that are read from queries and forms, and those of the fields of every form and serializer that is made, meanwhile."""
    names: set[str] = set()

    def reading(original: Any) -> Any:
        def read(self: QueryDict, key: Any, *rest: Any, **more: Any) -> Any:
            names.add(str(key))
            return original(self, key, *rest, **more)

        return read

    def making(original: Any) -> Any:
        def made(self: Any, *rest: Any, **more: Any) -> None:
            original(self, *rest, **more)
            if isinstance(self, BaseForm):
                names.update(self.add_prefix(name) for name in self.fields)
            elif isinstance(self, Serializer):
                names.update(name for name, field in self.fields.items() if not field.read_only)

        return made

    with (
        patch.object(QueryDict, "get", reading(QueryDict.get)),
        patch.object(QueryDict, "getlist", reading(QueryDict.getlist)),
        patch.object(QueryDict, "__getitem__", reading(QueryDict.__getitem__)),
        patch.object(QueryDict, "__contains__", reading(QueryDict.__contains__)),
        patch.object(BaseForm, "__init__", making(BaseForm.__init__)),
        patch.object(BaseSerializer, "__init__", making(BaseSerializer.__init__)),
    ):
        yield names
    names -= {"csrfmiddlewaretoken"}


def ask(browser: Client, method: str, address: str, sent: dict[str, Any]) -> tuple[int, bytes, str]:
    """Status, body and way on; what asking changed is undone, and what was sent is struck out where it is repeated."""
    with transaction.atomic():
        answer = browser.get(address, sent) if method == "GET" else browser.post(address, sent)
        body, way = masked(body_of(answer)), answer.headers.get("Location", "")
        transaction.set_rollback(True)
    if method == "POST":
        body = _numbers_in_json.sub(b'": N', body)
    for value in sent.values():
        body, way = body.replace(str(value).encode(), b"SENT"), way.replace(str(value), "SENT")
    return answer.status_code, body, _numbers_of_new_things.sub("/N/", way)


_numbers_of_new_things, _numbers_in_json = re.compile(r"/\d+/"), re.compile(rb'": \d+')


def leaks(browser: Client, found: Iterator[Entry]) -> Iterator[str]:
    """Each entry that tells what another site has from what nobody has."""
    for entry in found:
        for foreign, absent in PAIRS:
            theirs, nobodys = (ask(browser, entry.method, entry.address, {entry.name: value}) for value in (foreign, absent))
            if theirs != nobodys:
                yield f"{entry}: {foreign!r} answers {theirs[0]} unlike {absent!r} ({nobodys[0]})"


def breaks(browser: Client, found: Iterator[Entry]) -> Iterator[str]:
    """Each entry that a malformed value breaks."""
    for entry in found:
        for value in MALFORMED:
            status = ask(browser, entry.method, entry.address, {entry.name: value})[0]
            if status >= 500:
                yield f"{entry}: {value[:20]!r} answers {status}"


def lookups(model: type[Model], *, deep: int = 2) -> list[str]:
    """Every path from a row to what hangs on it, as a filter or an ordering would name it."""
    found = []
    for field in model._meta.get_fields():
        found.append(field.name)
        related = field.related_model
        if deep and isinstance(related, type) and issubclass(related, Model):
            found += [f"{field.name}__{rest}" for rest in lookups(related, deep=deep - 1)]
    return found
