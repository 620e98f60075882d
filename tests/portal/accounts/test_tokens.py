"""Upload tokens: shown once, good for one site and for sending alone, and gone with the next request when they are to be gone."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from portal.accounts import access, routes, services, tokens
from portal.accounts.models import Membership, Role, Site, UploadToken, User
from portal.audit.models import AuditEvent
from portal.core.errors import BadInput, NotAllowed
from portal.images.models import Image, Upload
from portal.images.services import open_upload
from tests.cast import Cast, picture_bytes

pytestmark = pytest.mark.django_db
PIECE = "application/offset+octet-stream"


@pytest.fixture(autouse=True)
def stores(settings: Any, tmp_path: Path) -> None:
    settings.ORIGINALS_DIR, settings.CLEAN_DIR = tmp_path / "originals", tmp_path / "clean"


def program(secret: str) -> Client:
    """A program with a token and nothing else. It checks CSRF as the real server does."""
    return Client(enforce_csrf_checks=True, headers={"Authorization": f"Token {secret}"})


def token_for(site: Site, user: User, **about: Any) -> str:
    return tokens.make(site=site, actor=user, **{"name": "laptop", "days": 7, **about})[1]


def open_by(client: Client) -> Any:
    return client.post("/api/v1/uploads/", json.dumps({"note": "May", "expected": 1}), content_type="application/json")


def send(client: Client, where: str, data: bytes) -> Any:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(data)), "Upload-Metadata": "name YS5qcGc="}
    return client.post(where, data, content_type=PIECE, headers=headers)


def test_a_program_opens_an_upload_sends_a_table_and_closes(cast: Cast) -> None:
    client = program(token_for(cast.north, cast.alice))
    assert client.get("/api/v1/token/").json()["site"] == "north"
    made = open_by(client)
    assert made.status_code == 201
    where = made.json()
    assert client.get("/api/v1/uploads/").json()["uploads"] == [where]
    sent = send(client, where["tus"], picture_bytes())
    assert (sent.status_code, sent.json()["outcome"], sent.json()["name"]) == (201, "accepted", "a.jpg")
    assert [file["name"] for file in client.get(where["held"]).json()["files"]] == ["a.jpg"]
    told = client.post(where["table"], b"file,patient\na.jpg,P1\n", content_type="text/csv").json()
    assert (told["rows"], told["matched"], told["errors"]) == (1, 1, [])
    assert client.post(where["close"]).status_code == 200
    assert client.get("/api/v1/uploads/").json()["uploads"] == []
    upload = Upload.objects.get()
    assert (upload.site, upload.created_by, upload.closed is not None) == (cast.north, cast.alice, True)
    assert AuditEvent.objects.filter(action="image.received", actor_id=cast.alice.pk).exists()


def test_the_secret_is_shown_once_and_only_its_hash_is_kept(cast: Cast) -> None:
    browser = cast.client(cast.alice)
    made = browser.post("/tokens/make/", {"name": "camera room", "site": cast.north.pk, "days": 30})
    secret = re.search(r'value="(winnow_[0-9a-f]{64})"', made.content.decode())
    assert secret
    assert "no-store" in made["Cache-Control"]
    assert program(secret[1]).get("/api/v1/token/").status_code == 200
    page = browser.get("/tokens/").content.decode()
    assert "camera room" in page
    assert secret[1] not in page
    assert secret[1] not in str(list(UploadToken.objects.values()) + list(AuditEvent.objects.values()))
    event = AuditEvent.objects.get(action="token.made")
    assert (event.actor_id, event.site_id, event.details["name"]) == (cast.alice.pk, cast.north.pk, "camera room")


def test_nobody_makes_a_token_for_a_site_that_is_not_their_own(cast: Cast) -> None:
    for person in (cast.bob, cast.rita, cast.max, cast.sys):
        with pytest.raises(NotAllowed):
            token_for(cast.north, person)
    assert cast.client(cast.alice).post("/tokens/make/", {"name": "x", "site": cast.river.pk, "days": 30}).status_code == 400
    for days in (0, 91):
        with pytest.raises(BadInput):
            token_for(cast.north, cast.alice, days=days)


def test_a_token_opens_no_other_route(cast: Cast) -> None:
    """Every route there is, but those of `BY_TOKEN`, treats a program as somebody who is not logged in."""
    services.grant(user=cast.alice, role=Role.SYSTEM_ADMIN, actor=None)
    client = program(token_for(cast.north, cast.alice))
    seen = 0
    for key, _, text in routes.patterns():
        if key in access.BY_TOKEN or access.is_open(key):
            continue
        address = "/" + re.sub(r"<(?:\w+:)?\w+>", "1", text).replace("\\Z", "")
        for answer in (client.get(address), client.post(address)):
            assert answer.status_code in (302, 401, 403, 404), (key, answer.status_code)
            if answer.status_code == 302:
                assert answer["Location"].startswith("/accounts/login/"), key
        seen += 1
    assert seen > 60


def test_a_session_opens_no_route_of_tokens(cast: Cast) -> None:
    browser = cast.client(cast.alice)
    assert open_by(browser).status_code == 403
    assert Client().get("/api/v1/token/").status_code == 401
    assert not Upload.objects.exists()


def test_another_sites_uploads_are_absent_even_for_a_person_of_both_sites(cast: Cast) -> None:
    services.grant(user=cast.alice, role=Role.LEAD, site=cast.river, actor=None)
    services.grant(user=cast.alice, role=Role.MODEL_ADMIN, actor=None)
    theirs = open_upload(site=cast.river, actor=cast.alice)
    client = program(token_for(cast.north, cast.alice))
    answers = [client.get(f"/api/v1/uploads/{pk}/held/") for pk in (theirs.pk, 987_654)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert send(client, f"/api/v1/uploads/{theirs.pk}/tus/", picture_bytes()).status_code == 404
    assert client.post(f"/api/v1/uploads/{theirs.pk}/close/").status_code == 404
    assert client.get("/api/v1/uploads/").json()["uploads"] == []


@pytest.mark.parametrize("how", ["revoked", "expired", "deactivated", "no membership", "wrong", "empty", "scheme"])
def test_a_token_that_has_ended_opens_nothing_with_the_next_request(cast: Cast, how: str) -> None:
    secret = token_for(cast.north, cast.alice)
    client, expected = program(secret), 401
    assert client.get("/api/v1/token/").status_code == 200
    if how == "revoked":
        tokens.revoke(token=UploadToken.objects.get(), actor=cast.alice)
    elif how == "expired":
        UploadToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    elif how == "deactivated":
        services.deactivate(user=cast.alice, actor=None)
    elif how == "no membership":
        services.grant(user=cast.alice, role=Role.UPLOADER, site=cast.river, actor=None)
        services.revoke(membership=Membership.objects.get(user=cast.alice, site=cast.north), actor=None)
        expected = 403
    else:
        client = Client(headers={"Authorization": {"wrong": f"Token {secret}0", "empty": "Token ", "scheme": f"Bearer {secret}"}[how]})
    upload = Upload.objects.create(site=cast.north, created_by=cast.alice)
    assert client.get("/api/v1/token/").status_code == expected
    assert open_by(client).status_code == expected
    assert send(client, f"/api/v1/uploads/{upload.pk}/tus/", picture_bytes()).status_code == expected
    assert not Image.objects.exists()


def test_who_may_revoke_and_that_it_is_audited(cast: Cast) -> None:
    services.grant(user=cast.ravi, role=Role.UPLOADER, site=cast.north, actor=None)
    token_for(cast.north, cast.alice)
    token = UploadToken.objects.get()
    address = f"/tokens/{token.pk}/revoke/"
    assert cast.client(cast.ravi).post(address).status_code == 403
    assert cast.client(cast.bob).post(address).status_code == 404
    page = cast.client(cast.ravi).get("/tokens/").content.decode()
    assert "laptop" in page
    assert "Revoke laptop" not in page
    assert "Alice" not in cast.client(cast.bob).get("/tokens/").content.decode()
    assert cast.client(cast.lena).post(address).status_code == 302
    event = AuditEvent.objects.get(action="token.revoked")
    assert (event.actor_id, event.subject_id, event.site_id) == (cast.lena.pk, token.pk, cast.north.pk)
    assert cast.client(cast.lena).post(address).status_code == 409
    assert "revoked" in cast.client(cast.alice).get("/tokens/").content.decode()


def test_when_it_was_last_used_is_noted(cast: Cast) -> None:
    client = program(token_for(cast.north, cast.alice))
    client.get("/api/v1/token/")
    first = UploadToken.objects.get().last_used
    client.get("/api/v1/token/")
    assert first is not None
    assert UploadToken.objects.get().last_used == first
