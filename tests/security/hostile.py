"""A generated walk over every address that is there: hostile values as everybody, and nothing may answer 5xx.

What a route reads is learnt as it goes: forms are harvested from the pages, and every name that a view looks up in its query, its form
or its files is noted and sent the next time. One value in a few is hostile, so that the others carry the request past the first check.
"""

from __future__ import annotations

import logging
import random
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO, StringIO
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from django.core.signals import got_request_exception
from django.http import QueryDict
from django.test import RequestFactory
from django.urls import Resolver404, resolve
from django.utils.datastructures import MultiValueDict

from portal.accounts import access, routes
from portal.accounts.models import User
from tests.access_matrix import Thing, address_of, make_things, names_in, signed_in
from tests.cast import Cast, make_image, picture_bytes
from tests.security.contract import Undone

METHODS = ("POST", "POST", "POST", "GET", "GET", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
_BIG = str(2**63)
_JSON = ("[]", "{}", "[" * 20_000, '{"a":' * 5000, "[0,0,1e309,1]", '{"x":-1}', "[[1,2],[3]]", '{"note": "\\ud800"}', '{"note": "\\u0000"}')
TEXTS = (
    *_JSON,
    *("", " ", "\0", "a\0b", "\ud800", "x" * 100_000, "é" * 300, "\u202e\u200b\ufeff", "\U0001f9ea" * 50),
    *(
        "NaN",
        "-inf",
        "1e400",
        "-1",
        "0",
        _BIG,
        "9" * 5000,
        "-" + _BIG,
        "²",
        "٣",
        "1.5",
        "0x10",
        "1_000",
        "００１",
        "true",
        "null",
        "1,2,3",
        "1;2",
    ),
    *("2024-02-30", "0000-00-00", "99999-01-01", "10000-12-31T99:99", "0001-01-01"),
    *("../../etc/passwd", "..\\..", "%s%n", "%", "_", "\\", "'; DROP TABLE x; --", "{{7*7}}", "<script>alert(1)</script>"),
    *("a\r\nSet-Cookie: b=c", "https://evil.example/", "//evil.example", "javascript:alert(1)", "nobody@example.org", "a@b"),
)
BYTES = (
    *(b"\xff\xfe", b"\xed\xa0\x80", b"%ff%fe", b"%00", b"a=%ed%a0%80", b"&&&==", b"=" * 500, b"a" * 50_000, b"\r\n\r\n", b"\x00"),
    *(b"[" * 50_000, b'{"csp-report": {"document-uri": "http://["}}', b'[{"body": 1}]'),
)
HEADERS = {
    "RANGE": ("bytes=0-", "bytes=-0", "bytes=9-1", "bytes=0-1,2-3", "bytes=" + "9" * 5000 + "-", "lines=1-2", "bytes=²-", "\xff"),
    "IF_MATCH": ('"', "*", 'W/"', "x" * 5000, '"a","b', "\xff"),
    "IF_NONE_MATCH": ('"', "*", 'W/"x', "\x00", "x" * 5000),
    "IF_MODIFIED_SINCE": ("Thu, 99 Foo 0000", "Sat, 01 Jan 99999 00:00:00 GMT", "²", "\xff"),
    "IF_RANGE": ('"x', "Thu, 01 Jan 1970 00:00:00 GMT"),
    "ACCEPT": ("", "application/json", "*/*;q=²", "text/html;q=-1", "x" * 5000, "\xff"),
    "ACCEPT_LANGUAGE": ("xx-" * 100, "\xff", "de;q=nan"),
    "HX_REQUEST": ("true",),
    "HX_CURRENT_URL": ("javascript:1", "\xff", "http://[", "%ff"),
    "HX_CURRENT_URL_URI_AUTOENCODED": ("true",),
    "HX_TRIGGER_NAME": ("\xff",),
    "X_FORWARDED_FOR": ("\xff", ",,,", "x" * 3000, "1.2.3.4, ²"),
    "AUTHORIZATION": ("Token", "Token \xff", "Basic =", "Bearer " + "x" * 5000, "Token " + "x" * 199),
    "REFERER": ("\xff", "http://[", "x" * 5000),
    "ORIGIN": ("null", "http://[", "\xff"),
    "UPLOAD_OFFSET": ("-1", _BIG, "²", "9" * 5000, "x"),
    "UPLOAD_LENGTH": ("-1", _BIG, "²", "9" * 5000, "0"),
    "UPLOAD_METADATA": (
        "name",
        "name ====",
        "name AA==,mark AA==",
        "name 7aCA",
        "\xff",
        "name " + "QUFB" * 3000,
        "name YQBi,mark YQBi",
        "mark 7aCA",
    ),
    "UPLOAD_CHECKSUM": ("sha1", "sha1 x", "md5 AAAA", "sha256 " + "x" * 3000),
    "TUS_RESUMABLE": ("1.0.0", "0", "\xff"),
    "X_FILE_NAME": ("\xff", "a%00b", "../x"),
    "CONTENT_LENGTH": ("", "-1", "abc", "²", "9" * 30, "9" * 5000, "0", "1_0"),
    "CONTENT_TYPE": (
        *("", "application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=" + "x" * 300, "x" * 5000, "\xff"),
        *("application/x-www-form-urlencoded; charset=utf-7", "application/x-www-form-urlencoded; charset=nonsense"),
        *("application/json; charset=idna", "text/plain; charset=hex", "application/csp-report", "application/offset+octet-stream"),
    ),
    "COOKIE": ("sessionid=\xff", "csrftoken=" + "x" * 5000, "messages=x; sessionid=", "=;;;=", "sessionid=\x00"),
}
_TUS = {
    "HTTP_TUS_RESUMABLE": "1.0.0",
    "HTTP_UPLOAD_LENGTH": "10",
    "HTTP_UPLOAD_OFFSET": "0",
    "HTTP_UPLOAD_METADATA": "name YS5qcGc=",
}
FILES = (
    *(b"", b"\0", b"PK\x03\x04" + b"\0" * 30, b"a,b\n1", b"file,patient\n" + b"\xff\xfe,\0\n", b"GIF89a", b'file,patient\n"'),
    *(b"\xef\xbb\xbf", b"," * 5000),
)
NAMES = ("a.jpg", "", "..", "../../x.png", "a\0b.jpg", "\ud800.csv", "x" * 5000 + ".zip", "a\r\nb.csv", "é.xlsx", "%00.zip", '";x="')


@dataclass
class Form:
    """What a route takes, as far as is known: names, and values that a page itself would send."""

    fields: dict[str, set[str]] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)

    def add(self, name: str, value: str) -> None:
        known = self.fields.setdefault(name, set())
        if len(known) < 12:
            known.add(value)


@dataclass
class Found:
    cases: int = 0
    answers: dict[int, int] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    """One of each place in the code, with the request that reached it."""


class Walk:
    """`people` by name; `token` an upload token's secret. The same number makes the same walk."""

    def __init__(self, cast: Cast, things: dict[str, Thing], people: dict[str, User | None], token: str, number: int) -> None:
        self.things, self.chance, self.found = things, random.Random(number), Found()
        self.routes = [(key, text) for key, _, text in routes.patterns()]
        self.forms: dict[str, Form] = {key: Form() for key, _ in self.routes}
        self.ask = Undone(None)
        self.browsers = {name: _browser(cast, user) for name, user in people.items()}
        self.browsers["token"] = Environs(HTTP_AUTHORIZATION=f"Token {token}")
        self.by_person = {name: self._reached(user) for name, user in people.items()} | {"token": self._for_programs()}
        for key in (*(f"reading_{name}" for name in ("submit", "draft", "undo", "skip", "extend", "release")), "adjudication_submit"):
            self.forms[key].fields["token"] = {things["reading_picture.token"].own.token, things["reading_picture.token"].other.token}
        self.not_taken: set[tuple[str, str]] = set()
        self.error: list[str] = []

    def _reached(self, user: User | None) -> list[tuple[str, str]]:
        """A refused request tells little: nine in ten come from somebody who reaches the route."""
        return [(key, text) for key, text in self.routes if access.is_open(key) or (user and access.reaches(user, key))]

    def _for_programs(self) -> list[tuple[str, str]]:
        return [(key, text) for key, text in self.routes if key in access.BY_TOKEN]

    def learn(self) -> None:
        """Every page, for its forms, as two of those who reach it (the last of them are administrators and adjudicators)."""
        seen: dict[str, int] = {}
        for name, reached in reversed(self.by_person.items()):
            for key, text in reached:
                if key != "account_logout" and seen.get(key, 0) < 2:
                    seen[key] = seen.get(key, 0) + 1
                    address = self._address(key, text, "own")
                    self._ask(name, key, "GET", address, {})

    def steps(self, count: int) -> Iterator[Found]:
        """The walk, one request after the other."""
        for n in range(count):
            key, text = self.routes[n % len(self.routes)]
            reached_by = [name for name, reached in self.by_person.items() if (key, text) in reached]
            name = self.chance.choice(reached_by if reached_by and self.chance.random() < 0.9 else [*self.browsers])
            self._step(name, key, text)
            yield self.found

    def _step(self, name: str, key: str, text: str) -> None:
        chance = self.chance
        address = self._address(key, text, chance.choice(("own", "own", "own", "other", "absent", "hostile")))
        method = chance.choice(METHODS)
        if (key, method) in self.not_taken and chance.random() < 0.9:
            method = chance.choice([one for one in METHODS if (key, one) not in self.not_taken] or ["GET"])
        more: dict[str, Any] = dict(_TUS) if "tus" in key else {}
        if chance.random() < 0.3:
            header = chance.choice([*HEADERS])
            more[header if header.startswith("CONTENT") else f"HTTP_{header}"] = chance.choice(HEADERS[header])
        more["QUERY_STRING"] = self._query(self.forms[key], method)
        body, kind = self._body(self.forms[key]) if method in ("POST", "PUT", "PATCH", "DELETE") else (b"", "")
        if "tus" in key and chance.random() < 0.8:
            body, kind = b"12345", "application/offset+octet-stream"
        self._ask(name, key, method, address, {"CONTENT_TYPE": kind, "CONTENT_LENGTH": str(len(body)), **more}, body)

    # ---- what is sent -------------------------------------------------------------------------------------------------

    def _address(self, key: str, text: str, which: str) -> str:
        named: dict[str, Any] = {}
        for part in names_in(text):
            thing = self.things.get(f"{key}.{part}") or self.things[part]
            named[part] = getattr(thing, which) if which != "hostile" else self._in_path(thing.own)
        return address_of(text, named)

    def _in_path(self, own: Any) -> Any:
        return own if self.chance.random() < 0.3 else quote(self.chance.choice(TEXTS)[:3000].encode(errors="replace"), safe="%")

    def _query(self, form: Form, method: str) -> str:
        roll = self.chance.random()
        if roll < 0.06:
            return self.chance.choice(BYTES).decode("latin-1")
        return self._encoded(form) if method in ("GET", "HEAD", "OPTIONS") or roll < 0.3 else ""

    def _encoded(self, form: Form) -> str:
        return urlencode([(name, text.encode("utf-8", "surrogatepass")) for name, text in self._pairs(form)])

    def _pairs(self, form: Form) -> list[tuple[str, str]]:
        """Every known field with a value of its page; a few of them hostile, missing or doubled."""
        names = sorted(form.fields)
        spoiled = set(self.chance.sample(names, min(len(names), self.chance.choice((0, 1, 1, 1, 2)))))
        pairs = []
        for name in names:
            good = sorted(form.fields[name]) or ["1"]
            roll = self.chance.random()
            if name == "csrfmiddlewaretoken":
                continue
            if name not in spoiled:
                pairs.append((name, self.chance.choice(good)))
            elif roll < 0.8:
                pairs.append((name, self.chance.choice(TEXTS)))
            elif roll < 0.9:
                pairs += [(name, self.chance.choice(TEXTS)), (name, self.chance.choice(good))]
        return pairs

    def _body(self, form: Form) -> tuple[bytes, str]:
        roll = self.chance.random()
        if roll < 0.06:
            return self.chance.choice(BYTES), self.chance.choice(HEADERS["CONTENT_TYPE"])
        if roll < 0.12:
            return self.chance.choice(TEXTS).encode(errors="replace"), "application/json"
        if (form.files and roll < 0.9) or roll < 0.2:
            return self._multipart(form)
        return self._encoded(form).encode(), "application/x-www-form-urlencoded"

    def _multipart(self, form: Form) -> tuple[bytes, str]:
        parts = []
        for name, text in self._pairs(form):
            parts.append(_part(f'name="{name}"', text.encode("utf-8", "surrogatepass")))
        for name in sorted(form.files):
            data = self.chance.choice((*FILES, picture_bytes(seed=1), b"file,patient,exam\nphoto.jpg,P1,E1\n"))
            given = self.chance.choice(NAMES).encode("utf-8", "surrogatepass").decode("latin-1")
            parts.append(_part(f'name="{name}"; filename="{given}"', data))
        end = b"" if self.chance.random() < 0.05 else b"--line--\r\n"
        return b"".join(parts) + end, "multipart/form-data; boundary=line"

    # ---- asking -------------------------------------------------------------------------------------------------------

    def _ask(self, name: str, key: str, method: str, address: str, more: dict[str, Any], body: bytes = b"") -> None:
        browser, self.error = self.browsers[name], []
        environ: Any = browser.generic(method, address.partition("?")[0], body, more.get("CONTENT_TYPE") or "", **more)
        environ |= {"wsgi.input": BytesIO(body), "wsgi.errors": StringIO()}
        with _overheard(self.forms[key]), _caught(self.error):
            status, page = _answered(self.ask, environ, self.error)
        self.found.cases += 1
        self.found.answers[status] = self.found.answers.get(status, 0) + 1
        if status == 405:
            self.not_taken.add((key, method))
        if status >= 500 and status != 507:
            place = self.error[-1] if self.error else f"answered {status}"
            said = f"{method} {address[:200]} ({key}) as {name} {_short(more)} {body[:600]!r}"
            self.found.broken.setdefault(place, said)
        if method == "GET" and b"<form" in page:
            self._harvest(key, page)

    def _harvest(self, key: str, page: bytes) -> None:
        reader = _Forms()
        reader.feed(page.decode())
        for action, fields, files in reader.forms:
            found = _route(action) or key
            if found in self.forms:
                for name, value in fields:
                    self.forms[found].add(name, value)
                self.forms[found].files |= files


class Environs(RequestFactory):
    """Makes what a WSGI server hands over, cookies with it."""

    _base_environ: Any

    def request(self, **more: Any) -> Any:
        return self._base_environ(**more)


def _browser(cast: Cast, user: User | None) -> Environs:
    """A browser with its CSRF token: what is refused for the lack of one reaches no view."""
    browser = Environs(HTTP_X_CSRFTOKEN="x" * 32)
    browser.cookies.update(signed_in(cast, user).cookies)
    browser.cookies["csrftoken"] = "x" * 32
    return browser


def _answered(ask: Undone, environ: dict[str, Any], error: list[str]) -> tuple[int, bytes]:
    said: list[str] = []
    try:
        body = b"".join(ask(environ, lambda status, headers, *_: said.append(status)))
    except Exception as raised:  # the server would answer 500
        error.append(_place(raised))
        return 500, b""
    return int(said[0].split()[0]), body


def _part(about: str, data: bytes) -> bytes:
    return b"--line\r\nContent-Disposition: form-data; " + about.encode("latin-1") + b"\r\n\r\n" + data + b"\r\n"


def _short(more: dict[str, Any]) -> dict[str, str]:
    return {name: str(value)[:300] for name, value in more.items() if name not in ("CONTENT_LENGTH", "wsgi.input")}


def _route(action: str) -> str:
    try:
        return routes.key_of(resolve(urlsplit(action).path)) if action.startswith("/") else ""
    except (Resolver404, ValueError):
        return ""


class _Forms(HTMLParser):
    """The forms of a page: where they go, what they would send (each choice of a list too), and the names of their files."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, list[tuple[str, str]], set[str]]] = []
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((said.get("action") or said.get("hx-post") or "", [], set()))
        if not self.forms:
            return
        _, fields, files = self.forms[-1]
        if tag == "select":
            self._select = said.get("name", "")
        name = said.get("name", self._select if tag == "option" else "")
        if name and said.get("type") == "file":
            files.add(name)
        elif name and tag in ("input", "textarea", "button", "option"):
            fields.append((name, said.get("value", "on" if said.get("type") == "checkbox" else "")))


@contextmanager
def _overheard(form: Form) -> Iterator[None]:
    """Notes which names a view looks up in what was sent."""
    kept: dict[str, Callable[..., Any]] = {name: getattr(MultiValueDict, name) for name in ("__getitem__", "get", "getlist")}

    def listening(original: Callable[..., Any]) -> Callable[..., Any]:
        def lookup(self: MultiValueDict[str, Any], key: Any, *rest: Any, **more: Any) -> Any:
            if isinstance(self, QueryDict) and isinstance(key, str) and re.fullmatch(r"[\w-]{1,40}", key):
                form.fields.setdefault(key, set())
            return original(self, key, *rest, **more)

        return lookup

    for name, original in kept.items():
        setattr(MultiValueDict, name, listening(original))
    try:
        yield
    finally:
        for name, original in kept.items():
            setattr(MultiValueDict, name, original)


@contextmanager
def _caught(into: list[str]) -> Iterator[None]:
    """Where a request broke: the innermost line of ours, and the error."""

    def note(**about: Any) -> None:
        del about
        if isinstance(raised := sys.exc_info()[1], Exception):
            into.append(_place(raised))

    got_request_exception.connect(note)
    try:
        yield
    finally:
        got_request_exception.disconnect(note)


def _place(raised: Exception) -> str:
    text = traceback.format_exception(raised)
    lines = "".join(text).splitlines()
    ours = [line.strip() for line in lines if "/portal/" in line and "site-packages" not in line]
    theirs = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f"{(ours or theirs or [''])[-1]}: {lines[-1][:200]}"


def hostile_things(cast: Cast) -> dict[str, Thing]:
    """Those of the access matrix, and where an action wants another state, a thing in that state."""
    things = make_things(cast)
    quarantined, failed, settled = (
        Thing(make_image(cast.north, state=state), make_image(cast.river, state=state)) for state in ("quarantined", "failed", "settled")
    )
    things |= {f"{key}.image_id": quarantined for key in ("image_blank", "image_release", "text_rule")}
    return things | {"image_retry.image_id": failed, "image_withdraw.image_id": settled, "review_reopen.image_id": settled}


@contextmanager
def quiet() -> Iterator[None]:
    """Thousands of refusals are not worth a line each."""
    loggers = [logging.getLogger(name) for name in ("django.request", "django.security", "winnow", "winnow.request", "portal")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
