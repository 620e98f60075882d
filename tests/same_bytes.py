"""Records what somebody is answered, so that two states of the database can be compared byte by byte.

Almost nothing is struck out of an answer. Instead what would differ by itself is made equal before each question: chance is drawn from dice
that are thrown anew (tokens, nonces, sessions' keys), the clock stands, caches are empty, and the database's sequences stand where they
stood (`Numbers`), so that a new row gets the same number in both states. What a question changes is undone.

Struck out are times of day, and only from answers within a conversation that has written something: rows are dated by the database's own
clock, which cannot be made to stand.
"""

from __future__ import annotations

import os
import random
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psycopg
import time_machine
from django.conf import settings
from django.core.cache import cache
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client

from portal.embedded import OWNER
from portal.images import room
from tests import servers
from tests.access_matrix import body_of

NOON = datetime.now(UTC)
"""Where the clock stands: near the database's, which is its own."""
_SHOWN = 60


@dataclass(frozen=True)
class Step:
    """One request. `follow`: a redirect's own page is asked for too."""

    method: str
    address: str
    sent: dict[str, Any] = field(default_factory=dict)
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    follow: bool = False

    def __str__(self) -> str:
        shown = {name: value if isinstance(value, str | int) else "..." for name, value in self.sent.items()}
        return f"{self.method} {self.address} {shown or ''}".strip()


Question = tuple[Step, ...]
"""Steps of one person after one another; the next sees what those before did."""


@dataclass(frozen=True)
class Answer:
    status: int
    headers: tuple[tuple[str, str], ...]
    cookies: str
    body: bytes
    queries: int


Answers = list[tuple[Question, tuple[Answer, ...]]]


@contextmanager
def same_dice(seed: int) -> Iterator[None]:
    """The clock stands, and chance repeats itself."""
    dice = random.Random(seed)
    with (
        time_machine.travel(NOON, tick=False),
        patch.object(secrets, "choice", dice.choice),
        patch.object(secrets, "token_bytes", lambda length=32: dice.randbytes(length or 32)),
        patch.object(os, "urandom", dice.randbytes),
        patch("knox.crypto.generate_bytes", dice.randbytes),
    ):
        yield


def record(browser: Client, questions: Iterable[Question]) -> Answers:
    """Every question with its answers. Files that the questions left in the stores are removed, as their rows are."""
    cache.clear()
    before = set(_files())
    different = {repr(question): question for question in questions}
    answers = [(question, _ask(browser, question, number)) for number, question in enumerate(different.values())]
    for left in set(_files()) - before:
        left.unlink()
    return answers


def _files() -> Iterator[Path]:
    for folder in (settings.ORIGINALS_DIR, settings.CLEAN_DIR):
        yield from (path for path in Path(folder).rglob("*") if path.is_file())


def _ask(browser: Client, question: Question, number: int) -> tuple[Answer, ...]:
    kept, answers = copy(browser.cookies), []
    room._counted.clear()
    with same_dice(number), transaction.atomic():
        for step in question:
            answers.append(_answer(browser, step))
            if step.follow and (way := dict(answers[-1].headers).get("Location", "")).startswith("/"):
                answers.append(_answer(browser, Step("GET", way)))
        if any(step.method != "GET" for step in question):
            answers = [replace(answer, body=_TIMES.sub(b"TIME", answer.body)) for answer in answers]
        transaction.set_rollback(True)
    browser.cookies = kept
    return tuple(answers)


def talk(browser: Client, conversation: Callable[[Callable[[Step], Answer]], None]) -> Answers:
    """What is said in a conversation whose steps follow from its answers; it is undone at its end."""
    kept, told = copy(browser.cookies), Answers()

    def say(step: Step) -> Answer:
        given = _answer(browser, step)
        told.append(((step,), (given,)))
        return given

    with same_dice(0), transaction.atomic():
        conversation(say)
        transaction.set_rollback(True)
    browser.cookies = kept
    return told


def _answer(browser: Client, step: Step) -> Answer:
    asked = 0

    def counted(execute: Any, *rest: Any) -> Any:
        nonlocal asked
        asked += 1
        return execute(*rest)

    with connection.execute_wrapper(counted):
        given = _send(browser, step)
        body = body_of(given)
    cookies = given.cookies.output(header="")
    return Answer(given.status_code, tuple(sorted(given.headers.items())), cookies, body, asked)


def _send(browser: Client, step: Step) -> Any:
    if step.body is not None or step.method not in ("GET", "POST"):
        kind = step.headers.get("Content-Type", "application/octet-stream")
        return browser.generic(step.method, step.address, step.body or b"", content_type=kind, headers=step.headers)
    # a file is read to its end by sending it: each time a fresh one
    sent = {name: SimpleUploadedFile(*value) if isinstance(value, tuple) else value for name, value in step.sent.items()}
    send = browser.get if step.method == "GET" else browser.post
    return send(step.address, sent, headers=step.headers)


def differences(first: Answers, second: Answers, *, queries: bool = True) -> Iterator[str]:
    """Each question that is answered otherwise, and by what it shows."""
    for (question, answers), (again, others) in zip(first, second, strict=True):
        if question != again:
            yield f"{question[-1]}: leads on to {again[-1]}"
        for number, (one, other) in enumerate(zip(answers, others, strict=False)):
            if said := _told_apart(one, other, queries=queries):
                yield f"{question[min(number, len(question) - 1)]}: {said}"
                break


def _told_apart(one: Answer, other: Answer, *, queries: bool) -> str:
    if one.status != other.status:
        return f"{one.status} or {other.status}"
    if one.body != other.body:
        at = next((at for at, (a, b) in enumerate(zip(one.body, other.body, strict=False)) if a != b), min(len(one.body), len(other.body)))
        start = max(0, at - _SHOWN)
        return f"body: {one.body[start : at + _SHOWN]!r} or {other.body[start : at + _SHOWN]!r}"
    for name in ("headers", "cookies"):
        if getattr(one, name) != getattr(other, name):
            return f"{name}: {getattr(one, name)} or {getattr(other, name)}"
    return f"{one.queries} or {other.queries} queries" if queries and one.queries != other.queries else ""


_TIMES = re.compile(rb"\d\d:\d\d(:\d\d(\.\d+)?)?")
_ON = re.compile(rb'[?&;](before|after|cursor)=([^"&\s]+)')


def further_pages(answers: Answers) -> list[Question]:
    """The pages that lists lead on to, asked for by their links; of the questions to one address with one name, the last's."""
    found: dict[tuple[str, ...], Question] = {}
    for question, given in answers:
        step, link = question[-1], _ON.search(given[-1].body)
        if link and step.method == "GET":
            name, value = (part.decode() for part in link.groups())
            if name not in step.sent:
                found[step.address, *step.sent] = (Step("GET", step.address, {**step.sent, name: value}),)
    return list(found.values())


class Numbers:
    """Where the database's sequences stand. Moved by their owner; the application may not."""

    def __init__(self) -> None:
        self._db = psycopg.connect(servers.postgres.url(role=OWNER), autocommit=True)
        self._names = [row[0] for row in self._db.execute("SELECT sequencename FROM pg_sequences WHERE schemaname = 'public'")]

    def standing(self) -> dict[str, int]:
        rows = self._db.execute("SELECT sequencename, COALESCE(last_value, 0) FROM pg_sequences WHERE schemaname = 'public'")
        return dict(rows)

    def put(self, where: dict[str, int] | int) -> None:
        """Every sequence to its place, or all to one."""
        places = where if isinstance(where, dict) else dict.fromkeys(self._names, where)
        for name, value in places.items():
            self._db.execute("SELECT setval(%s::regclass, %s, %s)", (f'public."{name}"', max(value, 1), value > 0))

    def close(self) -> None:
        self._db.close()
