"""One line for each request: who (a number), what (the route's name), how it ended, how long it took. Never the address itself."""

from __future__ import annotations

import logging
import time
import uuid

import structlog
from django.http import HttpRequest, HttpResponse
from django_structlog.middlewares import RequestMiddleware

logger = structlog.get_logger("winnow.request")


class RequestLog(RequestMiddleware):
    """django-structlog's way through a request, with our own words."""

    def prepare(self, request: HttpRequest) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=uuid.uuid4().hex)
        request._began = time.monotonic()  # type: ignore[attr-defined]

    def handle_response(self, request: HttpRequest, response: HttpResponse) -> None:
        raised = request.__dict__.pop("_raised_exception", None)
        self.bind_user_id(request)
        status = response.status_code
        level = logging.ERROR if status >= 500 else logging.INFO
        logger.log(level, "request", exc_info=raised if status >= 500 else None, status=status, **_facts(request))
        structlog.contextvars.clear_contextvars()

    def _process_exception(self, request: HttpRequest, exception: Exception) -> None:
        request._raised_exception = exception  # type: ignore[attr-defined]


def _facts(request: HttpRequest) -> dict[str, object]:
    match = request.resolver_match
    return {
        "method": request.method,
        "route": (match.view_name or match.route) if match else "none",
        "ms": round(1000 * (time.monotonic() - request._began)),  # type: ignore[attr-defined]
    }
