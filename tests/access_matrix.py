"""Asks every address as everybody: route x method x person x own, other and absent object. Generated from the URL table.

What a route's answer must be follows from `access.ROUTES` and `access.visible` alone:

- not logged in: to the login (API: 401), unless the route is open;
- a role that does not reach the route: 403, whatever object is named;
- an object that is not visible: exactly the answer for an object that does not exist, whichever of an address's objects it is;
- objects of one address that do not belong together: the same;
- nothing answers 5xx.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Any
from uuid import UUID

from allauth.mfa.models import Authenticator
from cryptography.hazmat.primitives.asymmetric import ec
from django.db import transaction
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from django.utils.http import int_to_base36
from fido2.cose import ES256
from fido2.utils import websafe_encode
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData, CollectedClientData

from portal.accounts import access, routes, services, tokens
from portal.accounts.models import Role, Site, UploadToken, User
from portal.holdings.models import Erasure
from portal.images import grids
from portal.images.models import Arrival, Image, MetadataTable, NearDuplicate, Patient, Regrouping, Upload, Wording
from portal.jobs.models import Job
from portal.learning.models import Evaluation
from portal.registry.models import PromotionRequest
from portal.reviews.models import Lease, ReviewRules
from portal.reviews.room import beside, looking_back
from tests.cast import Cast, make_image, make_read, make_run, make_snapshot, make_task, make_user, make_version

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")
ABSENT = 987_654_321
_MASKS = [
    re.compile(rb'nonce="[^"]*"'),
    re.compile(rb'name="csrfmiddlewaretoken" value="[^"]*"'),
    re.compile(rb'"x-csrftoken": "[^"]*"'),
    re.compile(rb'"challenge": "[^"]*"'),
]
_NAME = re.compile(r"\(\?P<(\w+)>(?:\[[^]]*\]|\.)\+?\)|<(?:\w+:)?(\w+)>")
"""A part of an address that names something: `<int:image_id>`, or `(?P<key>[^/]+)` in allauth's old ones."""


@dataclass(frozen=True)
class Thing:
    """What a keyword of an address can name: `own` belongs to north, `other` to river (the same where there is no site)."""

    own: Any
    other: Any
    absent: Any = ABSENT


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    location: str


def make_things(cast: Cast) -> dict[str, Thing]:
    north, river = make_image(cast.north, state="in_review"), make_image(cast.river, state="in_review")
    upload = {image.pk: image.upload for image in (north, river)}
    snapshot = make_snapshot()
    version = make_version("candidate")
    keys = {user: _security_key(user) for user in (cast.alice, cast.bob)}
    evaluation = Evaluation.objects.create(version=version, snapshot=snapshot)
    job = Job.objects.create(kind="sanitise", subject_id=north.pk, state="failed", error="a test")
    (invitation, link), (ended, used) = (
        services.invite(email=f"{name}@example.net", roles=[(Role.READER, None)], actor=cast.sys) for name in ("one", "two")
    )
    services.void_invitation(invitation=ended, actor=cast.sys)
    make_image(cast.north, state="accepted"), make_image(cast.river, state="accepted")
    leases = _lease(north, cast.ravi), _lease(river, cast.ada)
    answers = _answered(cast.north, cast.ravi), _answered(cast.river, cast.ada)
    return {
        "site_id": Thing(cast.north, cast.river),
        "user_id": Thing(cast.alice, cast.bob),
        "membership_id": Thing(cast.alice.memberships.get(), cast.bob.memberships.get()),
        "invitation_id": Thing(invitation, invitation),
        "token": Thing(link.split("/")[2], used.split("/")[2], "x" * 43),
        "image_id": Thing(north, river),
        "upload_id": Thing(upload[north.pk], upload[river.pk]),
        "arrival_id": Thing(_arrival(upload[north.pk]), _arrival(upload[river.pk]), str(UUID(int=ABSENT))),
        "token_id": Thing(_token(cast.north, cast.alice), _token(cast.river, cast.bob)),
        "file_id": Thing(north.arrivals.get(), river.arrivals.get()),
        "patient_id": Thing(_patient(north), _patient(river)),
        "exam_id": Thing(north.exam, river.exam),
        "table_id": Thing(_held(north, cast.alice), _held(river, cast.bob)),
        "wording_id": Thing(_word(north), _word(river)),
        "regrouping_id": Thing(_regrouping(north, cast.alice), _regrouping(river, cast.bob)),
        "task_id": Thing(north.review_tasks.get(), make_task(cast.river)),
        "job_id": Thing(job, job),
        "pair_id": Thing(_pair(cast.north), _pair(cast.river)),
        "snapshot_id": Thing(snapshot, snapshot),
        "run_id": Thing(run := make_run(snapshot), run),
        "version_id": Thing(version, version),
        "evaluation_id": Thing(evaluation, evaluation),
        "erasure_id": Thing(_erasure(cast.north, cast.lena, 1), _erasure(cast.river, cast.bob, 2)),
        "request_id": Thing(asked := PromotionRequest.objects.create(version=version, requested_by=cast.max), asked),
        "reading_picture.token": Thing(leases[0], leases[1], "x" * 43),
        "reading_small.token": Thing(leases[0], leases[1], "x" * 43),
        "reading_amend.token": Thing(answers[0], answers[1], "x" * 43),
        "reading_revealed.token": Thing(answers[0], answers[1], "x" * 43),
        "address": Thing(_again(answers[0]), _again(answers[1]), "x" * 43),
        "reading_beside.token": Thing(leases[0], leases[1], "x" * 43),
        "reading_beside.key": Thing(beside.siblings(leases[0])[0].key, beside.siblings(leases[1])[0].key, "0" * 32),
        "size": Thing("full", "full", "huge"),
        "pk": Thing(keys[cast.alice], keys[cast.bob]),
        "provider_id": Thing("none", "none", "none"),
        "key": Thing("a1-b2", "a1-b2", "a1-b2"),
        "uidb36": Thing(int_to_base36(cast.alice.pk), int_to_base36(cast.bob.pk), int_to_base36(ABSENT)),
    }


def _lease(image: Image, reader: User) -> Lease:
    until = timezone.now() + timedelta(hours=1)
    return Lease.objects.create(task=image.review_tasks.get(), reader=reader, token=f"lease-of-{reader.pk}-{image.pk}", until=until)


def _answered(site: Site, reader: User) -> Lease:
    """Of a question whose rules show the model's opinion to who has answered it, just now."""
    task = make_task(site)
    task.rules = ReviewRules.objects.create(site=site, reveal=True)
    task.save()
    make_read(task, reader)
    now = timezone.now()
    return Lease.objects.create(task=task, reader=reader, token=f"answer-of-{reader.pk}-{task.pk}", until=now, ended=now)


def _again(lease: Lease) -> str:
    return looking_back.address(looking_back.answered(lease.reader, lease.token))


def _arrival(upload: Upload) -> Arrival:
    return Arrival.objects.create(upload=upload, actor=upload.created_by, name="half.jpg", size=10)


def _token(site: Site, user: User) -> UploadToken:
    return tokens.make(site=site, name="laptop", days=1, actor=user)[0]


def _pair(site: Site) -> NearDuplicate:
    earlier, later = make_image(site, state="in_review"), make_image(site, state="in_review")
    return NearDuplicate.objects.create(image=later, other=earlier, distance=2)


def _erasure(site: Site, by: User, number: int) -> Erasure:
    return Erasure.objects.create(site=site, asked_by=by, of="image", subject_id=number, state="done")


def _held(image: Image, by: User) -> MetadataTable:
    """A table of a look that nobody has applied yet."""
    cells = grids.pack(grids.read_csv(f"file,patient\n{image.original_name},P2\n".encode()))
    return MetadataTable.objects.create(site=image.site, upload=image.upload, created_by=by, name="t.csv", sha256="0" * 64, cells=cells)


def _word(image: Image) -> Wording:
    return Wording.objects.create(site=image.site, of="kind", theirs="vili", key="vili", ours="lugol_iodine")


def _regrouping(image: Image, by: User) -> Regrouping:
    other = Patient.objects.create(site=image.site, code="P9")
    return Regrouping.objects.create(site=image.site, actor=by, kind="move", source=_patient(image), target=other)


_CLIENT = CollectedClientData.create(type="webauthn.create", challenge=b"0" * 32, origin="https://localhost")


def _security_key(user: User) -> Authenticator:
    """One of the kind that a browser registers."""
    public = ES256.from_cryptography_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    name = sha256(str(user.pk).encode()).digest()
    said = AuthenticatorData.create(
        name, AuthenticatorData.FLAG.UP | AuthenticatorData.FLAG.AT, 1, AttestedCredentialData.create(Aaguid(bytes(16)), name, public)
    )
    attested = {"clientDataJSON": websafe_encode(_CLIENT), "attestationObject": websafe_encode(AttestationObject.create("none", said, {}))}
    number = websafe_encode(name)
    credential = {"id": number, "rawId": number, "type": "public-key", "response": attested}
    return Authenticator.objects.create(user=user, type=Authenticator.Type.WEBAUTHN, data={"name": "a key", "credential": credential})


def _patient(image: Image) -> Patient:
    assert image.exam
    return image.exam.patient


def people(cast: Cast) -> dict[str, User | None]:
    return {"nobody": None, "roleless": make_user("roleless"), **cast.people()}


def faults(cast: Cast, things: dict[str, Thing], user: User | None, *, only: str = "") -> Iterator[str]:
    """Each place where an answer is not what the table says, in words."""
    browser = signed_in(cast, user)
    for key, _, text in routes.patterns():
        if only in key:
            for method in METHODS:
                for fault in _route_faults(browser, key, text, method, things, user):
                    yield f"{method} {text} ({key}): {fault}"


def token_faults(things: dict[str, Thing], user: User, secret: str) -> Iterator[str]:
    """The same for a program with an upload token of `user`, over the routes that are for programs."""
    browser = Client(headers={"Authorization": f"Token {secret}"}, raise_request_exception=False)
    for key, _, text in routes.patterns():
        if key in access.BY_TOKEN:
            for method in METHODS:
                for fault in _route_faults(browser, key, text, method, things, user, reached=True):
                    yield f"{method} {text} ({key}): {fault}"


def signed_in(cast: Cast, user: User | None) -> Client:
    """A browser that shows errors as a person would get them; its person has just said their password."""
    browser = cast.client(user) if user else Client()
    browser.raise_request_exception = False
    if user:
        session = browser.session
        session["account_authentication_methods"] = [{"method": "password", "at": time.time(), "reauthenticated": True}]
        session["account_authentication_methods_user"] = str(user.pk)
        session.save()
    return browser


def _route_faults(
    browser: Client, key: str, text: str, method: str, things: dict[str, Thing], user: User | None, *, reached: bool = False
) -> Iterator[str]:
    names = names_in(text)
    things = {**things, **{name: things[f"{key}.{name}"] for name in names if f"{key}.{name}" in things}}
    if unknown := set(names) - set(things):
        yield f"the matrix has no object for {unknown}: name it as the other routes do, or add it to make_things"
        return
    by_token = reached
    reached = reached or access.is_open(key) or bool(user and access.reaches(user, key))
    named = combinations(names, things) if reached else _at_the_door(names, things, method)
    answers: dict[str, Answer] = {}
    for which, objects in named.items():
        # a method that is not taken is refused before any object
        if which in ("own", "absent") or not answers or answers["own"].status != 405:
            answers[which] = _ask(browser, method, text, objects)
    for which, answer in answers.items():
        if answer.status >= 500:
            yield f"{which} object answers {answer.status}"
        if not by_token:
            yield from _door_faults(key, user, which, answer, json=method != "GET" or text.startswith("api/"))
    if not names or not user or not reached:
        return
    if answers["absent"].status not in _ABSENT_ANSWERS and not text.startswith("accounts/") and method != "OPTIONS":
        yield f"absent object answers {answers['absent'].status}"
    for which in answers.keys() - {"absent"}:
        like = f"absent {which.split()[1]}" if " " in which else "absent"
        if which != like:
            yield from _sight_faults(user, which, named[which], answers[which], answers[like])


_ABSENT_ANSWERS = (400, 403, 404, 405)


def names_in(text: str) -> list[str]:
    return [first or second for first, second in _NAME.findall(text)]


def combinations(names: list[str], things: dict[str, Thing]) -> dict[str, dict[str, Any]]:
    """What an address is asked with: all own, all other, all absent; of several objects also each one of them alone."""
    if not names:
        return {"the": {}}
    named = {which: {name: getattr(things[name], which) for name in names} for which in ("own", "other", "absent")}
    for name in names if len(names) > 1 else ():
        for which in ("other", "absent"):
            named[f"{which} {name}"] = named["own"] | {name: getattr(things[name], which)}
    return named


def _at_the_door(names: list[str], things: dict[str, Thing], method: str) -> dict[str, dict[str, Any]]:
    """The door is before the object: one object is enough, and one that is not there."""
    kept = ("the", "own", "absent") if method == "GET" else ("the", "own")
    return {which: named for which, named in combinations(names, things).items() if which in kept}


def _sight_faults(user: User, which: str, named: dict[str, Any], answer: Answer, absent: Answer) -> Iterator[str]:
    hidden = [name for name, thing in named.items() if not _visible(thing, user)]
    if hidden and answer != absent:
        yield f"{which} object is not visible, but answers {answer.status} unlike absent ({absent.status})"
    if " " in which:
        if not hidden and answer != absent and not isinstance(named[which.split()[1]], str):
            yield f"{which} does not belong to the others, but answers {answer.status} unlike absent ({absent.status})"
    elif not hidden and answer.status == 404 and not any(isinstance(thing, str) for thing in named.values()):
        yield f"{which} object is visible, but answers 404"


def _door_faults(key: str, user: User | None, which: str, answer: Answer, *, json: bool) -> Iterator[str]:
    if access.is_open(key):
        if answer.location.startswith("/accounts/login/?"):
            yield f"open, but sends {which} to the login"
    elif user is None:
        expected = 401 if json else 302
        if answer.status != expected or not (json or answer.location.startswith("/accounts/login/")):
            yield f"not logged in, but {which} answers {answer.status}"
    elif not access.reaches(user, key) and answer.status != 403:
        yield f"no role for it, but {which} answers {answer.status}"


def _visible(thing: Any, user: User) -> bool:
    """Whether `access.visible` shows it. A lease is its reader's alone, a key its owner's; a token is whoever's who has it."""
    if isinstance(thing, Lease | Authenticator):
        return thing == type(thing).objects.filter(**{_OWNER[type(thing)]: user}, pk=thing.pk).first()
    if not isinstance(thing, Model):
        return True
    return access.visible(type(thing), user).filter(pk=thing.pk).exists()


_OWNER: dict[type[Model], str] = {Lease: "reader", Authenticator: "user"}


def _ask(browser: Client, method: str, text: str, named: dict[str, Any]) -> Answer:
    """The answer, and everything that asking changed undone. Pages are asked for by GET alone: JSON errors are quicker to make."""
    address, kept = address_of(text, named), copy(browser.cookies)
    with transaction.atomic():
        answer = browser.generic(method, address, headers={"Accept": "text/html" if method == "GET" else "application/json"})
        body = body_of(answer)
        transaction.set_rollback(True)
    browser.cookies = kept
    return Answer(answer.status_code, masked(body), answer.headers.get("Location", ""))


def address_of(text: str, named: dict[str, Any]) -> str:
    """The address of a pattern with its objects filled in."""
    filled = _NAME.sub(lambda found: _written(named[found[1] or found[2]]), text)
    return "/" + re.sub(r"\^|\$|\\Z", "", filled)


def body_of(answer: Any) -> bytes:
    return b"".join(answer.streaming_content) if answer.streaming else answer.content


def masked(body: bytes) -> bytes:
    """Without what is random in every answer."""
    for mask in _MASKS:
        body = mask.sub(b"", body)
    return body


def _written(thing: Any) -> str:
    if isinstance(thing, Lease):
        return thing.token
    return str(thing.pk if isinstance(thing, Model) else thing)
