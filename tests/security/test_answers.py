"""Headers of every answer, the size of every body, how often somebody may ask, and where browsers report to."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIRequest
from django.db import transaction
from django.test import Client, RequestFactory

from portal.accounts import access, limits, routes
from portal.core import throttle
from portal.core.throttle import Rate, client_address
from tests.access_matrix import address_of, make_things, names_in, signed_in
from tests.cast import Cast

pytestmark = pytest.mark.django_db


def test_no_answer_is_kept_and_none_may_be_embedded(cast: Cast) -> None:
    things, found = make_things(cast), []
    for name in ("nobody", "lena", "ada", "sys"):
        user = people_once(cast)[name]
        browser = signed_in(cast, user)
        for key, _, text in routes.patterns():
            if access.is_open(key) or (user and access.reaches(user, key)):
                named = {part: (things.get(f"{key}.{part}") or things[part]).own for part in names_in(text)}
                answer = browser.get(address_of(text, named))
                found += [f"{text}: {fault}" for fault in _faults_of(answer.headers)]
    assert not found, "\n".join(sorted(set(found)))


def people_once(cast: Cast) -> dict[str, Any]:
    return {"nobody": None, **cast.people()}


def _faults_of(headers: Any) -> list[str]:
    policy = headers.get("Content-Security-Policy", "")
    wrong = {
        "may be kept": "no-store" not in headers.get("Cache-Control", "") or "public" in headers.get("Cache-Control", ""),
        "no policy": "default-src 'none'" not in policy or "report-uri /csp-report" not in policy,
        "unsafe words": "unsafe" in policy or "*" in policy,
        "no Permissions-Policy": "camera=()" not in headers.get("Permissions-Policy", ""),
        "may be embedded": headers.get("Cross-Origin-Resource-Policy") != "same-origin" or headers.get("X-Frame-Options") != "DENY",
        "shares its window": headers.get("Cross-Origin-Opener-Policy") != "same-origin",
        "may be sniffed": headers.get("X-Content-Type-Options") != "nosniff",
        "tells where from": headers.get("Referrer-Policy") != "same-origin",
    }
    return [fault for fault, found in wrong.items() if found]


def test_the_check_of_headers_has_teeth() -> None:
    assert len(_faults_of({"Cache-Control": "public, max-age=600", "Content-Security-Policy": "script-src 'unsafe-inline'"})) == 8


def test_a_body_that_is_too_large_is_refused_by_its_head(cast: Cast) -> None:
    browser = cast.client(cast.sys)
    for address in ("/people/invite/", "/accounts/login/", "/reading/rules/", "/csp-report"):
        answer = browser.generic("POST", address, b"x", headers={"Content-Length": "900000000"}, CONTENT_LENGTH="900000000")
        assert answer.status_code == 413, address


def test_every_body_limit_belongs_to_a_route() -> None:
    keys = {key for key, _, _ in routes.patterns()}
    assert limits.BODIES.keys() <= keys
    assert {name for name in limits.RATES if not name.endswith(":")} <= keys


def test_every_route_that_reads_a_file_says_how_large_it_may_be(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the limit of forms would refuse what the service is made for. Found by watching, so a new route is found too."""
    things, readers = make_things(cast), set()
    honest: Any = WSGIRequest.FILES

    def watched(request: WSGIRequest) -> Any:
        assert request.resolver_match is not None
        readers.add(routes.key_of(request.resolver_match))
        return honest.fget(request)

    monkeypatch.setattr(WSGIRequest, "FILES", property(watched))
    browser = signed_in(cast, cast.lena)
    for key, _, text in routes.patterns():
        if access.reaches(cast.lena, key) and not text.startswith("accounts/"):
            named = {part: (things.get(f"{key}.{part}") or things[part]).own for part in names_in(text)}
            with transaction.atomic():
                browser.post(address_of(text, named))
                transaction.set_rollback(True)
    assert {"upload_table", "table_check", "site_table"} <= readers
    assert readers - limits.BODIES.keys() == set()


def test_an_archive_of_the_size_that_is_allowed_comes_in_by_every_way(settings: Any) -> None:
    ways = [key for key in limits.BODIES if "file" in key or "tus" in key]
    assert len(ways) == 5
    assert all(limits.BODIES[key]() > settings.MAX_ARCHIVE_BYTES > settings.MAX_FILE_BYTES for key in ways)


def test_who_asks_too_often_waits_and_others_do_not(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.THROTTLES = True
    monkeypatch.setitem(limits.RATES, "api:", Rate(3, 3600))
    browser = cast.client(cast.alice)
    answers = [browser.get(address) for address in ("/api/v1/sites/", "/api/v1/images/") * 2]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[3].json()["code"] == "too_many"
    assert int(answers[3]["Retry-After"]) <= 3600
    assert cast.client(cast.bob).get("/api/v1/sites/").status_code == 200


def test_links_cannot_be_guessed_without_end(cast: Cast, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.THROTTLES = True
    monkeypatch.setitem(limits.RATES, "invitation", Rate(2, 3600))
    assert [Client().get(f"/invitation/{n:043}/").status_code for n in range(3)] == [404, 404, 429]


@pytest.mark.parametrize(
    ("proxies", "forwarded", "found"),
    [
        (0, "9.9.9.9", "10.0.0.1"),
        (1, "", "10.0.0.1"),
        (1, "1.2.3.4", "1.2.3.4"),
        (1, "9.9.9.9, 1.2.3.4", "1.2.3.4"),
        (2, "9.9.9.9, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        (2, "1.2.3.4", "10.0.0.1"),
    ],
)
def test_behind_proxies_only_what_they_say_is_believed(settings: Any, proxies: int, forwarded: str, found: str) -> None:
    settings.PROXIES = proxies
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    assert client_address(RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", headers=headers)) == found


def test_without_the_cache_nobody_is_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise throttle.RedisError("away")

    monkeypatch.setattr(type(cache), "add", away, raising=False)
    monkeypatch.setattr(throttle, "cache", type("Away", (), {"add": away, "incr": away})())
    throttle.count("x", "y", Rate(0, 60))


# ---- reports ------------------------------------------------------------------------------------------------------------
REPORT = {
    "csp-report": {
        "document-uri": "https://winnow.example.org/images/?search=Maria",
        "blocked-uri": "https://evil.example.org/steal?who=Maria",
        "effective-directive": "script-src-elem",
        "script-sample": "Maria",
    }
}


def test_a_report_is_logged_without_anything_of_the_person(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        answer = Client(enforce_csrf_checks=True).post("/csp-report", json.dumps(REPORT), content_type="application/csp-report")
    assert answer.status_code == 204
    assert "csp violation: script-src-elem of https://evil.example.org on gallery" in caplog.text
    assert "Maria" not in caplog.text


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[]", b"[1]", b'{"csp-report": []}', b'{"body": {"blockedURL": "http://[", "documentURL": 3}}']
)
def test_nonsense_at_the_reports_breaks_nothing(body: bytes) -> None:
    assert Client().post("/csp-report", body, content_type="application/reports+json").status_code in (204, 400)
