"""Uploading by a program with a token. Every route here stands in `access.BY_TOKEN`: no session opens it, so it needs no CSRF token.

`request.user` is narrowed to the token's site: `access.visible` shows nothing of any other.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path, reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import TokenRequest
from portal.api.openapi import NOTE_LONGEST
from portal.core.errors import BadInput
from portal.core.text import is_text
from portal.images import applying, selectors, services, tus_http
from portal.images.models import Upload
from portal.images.tables import MAX_BYTES


@require_safe
def token(request: TokenRequest) -> JsonResponse:
    """What this token is for."""
    site = request.token.site
    return JsonResponse({
        "name": request.token.name, "site": site.slug, "site_name": site.name, "expires": request.token.expires.isoformat(),
    })  # fmt: skip


@csrf_exempt
@require_http_methods(["GET", "HEAD", "POST"])
def upload_list(request: TokenRequest) -> JsonResponse:
    """The open uploads of the token's person at its site, newest first; POST `{"note", "expected"}` opens one."""
    if request.method != "POST":
        return JsonResponse({"uploads": [_about(found) for found in selectors.open_uploads(request.user, site=request.token.site_id)]})
    said = _json(request)
    note, expected = said.get("note", ""), said.get("expected", 0)
    if not (isinstance(note, str) and is_text(note) and type(expected) is int and expected >= 0):
        raise BadInput('Send JSON like {"note": "May", "expected": 12}.')
    if len(note) > NOTE_LONGEST:
        raise BadInput(f"A note has at most {NOTE_LONGEST} characters.")
    made = services.open_upload(site=request.token.site, actor=request.user, note=note, expected=min(expected, 10**6))
    return JsonResponse(_about(made), status=201)


@require_safe
def upload_held(request: TokenRequest, upload_id: int) -> JsonResponse:
    found = access.get_visible(Upload, request.user, upload_id)
    return JsonResponse(selectors.held(found, reverse("api:upload-tus", args=[found.pk])))


@csrf_exempt
@require_http_methods(tus_http.METHODS)
def upload_tus(request: TokenRequest, upload_id: int, arrival_id: UUID | None = None) -> HttpResponse:
    """One request of the tus protocol."""
    found = access.get_visible(Upload, request.user, upload_id)
    base = reverse("api:upload-tus", args=[found.pk]).rstrip("/")
    return tus_http.respond(request, upload=found, actor=request.user, base=base, arrival_id=arrival_id)


@csrf_exempt
@require_POST
def upload_table(request: TokenRequest, upload_id: int) -> JsonResponse:
    """The metadata table as the body of the request."""
    found = access.get_visible(Upload, request.user, upload_id)
    said, status = applying.for_programs(applying.take_table(upload=found, data=request.read(MAX_BYTES + 1), actor=request.user))
    return JsonResponse(said, status=status)


@csrf_exempt
@require_POST
def upload_close(request: TokenRequest, upload_id: int) -> JsonResponse:
    found = services.close_upload(upload=access.get_visible(Upload, request.user, upload_id), actor=request.user)
    return JsonResponse(_about(found))


def _about(found: Upload) -> dict[str, Any]:
    ways = {"held": "upload-held", "tus": "upload-tus", "table": "upload-table", "close": "upload-close"}
    addresses = {name: reverse(f"api:{route}", args=[found.pk]) for name, route in ways.items()}
    page = reverse("upload", args=[found.pk])
    return {"upload": found.pk, "note": found.note, "opened": found.created.isoformat(), "page": page, **addresses}


def _json(request: HttpRequest) -> dict[str, Any]:
    try:
        said = json.loads(request.body or b"{}")
    except (ValueError, RecursionError) as error:
        raise BadInput("The request is no JSON.") from error
    if not isinstance(said, dict):
        raise BadInput("Send a JSON object.")
    return said


urlpatterns = [
    path("v1/token/", token, name="token"),
    path("v1/uploads/", upload_list, name="upload-list"),
    path("v1/uploads/<int:upload_id>/held/", upload_held, name="upload-held"),
    path("v1/uploads/<int:upload_id>/tus/", upload_tus, name="upload-tus"),
    path("v1/uploads/<int:upload_id>/tus/<uuid:arrival_id>", upload_tus, name="upload-tus-file"),
    path("v1/uploads/<int:upload_id>/table/", upload_table, name="upload-table"),
    path("v1/uploads/<int:upload_id>/close/", upload_close, name="upload-close"),
]
