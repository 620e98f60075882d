"""What is written into logs: who by number, what by the route's name; no address, no file's name, no query, no locals."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings as django_settings
from django.db import IntegrityError
from django.test import Client

from portal.core import logs
from portal.core.logs import scrubbed
from tests.cast import Cast, make_image

pytestmark = pytest.mark.django_db


_LOGGERS = ("", "django.request", "django.server")
_FIRST: list[logging.Handler] = []


@pytest.fixture(autouse=True)
def the_log_as_it_was() -> Iterator[None]:
    """A handler keeps the stream that was there when it was made, and a test's own is closed with it: left behind, it would answer
    every later line of every later test with a page about a closed file."""
    before = [(logging.getLogger(name), [*logging.getLogger(name).handlers], logging.getLogger(name).propagate) for name in _LOGGERS]
    _FIRST[:] = _FIRST or before[0][1]
    yield
    logging.config.dictConfig(django_settings.LOGGING)
    for logger, handlers, propagate in before:
        logger.handlers[:], logger.propagate = handlers, propagate


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """The log as production writes it."""
    sink = io.StringIO()
    monkeypatch.setattr(sys, "stderr", sink)
    logging.config.dictConfig(logs.configure(level="INFO", as_json=True))
    return sink


def _read(lines: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.getvalue().splitlines()]


def test_a_request_leaves_one_line_with_its_number_person_route_status_and_time(cast: Cast, lines: io.StringIO) -> None:
    image = make_image(cast.north, state="clean", name="Maria Lopez.jpg", patient="P-4711")
    cast.client(cast.alice).get("/images/", {"search": "Maria"}, headers={"User-Agent": "Mosaic of alice@example.org"})
    cast.client(cast.alice).get(f"/images/{image.pk}/")
    Client().get("/invitation/a-secret-link-of-somebody/")
    found = [line for line in _read(lines) if line["event"] == "request"]
    assert [(line["route"], line["status"], line["user_id"]) for line in found] == [
        ("gallery", 200, cast.alice.pk), ("image", 200, cast.alice.pk), ("invitation", 404, None)
    ]  # fmt: skip
    assert all(isinstance(line["ms"], int) and len(line["request_id"]) == 32 for line in found)
    assert len({line["request_id"] for line in found}) == 3
    assert not [word for word in ("Maria", "search", "P-4711", "alice@", "secret-link", "Mosaic") if word in lines.getvalue()]


def test_an_error_is_told_by_kind_and_place_and_not_by_its_words(cast: Cast, lines: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        secret_local = "Maria in a local"
        raise IntegrityError(f"duplicate DETAIL: Key (code)=(P-4711) {secret_local}")

    monkeypatch.setattr("portal.web.selectors.gallery", broken)
    browser = cast.client(cast.alice)
    browser.raise_request_exception = False
    assert browser.get("/images/").status_code == 500
    (line,) = [line for line in _read(lines) if line["level"] == "error"]
    assert (line["event"], line["route"], line["status"], line["error"]) == ("request", "gallery", 500, "IntegrityError")
    assert any("broken" in place for place in line["where"])
    assert "P-4711" not in lines.getvalue()
    assert "Maria" not in lines.getvalue()


def test_lines_of_libraries_and_of_workers_take_the_same_way(lines: io.StringIO) -> None:
    logging.getLogger("celery.worker").warning("lost alice@example.org and 'Maria Lopez.jpg' at /images/?search=Maria")
    try:
        raise OSError(28, "No space left on device", "/data/originals/Maria Lopez.jpg")
    except OSError:
        structlog.get_logger("worker").exception("broke")
    first, second = _read(lines)
    assert first["event"] == "lost [address] and [file] at /images/?[query]"
    assert (second["error"], second["error_said"]) == ("OSError", "No space left on device")
    assert "Maria" not in lines.getvalue()


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("to Bob.Smith+x@example.co.uk now", "to [address] now"),
        ("Key DETAIL:  Key (code)=(P1) exists", "Key DETAIL: [left out]"),
        ("read scan-0001.JPEG twice", "read [file] twice"),
        ("GET /reading/picture/Zx81-token/ 404", "GET /[link]/ 404"),
        ("GET /reading/revealed/Zx81-token/ 404", "GET /[link]/ 404"),
        ("GET /reading/again/Zx81:1tok:en_-/ 404", "GET /[link]/ 404"),
        ("12 events, head 3f", "12 events, head 3f"),
    ],
)
def test_scrubbing(text: str, left: str) -> None:
    assert scrubbed(text) == left


def test_at_a_terminal_lines_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logging.config.dictConfig(logs.configure(level="INFO", as_json=False))
    logging.getLogger("winnow.test").error("Invariant broken: %s", "stuck")
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.split(" ", 1)[1] == "ERROR winnow.test Invariant broken: stuck"


def test_what_these_tests_did_to_the_log_is_undone() -> None:
    """So that a later test's failure shows its own lines and nothing else."""
    ours = [handler for handler in logging.root.handlers if type(handler) is logging.StreamHandler]
    assert [handler for handler in _FIRST if handler in ours] == ours
    assert len(ours) == 1
    assert not ours[0].stream.closed
    assert ours[0].stream.fileno() >= 0
