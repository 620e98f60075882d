"""Schemathesis over the API: every operation as every caller, with what fits the schema and what does not.

What an answer must be: no server error; a status, a type and a body that the schema names; a refusal for what does not fit; and 401
for who is not known, whatever else is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, transaction
from django.urls import Resolver404, resolve
from hypothesis import HealthCheck, Phase, given, seed
from hypothesis import settings as how
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi import checks as by_schema

from portal.accounts import tokens
from portal.accounts.models import User
from portal.wsgi import application
from tests.access_matrix import Thing, signed_in
from tests.cast import Cast

SCHEMA = "/api/v1/schema/?format=json"
CHECKS: list[Any] = [
    not_a_server_error,
    by_schema.status_code_conformance,
    by_schema.content_type_conformance,
    by_schema.response_schema_conformance,
    by_schema.negative_data_rejection,
]
REFUSED = CHECKS[:-1]
"""A refusal is one, with 412 too, which the library does not count."""
UNKNOWN = ("nobody", "stranger")
_NAMED = ("own", "other", "absent", "generated")


@dataclass(frozen=True)
class Caller:
    """Who asks. A `stranger` has a session and a token that were never given out."""

    name: str
    credentials: dict[str, str] = field(default_factory=dict)


@dataclass
class Tally:
    cases: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    """One of each kind, with an example."""


class Undone:
    """The portal's WSGI application, asked by `caller` (None: by who is named in the request); what a request changes is taken back."""

    def __init__(self, caller: Caller | None) -> None:
        self.caller = caller

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        if self.caller:
            for name in ("HTTP_COOKIE", "HTTP_AUTHORIZATION"):
                environ.pop(name, None)
            environ |= self.caller.credentials
        with _connected(), transaction.atomic():
            answer = application(environ, start_response)
            body = b"".join(answer)
            getattr(answer, "close", lambda: None)()
            transaction.set_rollback(True)
        return [body]


@contextmanager
def _connected() -> Iterator[None]:
    """The connection that holds the test's transaction outlives the request, as with Django's own test client."""
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield
    for signal in signals:
        signal.connect(close_old_connections)


def callers(cast: Cast, people: dict[str, User | None]) -> list[Caller]:
    known = [Caller(name, _session(cast, user)) for name, user in people.items() if user]
    secret = tokens.make(site=cast.north, name="a program", days=1, actor=cast.alice)[1]
    strange = {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={'x' * 32}", "HTTP_AUTHORIZATION": f"Token {tokens.PREFIX}{'x' * 64}"}
    return [Caller("nobody"), Caller("stranger", strange), *known, Caller("token", {"HTTP_AUTHORIZATION": f"Token {secret}"})]


def _session(cast: Cast, user: User) -> dict[str, str]:
    return {"HTTP_COOKIE": f"{settings.SESSION_COOKIE_NAME}={signed_in(cast, user).cookies[settings.SESSION_COOKIE_NAME].value}"}


@schemathesis.serializer("application/offset+octet-stream")
def _piece(context: Any, value: Any) -> bytes:
    """A piece of a file by tus is bytes, as those of any other type."""
    del context
    return value if isinstance(value, bytes) else str(getattr(value, "data", value)).encode(errors="replace")


def operations(who: Iterable[Caller]) -> list[Any]:
    """Every operation of the schema, as the portal serves it to somebody with a role."""
    loaded: Any = schemathesis.openapi.from_wsgi(SCHEMA, Undone(next(caller for caller in who if caller.name == "alice")))
    loaded.config.generation.update(with_security_parameters=False)
    return [found.ok() for found in loaded.get_all_operations()]


def drive(
    every: Iterable[tuple[Any, Caller]], things: dict[str, Thing], *, each: int, number: int, tally: Tally
) -> Iterator[tuple[Any, Caller]]:
    """About `each` cases of every pair; yields a pair when it is done."""
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    for operation, caller in every:
        for mode in GenerationMode:
            try:
                _drive(operation, caller, things, mode, max(1, each // 2), number, tally)
            except HypothesisException:  # nothing of this kind can be made for this operation
                continue
        yield operation, caller


def _drive(operation: Any, caller: Caller, things: dict[str, Thing], mode: GenerationMode, count: int, number: int, tally: Tally) -> None:
    @seed(number)
    @how(max_examples=count, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode), which=st.sampled_from(_NAMED))
    def one(case: Any, which: str) -> None:
        if mode.is_positive and which != "generated":
            for name in case.path_parameters or {}:
                case.path_parameters[name] = _written(getattr(things[name], which))
        judge(case, caller, tally)

    one()


def _written(thing: Any) -> str:
    return str(getattr(thing, "pk", thing))


def judge(case: Any, caller: Caller, tally: Tally) -> None:
    """One case asked, and its faults noted."""
    tally.cases += 1
    case.operation.schema.app.caller = caller
    answer = case.call()
    tally.answers[answer.status_code] = tally.answers.get(answer.status_code, 0) + 1
    where = f"{case.operation.label} as {caller.name}"
    if caller.name in UNKNOWN and answer.status_code != 401 and _is_route(case.formatted_path):
        tally.faults.setdefault(f"{where}: not known, but answered {answer.status_code}", case.as_curl_command())
    try:
        case.validate_response(answer, checks=CHECKS if answer.status_code < 400 or answer.status_code >= 500 else REFUSED)
    except FailureGroup as found:
        for fault in found.exceptions:
            _note(tally, where, answer.status_code, fault, case)
    except Failure as fault:
        _note(tally, where, answer.status_code, fault, case)


def _note(tally: Tally, where: str, status: int, fault: BaseException, case: Any) -> None:
    title = getattr(fault, "title", type(fault).__name__)
    tally.faults.setdefault(f"{where}: {title} ({status})", f"{fault}\n{case.as_curl_command()}")


def _is_route(path: str) -> bool:
    try:
        resolve(path)
    except Resolver404:
        return False
    return True
