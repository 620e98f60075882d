"""Errors of the framework in the form of all others: `{"code", "message"}`."""

from __future__ import annotations

from typing import Any

from rest_framework.exceptions import APIException, ValidationError
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.views import exception_handler

_CODES = {400: "bad_input", 404: "not_found", 405: "wrong_method"}


def handle(error: Exception, context: dict[str, Any]) -> Response | None:
    """None where the error is none of the framework's: `accounts.middleware.Errors` answers those."""
    answer = exception_handler(error, context)
    if answer is not None:
        code = _CODES.get(answer.status_code, getattr(error, "default_code", "error"))
        answer.data = {"code": code, "message": _words(error)}
    return answer


def _words(error: Exception) -> str:
    if isinstance(error, ValidationError) and isinstance(error.detail, dict):
        return " ".join(f"{name}: {said}" for name, said in error.detail.items())
    return str(error.detail) if isinstance(error, APIException) else "There is nothing here, or it is not yours to see."


class JsonAlone(BaseContentNegotiation):
    """JSON whatever is accepted: an error must not depend on it, and the framework's HTML pages would need inline scripts. The schema
    alone has two forms (`?format=json`)."""

    def select_parser(self, request: Any, parsers: Any) -> Any:  # noqa: ARG002
        return parsers[0]

    def select_renderer(self, request: Any, renderers: Any, format_suffix: str | None = None) -> tuple[BaseRenderer, str]:  # noqa: ARG002
        wanted = request.query_params.get("format", "")
        found = next((one for one in renderers if one.format == wanted), renderers[0])
        return found, str(found.media_type)
