"""What one site's person may ask: every address they reach with everything that is theirs, with the numbers of what is not, and with every
name that the address reads, as question and as form. Generated from the URL table and from watching; conversations are written out.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterator
from itertools import product
from typing import Any
from uuid import UUID

from django.test import Client

from portal.accounts import access, routes
from portal.accounts.models import UploadToken, User
from portal.holdings.models import Erasure
from portal.images.models import (
    Arrival,
    Exam,
    Image,
    MetadataTable,
    NearDuplicate,
    Patient,
    Regrouping,
    Upload,
    UploadFile,
    Wording,
)  # fmt: skip
from portal.labels.models import Provenance
from tests.access_matrix import address_of, names_in
from tests.cast import picture_bytes
from tests.foreign_values import ask, watched
from tests.same_bytes import Question, Step
from tests.two_sites import HIGH, LOW, ONLY_THEIRS, STATES, THEIRS, OneSite

FOREIGN = (LOW + 1, HIGH + 1)
"""Of every table, a row of either other site; absent where there are none."""
_PLACES: dict[str, Any] = {"image_id": Image, "upload_id": Upload, "patient_id": Patient, "exam_id": Exam, "table_id": MetadataTable,
    "wording_id": Wording, "regrouping_id": Regrouping, "pair_id": NearDuplicate, "erasure_id": Erasure, "file_id": UploadFile,
    "arrival_id": Arrival, "token_id": UploadToken}  # fmt: skip
_OTHERWISE: dict[str, list[Any]] = {"size": ["full"], "key": ["a1-b2"], "uidb36": ["1"], "provider_id": ["clinic"], "token": ["x" * 43],
    "address": ["x" * 43],
    "pk": [1], "job_id": [1], "run_id": [1], "version_id": [1], "snapshot_id": [1]}  # fmt: skip
_ANY = ["", "nonsense"]
CHOICES: dict[str, list[Any]] = {
    "kind": ["none", "regular", "green_filter"], "said": ["regular", "green_filter"], "provenance": Provenance.values[:2],
    "state": [*_ANY, "in_work", "received", "clean", "accepted", "in_review", "settled", "quarantined"],
    "show": ["problems", "accepted", "duplicate", "missing", "same_patient", "other_patient", "wrong_stain", "text"],
    "action": ["", "image", "upload.opened", "site.changed"], "who": ["system", "North", "a", THEIRS, "river", "ravi"],
    "subject": ["images.Image", f"images.Image:{LOW + 1}", "accounts.Site"], "words": ["", "fjord", THEIRS, "1"],
    "since": ["2020-01-01", "2090-01-01"], "until": ["2020-01-01", "2090-01-01"], "before": ["1", str(HIGH + 5)],
    "after": [str(LOW), str(HIGH)], "site": ["north", "river", "hill", *map(str, FOREIGN)],
    "cursor": ["nonsense", b64encode(f"p={HIGH}".encode()).decode(), b64encode(f"p={LOW}".encode()).decode()],
}  # fmt: skip
"""What each name may have for a value; a name that is not here is given the words and numbers of `_values`."""
SHOWN = ("quarantined", "accepted", "in_review", "settled", "twin", "erased")
"""The own images, by state, whose pages and pictures are all asked for."""
METHOD_NOT_TAKEN = 405
_NOT_ASKED = ("accounts/",)
"""One's own account: no site's data; the way in is asked by `strangers`."""


def _foreign(name: str) -> str:
    return str(FOREIGN[0]) if name.endswith(("site", "image", "exam", "box")) else THEIRS


def _values(name: str) -> list[Any]:
    return CHOICES.get(name, ["fjord", THEIRS, "P1", *FOREIGN])


def _objects(name: str, own: OneSite) -> list[Any]:
    """The own things that a part of an address may name, and the numbers of others' rows."""
    if name == "site_id":
        return [own.site.pk, *FOREIGN]
    if name not in _PLACES:
        return _OTHERWISE.get(name, [1])
    foreign = [str(UUID(int=1))] if name == "arrival_id" else list(FOREIGN)
    if name == "image_id":
        return [*(own.images[state].pk for state in SHOWN), *foreign]
    path = access.SITE_OF[_PLACES[name]._meta.label]
    mine = list(_PLACES[name].objects.filter(**{path: own.site.pk}).order_by("pk").values_list("pk", flat=True))
    return [*mine[:2], *foreign]


def questions(browser: Client, user: User, own: OneSite, *, only: str = "") -> list[Question]:
    """Everything in one step: each address that this person reaches by GET for each of its objects; what takes forms alone for one of the
    own and of others'; each name that a route reads with each of its values, and a form that names others' things alone."""
    found: list[Question] = []
    for key, _, text in routes.patterns():
        if access.reaches(user, key) and not text.startswith(_NOT_ASKED) and (not only or only == key):
            names = names_in(text)
            named = list(product(*(_objects(name, own) for name in names)))
            addresses = [address_of(text, dict(zip(names, objects, strict=True))) for objects in named]
            methods, read = _taken(browser, addresses[0])
            found += read
            if "GET" in methods:
                found += [(Step("GET", address),) for address in addresses]
            found += [(Step("POST", address),) for address in {addresses[0]: 1, addresses[-1]: 1} if "POST" in methods and text]
    return found


def _taken(browser: Client, address: str) -> tuple[list[str], list[Question]]:
    """The methods that an address takes, and what is asked with the names that it reads."""
    methods: list[str] = []
    found: list[Question] = []
    for method in ("GET", "POST"):
        with watched() as read:
            if ask(browser, method, address, {})[0] == METHOD_NOT_TAKEN:
                continue
        methods.append(method)
        named = sorted(read - {"format"})
        if method == "GET":
            found += [(Step(method, address, {name: value}),) for name in named for value in _values(name)]
        elif named:
            found.append((Step(method, address, {name: _foreign(name) for name in named}),))
    return methods, found


# ---- conversations ----------------------------------------------------------------------------------------------------
def conversations(own: OneSite) -> Iterator[Question]:
    """What a site's person does with names, codes and files that another site has, each followed by the pages that tell what came of it."""
    upload = Upload.objects.filter(site=own.site, note__contains="of May").get().pk
    page, held = (Step("GET", f"/uploads/{upload}/{name}") for name in ("", "held/"))
    for name, data in _files().items():
        yield Step("POST", f"/uploads/{upload}/files/?name={name}", body=data), page
        yield Step("POST", f"/uploads/{upload}/tus/", body=data, headers=_tus(name, data)), held
    for table in _tables():
        sent = {"table": ("t.csv", table, "text/csv")}
        yield Step("POST", f"/uploads/{upload}/table/", sent), held
        yield (Step("POST", f"/sites/{own.site.pk}/table/", sent, follow=True),)
    yield from _regroupings(own)
    for name in ("laptop", THEIRS):
        yield Step("POST", "/tokens/make/", {"name": name, "site": own.site.pk, "days": 7}), Step("GET", "/tokens/")
    words = {"kind": ["vili", THEIRS], "kind_as": ["lugol_iodine", "regular"], "device": ["cam"], "device_as": [f"{THEIRS} camera"]}
    yield Step("POST", f"/sites/{own.site.pk}/words/", words, follow=True), Step("GET", f"/sites/{own.site.pk}/template.csv")
    yield (Step("POST", "/uploads/new/", {"site": own.site.pk, "note": THEIRS, "expected": 3}, follow=True),)
    for foreign in FOREIGN:
        yield (Step("POST", "/uploads/new/", {"site": foreign, "note": "x"}),)
        yield (Step("POST", "/tokens/make/", {"name": "x", "site": foreign, "days": 7}),)
    settled = own.images["settled"].pk
    yield Step("POST", f"/images/{settled}/withdraw/", {"reason": "a test"}, follow=True), Step("GET", "/"), Step("GET", "/collection/")
    for of, typed in ((settled, str(settled)), (own.images["twin"].pk, "wrong")):
        yield (Step("POST", f"/images/{of}/take-back/", {"what": "erase", "typed": typed}, follow=True),)


def _files() -> dict[str, bytes]:
    """Bytes that others have and this site has not, that both have, that nobody has; and what is no picture."""
    pictures = {"theirs.jpg": picture_bytes(seed=ONLY_THEIRS), "photo-8.jpg": picture_bytes(seed=STATES.index("settled"))}
    return {**pictures, "new.jpg": picture_bytes(seed=9_999), "gone.jpg": picture_bytes(seed=77), "page.html": b"<html>no picture</html>"}


def first_of_each(asked: list[Question]) -> list[Question]:
    """Of questions that differ in nothing but a number in the address, the first; no forms and no words."""
    groups: dict[str, list[Question]] = {}
    for question in asked:
        if question[0].method == "GET" and not question[0].sent:
            groups.setdefault(re.sub(r"\d+", "N", question[0].address), []).append(question)
    return [group[0] for group in groups.values()]


def _tus(name: str, data: bytes) -> dict[str, str]:
    return {
        "Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Content-Type": "application/offset+octet-stream",
        "Upload-Metadata": f"name {b64encode(name.encode()).decode()}",
    }  # fmt: skip


def _tables() -> Iterator[bytes]:
    head = "file,patient,exam,device,stated_kind\n"
    yield f"{head}photo-8.jpg,{THEIRS}-1,E1,{THEIRS} camera,{THEIRS}\nphoto-2.jpg,P1,E1,cam,vili\n".encode()
    yield f"{head}{THEIRS}.jpg,{THEIRS},,,\nphoto-6.jpg,{THEIRS}-split,,,\n".encode()
    yield f"image,patient\n{FOREIGN[0]},P1\n{FOREIGN[1]},P1\n".encode()
    yield f"{THEIRS},patient\nphoto-2.jpg,P1\n".encode()


def _regroupings(own: OneSite) -> Iterator[Question]:
    exam = own.images["settled"].exam
    assert exam
    patient, image = exam.patient_id, own.images["settled"].pk
    for verb, field, code in product(("move", "split", "merge"), ("to", "new", "into"), ("P1", f"{THEIRS}-1", f"{THEIRS}-split", "P9")):
        yield (Step("POST", f"/patients/{patient}/{verb}/", {field: code, "image": [image, *FOREIGN]}, follow=True),)


def of_program(own: OneSite) -> Iterator[Question]:
    """The routes for programs, with the site's token."""
    head = {"Authorization": f"Token {own.secret}"}
    upload = Upload.objects.filter(site=own.site, note__contains="of May").get().pk
    for path in ("token/", "uploads/"):
        yield (Step("GET", f"/api/v1/{path}", headers=head),)
    opened = json.dumps({"note": THEIRS, "expected": 2}).encode()
    yield Step("POST", "/api/v1/uploads/", body=opened, headers=head), Step("GET", "/api/v1/uploads/", headers=head)
    for number in (upload, FOREIGN[0]):
        base = f"/api/v1/uploads/{number}"
        held = Step("GET", f"{base}/held/", headers=head)
        yield (held,)
        for name, data in _files().items():
            yield Step("POST", f"{base}/tus/", body=data, headers=head | _tus(name, data)), held
        for table in _tables():
            yield Step("POST", f"{base}/table/", body=table, headers=head), held
        yield Step("POST", f"{base}/close/", body=b"", headers=head), held


def of_stranger() -> Iterator[Question]:
    """Who is not logged in, with the addresses of people whom only another site has: log in, reset the password, sign up, guess links."""
    for email in ("river-uploader@example.org", "river@example.net", "hill-lead@example.org", "nobody@example.org"):
        yield Step("POST", "/accounts/login/", {"login": email, "password": "wrong horse battery"}), Step("GET", "/accounts/login/")
        yield (Step("POST", "/accounts/password/reset/", {"email": email}, follow=True),)
        yield (Step("POST", "/accounts/signup/", {"email": email, "password1": "correct horse battery 9"}, follow=True),)
    for address in ("", "health", "invitation/" + "x" * 43 + "/", "images/", f"images/{FOREIGN[0]}/", f"api/v1/images/{FOREIGN[1]}/"):
        yield (Step("GET", f"/{address}"),)
