"""Where browsers report what the Content-Security-Policy stopped. Logged without anything of the person or the address's words."""

from __future__ import annotations

import json
import logging
from typing import Any
from urllib.parse import urlsplit

from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, path, resolve
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

log = logging.getLogger(__name__)
_MOST = 10


@csrf_exempt
@require_POST
def csp_report(request: HttpRequest) -> HttpResponse:
    """Reports of both kinds: one as `report-uri` sends it, or a list as `report-to` does. Anybody may send: nothing is believed."""
    if not (request.content_type or "").endswith(("json", "csp-report")):
        return HttpResponse(status=400)
    try:
        said = json.loads(request.body)
    except (ValueError, RecursionError):
        return HttpResponse(status=400)
    for report in (said if isinstance(said, list) else [said])[:_MOST]:
        if isinstance(report, dict):
            log.warning("csp violation: %s of %s on %s", *_facts(report))
    return HttpResponse(status=204)


def _facts(report: dict[str, Any]) -> tuple[str, str, str]:
    body = report.get("csp-report") or report.get("body") or {}
    body = body if isinstance(body, dict) else {}
    directive = str(body.get("effective-directive") or body.get("effectiveDirective") or "")
    blocked = str(body.get("blocked-uri") or body.get("blockedURL") or "")
    page = str(body.get("document-uri") or body.get("documentURL") or "")
    return _word(directive), _word(_origin(blocked)), _route(page)


def _word(text: str) -> str:
    return "".join(letter for letter in text if letter.isalnum() or letter in "-.:/")[:60]


def _origin(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.scheme or address


def _route(address: str) -> str:
    try:
        return str(resolve(urlsplit(address).path).view_name)
    except (Resolver404, ValueError):
        return "unknown"


urls = [path("csp-report", csp_report, name="csp_report")]
