"""In which character sets a request may come. Django decodes by whatever codec a Content-Type names, and Python has some (`idna`, `hex`)
that raise while the request is being made, before any handler of errors: so this stands in front of Django."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from django.utils.http import parse_header_parameters

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
TAKEN = frozenset({"", "utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin-1", "windows-1252"})
_REFUSAL = {"code": "charset", "message": "Send text as UTF-8: this character set is not read here."}


def guarded(application: Application) -> Application:
    """The application, asked only in character sets that it can read; 415 for any other."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if _charset(environ.get("CONTENT_TYPE", "")) in TAKEN:
            return application(environ, start_response)
        body = json.dumps(_REFUSAL).encode()
        start_response("415 Unsupported Media Type", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return answer


def _charset(content_type: str) -> str:
    try:
        return str(parse_header_parameters(content_type)[1].get("charset", "")).lower()
    except ValueError:
        return "unreadable"
