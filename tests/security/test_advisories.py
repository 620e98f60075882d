"""Public advisories of annotation portals, replayed where we have the like surface. What each was stands in docs/developer.md
("Advisories replayed"), which also names the tests elsewhere that replay one already."""

from __future__ import annotations

import ast
import csv
import io
import json
import logging
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.apps import apps
from django.core import mail
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.db.models import CharField, Model, QuerySet, Value
from django.db.models.functions import Cast as AsText
from django.db.models.functions import Concat
from django.test import Client
from django.urls import reverse

from portal.accounts import access, routes
from portal.accounts.models import Invitation, Membership, Site, UploadToken, User
from portal.images.models import Exam, Image, Patient, Upload, UploadFile, Wording
from portal.labels.models import Label
from portal.registry.models import ModelVersion
from portal.reviews.models import Read
from tests.access_matrix import Thing, address_of, body_of, make_things, masked, names_in, signed_in
from tests.cast import PASSWORD, Cast, make_image, make_upload, picture_bytes

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def _unthrottled(settings: Any) -> None:
    settings.ACCOUNT_RATE_LIMITS = False
    logging.getLogger("django.request").setLevel(logging.CRITICAL)


def _reached(user: User | None, things: dict[str, Thing]) -> Iterator[tuple[str, str]]:
    """Each route that this person reaches, and its address of a thing that is theirs."""
    for key, _, text in routes.patterns():
        if access.is_open(key) if user is None else access.reaches(user, key):
            yield key, address_of(text, {name: (things.get(f"{key}.{name}") or things[name]).own for name in names_in(text)})


# ---- ids and fields that are not one's own to write -------------------------------------------------------------------

RIGHTS: tuple[type[Model], ...] = (User, Membership, Site, Invitation, UploadToken, ModelVersion, Label, Read)


REVOKES = ("token_revoke", "accounts.UploadToken")
"""The one route of these people that is for a row of rights: their own token."""


def _hidden_fields(cast: Cast) -> dict[str, Any]:
    """What a row has and no form asks for, as an attacker would send it."""
    return {
        "is_staff": True, "is_superuser": True, "is_active": True, "role": "system_admin", "roles": "system_admin", "groups": 1,
        "memberships": 1, "user": cast.bob.pk, "user_id": cast.bob.pk, "actor": cast.sys.pk, "created_by": cast.bob.pk,
        "reader": cast.ada.pk,
        "email": "evil@example.org", "site": cast.river.pk, "site_id": cast.river.pk, "provenance": "adjudication", "kind": "lugol_iodine",
        "state": "champion", "id": 1, "pk": 1, "sha256": "0" * 64, "organization": cast.river.pk, "target_storage": cast.river.pk,
    }  # fmt: skip


def _rows_of(site: Site) -> dict[str, str]:
    """All rights there are, and everything of one site, as one digest a table: one query."""
    rows: dict[str, QuerySet[Any]] = {model._meta.label: model._default_manager.all() for model in RIGHTS}
    for label, path in access.SITE_OF.items():
        rows[f"{label} there"] = apps.get_model(label)._default_manager.filter(**{path: site.pk})
    parts, given = [], []
    for label, found in rows.items():
        sql, values = found.order_by().values("pk").query.sql_with_params()
        about = found.model._meta
        key = about.pk.column
        digest = "md5(COALESCE(string_agg(t::text, '|' ORDER BY t::text), ''))"
        parts.append(f'SELECT %s, {digest} FROM "{about.db_table}" t WHERE t."{key}" IN ({sql})')
        given += [label, *values]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join(parts), given)
        return dict(cursor.fetchall())


@pytest.mark.parametrize("name", ["alice", "rita"])
def test_no_form_takes_a_field_that_it_does_not_show(cast: Cast, name: str) -> None:
    """Role, site, staff status, provenance, reader: whatever is sent beside or instead of what a form asks for changes no right, no word of
    a person and nothing of another site."""
    things, user = make_things(cast), cast.people()[name]
    browser, sent, before = signed_in(cast, user), _hidden_fields(cast), _rows_of(cast.river)
    found = []
    for key, address in _reached(user, things):
        if key in access.OWN_ACCOUNT:
            continue
        for method, kind, body in (("POST", "form", sent), ("PATCH", "json", json.dumps(sent)), ("PUT", "json", json.dumps(sent))):
            with transaction.atomic():
                if kind == "form":
                    browser.post(address, body)
                else:
                    browser.generic(method, address, body, content_type="application/json")
                after = _rows_of(cast.river) if method == "POST" else before
                changed = [label for label in before if before[label] != after[label]]
                found += [f"{method} {key} changes {label}" for label in changed if (key, label) != REVOKES]
                transaction.set_rollback(True)
    assert not found, found
    User.objects.filter(pk=cast.bob.pk).update(is_staff=True)
    Image.objects.filter(site=cast.river).update(device="changed")
    after = _rows_of(cast.river)
    assert {label for label in before if before[label] != after[label]} == {"accounts.User", "images.Image there"}


def test_every_method_that_no_view_takes_is_refused_before_it_tells_anything(cast: Cast) -> None:
    """CVAT answered PATCH with the whole object of somebody else."""
    things, browser = make_things(cast), signed_in(cast, cast.alice)
    for thing, address in (("image_id", "/api/v1/images/"), ("site_id", "/api/v1/sites/")):
        told = [browser.patch(f"{address}{number}/", "{}", content_type="application/json") for number in (things[thing].other.pk, 987_654)]
        assert [(answer.status_code, answer.content) for answer in told] == [(405, told[0].content)] * 2


def test_no_lookup_of_the_database_can_be_named_in_a_query(cast: Cast) -> None:
    """Label Studio gave away password hashes letter by letter through filters."""
    make_image(cast.north, state="settled"), make_image(cast.north, state="accepted")
    browser = signed_in(cast, cast.lena)
    lookups = {
        "upload__created_by__password__startswith": "pbkdf2", "site__memberships__user__password__regex": "^x",
        "ordering": "-upload__created_by__password",
        "site__invitations__token_hash__startswith": "a", "filter:tasks:updated_by__auth_token__key": "x", "q[user_password_start]": "p",
        "fields": "password", "include": "upload.created_by.password", "expand": "site.memberships",
    }  # fmt: skip
    for address in ("/images/", "/patients/", "/uploads/", "/sites/", "/tokens/", "/api/v1/images/", "/api/v1/sites/"):
        plain = _asked(browser, address, "nothing", "here")
        for name, value in lookups.items():
            assert _asked(browser, address, name, value) == plain, (address, name)


def _asked(browser: Client, address: str, name: str, value: str) -> bytes:
    """The answer, without the question that its links repeat."""
    body = masked(browser.get(address, {name: value}).content).replace(b"&amp;", b"&")
    return body.replace(urlencode({name: value}).encode(), b"QUESTION")


# ---- files that are pages ---------------------------------------------------------------------------------------------

PAGES = {
    "page.html": b"<!doctype html><script>alert(1)</script>", "drawing.svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
    "a.jpg": b"<html><body onload=alert(1)>", "b.png": b"<?xml version='1.0'?><svg onload='alert(1)'/>",
    "c.pdf": b"%PDF-1.7 /JS (alert(1))",
    "d.js": b"alert(1)", "e.gif": b"GIF89a/*<script>alert(1)</script>*/",
}  # fmt: skip


def test_what_is_no_picture_is_not_kept_and_what_is_one_is_never_a_page(cast: Cast) -> None:
    """Label Studio served an avatar as HTML, CVAT a guide's file with a media type of the sender's choice."""
    upload, browser = make_upload(cast.north, by=cast.alice), signed_in(cast, cast.alice)
    for name, data in PAGES.items():
        told = browser.post(f"/uploads/{upload.pk}/files/?name={name}", data, content_type="text/html").json()
        assert (told["outcome"], told["image"]) == ("rejected", None), name
    picture = picture_bytes() + b"<script>alert(1)</script>"
    sent = browser.post(f"/uploads/{upload.pk}/files/?name=x.html", picture, content_type="text/html").json()
    answer = browser.get(f"/images/{sent['image']}/original/")
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert answer["Content-Disposition"].startswith("attachment")
    assert '.html"' not in answer["Content-Disposition"]
    assert "default-src 'none'" in answer["Content-Security-Policy"]


SCRIPT = "<script>alert(1)</script>"


def test_no_word_that_somebody_sends_becomes_code_on_a_page(cast: Cast) -> None:
    """Names of files, sites, people, devices and tokens, codes, notes, words and columns of tables; also in JSON and in headers."""
    things = make_things(cast)
    upload = things["upload_id"].own
    _write_everywhere(cast)
    told: list[str] = []
    escaped = 0
    for user in (cast.lena, cast.sys):
        browser = signed_in(cast, user)
        for key, address in _reached(user, things):
            answer = browser.get(address)
            told += _code_in(key, answer)
            escaped += b"&lt;script&gt;alert(1)" in body_of(answer) if not answer.streaming else 0
    assert not told, told
    assert escaped > 15
    assert not _code_in("dry run", _dry_run(signed_in(cast, cast.lena), upload.pk))


def _write_everywhere(cast: Cast) -> None:
    """As what came before a rule was made, and as what no form lets through."""
    Site.objects.filter(pk=cast.north.pk).update(name=SCRIPT, country=SCRIPT)
    User.objects.update(name=SCRIPT)
    Image.objects.update(original_name=f"{SCRIPT}.jpg", device=SCRIPT)
    for model in (Patient, Exam):
        model._default_manager.update(code=Concat(Value(SCRIPT), AsText("pk", CharField())))
    UploadFile.objects.update(name=f"{SCRIPT}.jpg", message=SCRIPT, table_error=SCRIPT, patient_code=SCRIPT, exam_code=SCRIPT)
    UploadToken.objects.update(name=SCRIPT)
    Wording.objects.update(theirs=SCRIPT)
    Upload.objects.update(note=SCRIPT)


def _code_in(key: str, answer: Any) -> list[str]:
    """Where it stands as it was sent in what a browser would read as a page."""
    page = answer.headers.get("Content-Type", "text/html").startswith("text/html")
    return [key] if page and not answer.streaming and SCRIPT.encode() in answer.content else []


def _dry_run(browser: Client, upload: int) -> Any:
    table = f"file,patient,{SCRIPT},stated_kind,device\n{SCRIPT}.jpg,{SCRIPT},x,{SCRIPT},{SCRIPT}\n".encode()
    answer = browser.post(f"/uploads/{upload}/table/check/", {"table": SimpleUploadedFile(f"{SCRIPT}.csv", table)}, follow=True)
    assert b"&lt;script&gt;alert(1)" in answer.content
    return answer


FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1")


def test_no_cell_of_an_export_is_a_formula(cast: Cast) -> None:
    upload = make_upload(cast.north, by=cast.alice)
    for formula in FORMULAS:
        image = make_image(cast.north, state="settled", patient=formula, exam=formula, name=f"{formula}.jpg", upload=upload)
        Image.objects.filter(pk=image.pk).update(device=formula)
    UploadFile.objects.filter(upload=upload).update(table_error="=1+1")
    things, browser = make_things(cast), signed_in(cast, cast.lena)
    things["upload_id"] = Thing(upload, upload)
    browser.post(f"/sites/{cast.north.pk}/words/", {"column": ["=1+1"], "column_as": ["device"]})
    seen = 0
    for key, address in _reached(cast.lena, things):
        answer = browser.get(address)
        if answer.headers.get("Content-Type", "").startswith("text/csv"):
            cells = [cell for row in csv.reader(io.StringIO(body_of(answer).decode("utf-8-sig"))) for cell in row]
            assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))], key
            seen += sum(cell.startswith(("'=", "'+", "'-", "'@", "'\t")) for cell in cells)
    assert seen > 3 * len(FORMULAS)


# ---- ways in ----------------------------------------------------------------------------------------------------------


def test_there_is_no_second_way_in(cast: Cast) -> None:
    """CVAT's basic authentication passed by what the login page asks for. Nor do a query, a cookie or a header that others take."""
    things = make_things(cast)
    basic = "Basic " + b64encode(f"{cast.sys.email}:{PASSWORD}".encode()).decode()
    others = {
        "X-Api-Key": PASSWORD,
        "Remote-User": cast.sys.email,
        "X-Forwarded-User": cast.sys.email,
        "Cookie": "sessionid=x; auth_token=x",
    }
    asked = f"token=x&api_key=x&username={cast.sys.email}&password={PASSWORD}"
    for number, (_, address) in enumerate(_reached(cast.sys, things)):
        if not address.startswith("/accounts/"):
            plain = Client().get(address).status_code
            for way in (basic, f"Token {PASSWORD}", f"Bearer {PASSWORD}")[: 3 if number < 5 else 1]:
                answer = Client().get(f"{address}?{asked}", headers={**others, "Authorization": way})
                assert answer.status_code == plain in (200, 302, 401, 404, 405), (address, way)
    for address in ("admin/", "api-auth/login/", "api/auth/login", "rest-auth/login/", "user/login/", "api/v1/auth/token/", "swagger/",
                    "api/server/about", "django-rq/", "openapi.json", "metrics", "api/webhooks", "data/upload/1/x.html"):  # fmt: skip
        assert Client().get(f"/{address}").status_code in (302, 404), address
        assert Client().post(f"/{address}").status_code in (401, 403, 404), address


def test_a_new_password_by_mail_does_not_pass_by_the_second_factor(cast: Cast) -> None:
    EmailAddress.objects.create(user=cast.sys, email=cast.sys.email, verified=True, primary=True)
    TOTP.activate(cast.sys, generate_totp_secret())
    browser = Client()
    browser.post(reverse("account_reset_password"), {"email": cast.sys.email})
    link = next(word for word in str(mail.outbox[-1].body).split() if "/accounts/password/reset/key/" in word)
    form = browser.get(link, follow=True)
    new = "another horse battery 7"
    browser.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    assert browser.get("/people/").status_code == 302
    answer = browser.post(reverse("account_login"), {"login": cast.sys.email, "password": new})
    assert answer.headers["Location"].startswith(reverse("mfa_authenticate"))
    assert browser.get("/people/").status_code == 302


ELSEWHERE = ("https://evil.example.org/", "//evil.example.org", "/\\evil.example.org", "///evil.example.org", "http:evil.example.org",
             "javascript:alert(1)", "\thttps://evil.example.org", "https:///evil.example.org")  # fmt: skip


def test_nobody_is_sent_elsewhere_after_the_login(cast: Cast) -> None:
    for address in ELSEWHERE:
        there = Client().post(reverse("account_login"), {"login": cast.alice.email, "password": PASSWORD, "next": address})
        assert there.headers["Location"] == "/", address
    browser = signed_in(cast, cast.alice)
    for address in ELSEWHERE:
        answer = browser.post(f"{reverse('account_reauthenticate')}?next={address}", {"password": PASSWORD, "next": address})
        assert answer.status_code == 302
        assert "evil" not in answer.headers["Location"], address
        answer = signed_in(cast, cast.bob).post(f"{reverse('account_logout')}?next={address}", {"next": address})
        assert "evil" not in answer.headers["Location"], address


def test_no_mailed_link_leads_to_a_host_of_the_senders_choice(cast: Cast) -> None:
    EmailAddress.objects.create(user=cast.alice, email=cast.alice.email, verified=True, primary=True)
    admin = signed_in(cast, cast.sys)
    invited = {"email": "new@example.org", "roles": ["reader"]}
    for browser, address, sent in (
        (Client(), "/accounts/password/reset/", {"email": cast.alice.email}),
        (admin, "/people/invite/", invited),
    ):
        assert browser.post(address, sent, headers={"Host": "evil.example.org"}).status_code == 400
        assert not mail.outbox
        browser.post(address, sent, headers={"X-Forwarded-Host": "evil.example.org", "Forwarded": "host=evil.example.org"})
        assert "evil" not in str(mail.outbox.pop().body)


def test_every_form_asks_for_its_token(cast: Cast) -> None:
    """A route is asked by one who reaches it, as another page would make their browser ask: no token, no change."""
    things, asked, found = make_things(cast), set(), []
    for user in (None, *cast.people().values()):
        browser = signed_in(cast, user)
        browser.handler.enforce_csrf_checks = True
        for key, address in _reached(user, things):
            if key not in asked and key not in {"csp_report", *access.BY_TOKEN}:
                asked.add(key)
                for method in ("POST", "DELETE"):
                    answer = browser.generic(method, address, headers={"Origin": "https://evil.example.org", "Accept": "application/json"})
                    found += [f"{method} {key}: {answer.status_code}"] if answer.status_code != 403 else []
    assert not found, found
    assert {key for key, _, _ in routes.patterns()} - asked <= {"csp_report", *access.BY_TOKEN, *_NOBODYS}


_NOBODYS = {key for key, rule in access.ROUTES.items() if rule == access.NOBODY}


# ---- files of the machine, addresses of others, code in data ----------------------------------------------------------

OUTSIDE = ("/static/../portal/settings.py", "/static/..%2f..%2fportal/settings.py", "/static../portal/settings.py",
           "/static/%2e%2e/manage.py",
           "/media/../portal/settings.py", "/static//etc/passwd",
           "/static/css/..%5c..%5csettings.py", "/data/local-files/?d=etc/passwd",
           "/reading/beside/x/..%2f..%2fx/full/", "/invitation/..%2f..%2fetc%2fpasswd/", "/images/..%2f1/picture/")  # fmt: skip


def test_no_address_leads_out_of_its_folder(cast: Cast) -> None:
    browser = signed_in(cast, cast.sys)
    for address in OUTSIDE:
        answer = browser.get(address)
        assert answer.status_code in (403, 404), address
        assert b"SECRET_KEY" not in body_of(answer)
        assert b"root:" not in body_of(answer)
    upload, sender = make_upload(cast.north, by=cast.alice), signed_in(cast, cast.alice)
    for name in ("../../../etc/cron.d/x.jpg", "/etc/passwd", "..\\..\\x.jpg", "\0x.jpg", "C:\\x.jpg"):
        told = sender.post(f"/uploads/{upload.pk}/files/", picture_bytes(), content_type="image/jpeg", QUERY_STRING=f"name={name}")
        assert told.status_code in (200, 400), name


def test_a_page_of_the_interface_for_programs_is_no_page(cast: Cast) -> None:
    """A browsable interface offers forms with everybody's objects in their choices."""
    for address, status in (("/api/v1/images/", 200), ("/api/v1/sites/", 200), ("/api/v1/images/?format=api", 200)):
        answer = signed_in(cast, cast.lena).get(address, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (status, "application/json"), address


FETCHES = {"requests", "httpx", "aiohttp", "urllib3", "urllib.request", "http.client", "ftplib", "pycurl"}
UNPACKS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "jsonpickle", "tarfile"}


def test_no_address_is_fetched_and_no_object_is_unpacked() -> None:
    """SSRF in CVAT, Label Studio and doccano, code in pickled state in CVAT: the way to it is not there.

    `portal/embedded` starts the servers of one machine, asks its own web server whether it is up, and is no part of that.
    """
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for room in ("portal", "inference")
        for path in sorted((ROOT / room).rglob("*.py"))
        for name in _imported(path)
        if name in FETCHES | UNPACKS and path.parent.name != "embedded"
    ]
    assert not found, found
    assert "urllib.request" in set(_imported_of("import urllib.request"))
    assert "pickle" in set(_imported_of("from pickle import loads"))


def _imported(path: Path) -> Iterator[str]:
    return _imported_of(path.read_text(encoding="utf-8"))


def _imported_of(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
