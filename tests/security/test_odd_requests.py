"""Requests that once broke something: each class of them by one of its kind. (The walk of test_hostile_values.py found them.)"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

import pytest
from django.test import Client

from portal.accounts import tokens
from portal.wsgi import application
from tests.access_matrix import _security_key, signed_in
from tests.cast import Cast, make_version
from tests.security.hostile import Environs

pytestmark = pytest.mark.django_db
UPLOADS = "/api/v1/uploads/"
DEEP = "[" * 15_000
_ABOUT = {"id": "YQ", "rawId": "YQ", "type": "public-key"}
_SAID: list[dict[str, Any]] = [
    {"clientDataJSON": "YQ", "attestationObject": "YQ", "authenticatorData": "YQ", "signature": "YQ"},
    {"clientDataJSON": "e30", "attestationObject": "oA", "authenticatorData": "YQ", "signature": "YQ", "userHandle": "YQ"},
    {"clientDataJSON": 1, "attestationObject": None, "authenticatorData": [], "signature": {}},
]
KEYS = [json.dumps(_ABOUT | {"response": response}) for response in _SAID]


@pytest.fixture
def program(cast: Cast) -> Client:
    secret = tokens.make(site=cast.north, name="a program", days=1, actor=cast.alice)[1]
    return Client(headers={"Authorization": f"Token {secret}"}, raise_request_exception=False)


@pytest.mark.parametrize(("charset", "status"), [("idna", 415), ("hex", 415), ("utf-7", 415), ("x" * 20_000, 415), ("UTF-8", 302)])
def test_a_character_set_that_breaks_the_reading_of_a_request_is_refused(db: None, charset: str, status: int) -> None:
    said: list[str] = []
    environ: Any = Environs().get("/?a=%EF%BC%90", CONTENT_TYPE=f"text/plain; charset={charset}")
    list(application(environ, lambda line, *_: said.append(line)))
    assert said[0].startswith(str(status))


def test_numbers_of_thousands_of_digits_are_no_numbers(cast: Cast) -> None:
    version, huge = make_version(), "9" * 5000
    browser = cast.client(cast.max)
    browser.raise_request_exception = False
    assert browser.get("/training/", {"snapshot": huge}).status_code == 200
    assert browser.post("/training/new/", {"snapshot": huge}).status_code == 400
    assert browser.get(f"/models/{version.pk}/", {"evaluation": huge}).status_code == 200
    assert browser.get("/reviews/", {"before": huge}).status_code == 200
    assert cast.client(cast.alice).get("/uploads/", {"before": huge}).status_code == 200


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "²", "x"])
def test_a_length_that_is_no_length_is_refused(cast: Cast, length: str) -> None:
    assert cast.client(cast.alice).get("/images/", CONTENT_LENGTH=length).status_code == 413


def test_a_program_may_send_what_it_likes_for_json_and_hears_what_is_wrong(program: Client) -> None:
    bodies = [
        DEEP,
        '{"note": "\\ud800"}',
        '{"note": "\\u0000"}',
        '{"expected": true}',
        '{"expected": -1}',
        '{"note": 1}',
        "[]",
        "\ufffe",
        "9" * 5000,
    ]
    answers = [program.post(UPLOADS, body, content_type="application/json") for body in [*bodies, json.dumps({"note": "x" * 201})]]
    answers.append(program.post(UPLOADS, {"note": "a form"}))
    assert [answer.status_code for answer in answers] == [400] * len(answers)
    assert all(answer.json()["code"] == "bad_input" for answer in answers)


def test_a_browser_may_report_nonsense(db: None) -> None:
    bodies = [DEEP, '{"csp-report": {"document-uri": "http://["}}', '[{"body": 1}]', "\\ud800"]
    answers = [Client(raise_request_exception=False).post("/csp-report", body, content_type="application/csp-report") for body in bodies]
    assert [answer.status_code for answer in answers] == [400, 204, 204, 400]


@pytest.mark.parametrize("address", ["reauthenticate", "add"])
def test_a_security_key_that_is_nested_without_end_is_refused(cast: Cast, address: str) -> None:
    _security_key(cast.alice)
    browser = signed_in(cast, cast.alice)
    browser.get(f"/accounts/2fa/webauthn/{address}/")
    answers = {}
    for credential in (
        DEEP,
        "null",
        "[]",
        "{}",
        "1",
        '"x"',
        '{"id": 1}',
        '{"id": "a", "rawId": "=", "type": "public-key", "response": {}}',
        *KEYS,
    ):
        answers[credential[:200]] = browser.post(f"/accounts/2fa/webauthn/{address}/", {"name": "x", "credential": credential}).status_code
    assert answers.pop(DEEP[:200]) == 400
    assert set(answers.values()) <= {200, 302, 400, 429}, answers


@pytest.mark.parametrize("position", ["x", "9" * 40, "-1", "1'"])
def test_a_cursor_of_somebody_elses_making_is_refused_in_the_words_of_all_errors(cast: Cast, position: str) -> None:
    cursor = b64encode(f"p={position}".encode()).decode()
    answer = cast.client(cast.alice).get("/api/v1/images/", {"cursor": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_input")


def test_errors_of_the_framework_have_the_form_of_all_others(cast: Cast) -> None:
    browser = cast.client(cast.alice)
    for answer in (browser.post("/api/v1/images/"), browser.get("/api/v1/images/", {"state": "strange"}), browser.get("/api/v1/images/0/")):
        assert set(answer.json()) == {"code", "message"}
        assert answer.headers["Content-Type"] == "application/json"
    assert browser.get("/api/v1/images/", headers={"Accept": "text/html"}).headers["Content-Type"] == "application/json"
