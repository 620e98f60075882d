"""What the sender's script talks to: files in pieces (tus), and what the portal has of an upload already."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse, JsonResponse
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.images import selectors, tus_http
from portal.images.models import Upload


@require_http_methods(tus_http.METHODS)
def upload_tus(request: UserRequest, upload_id: int, arrival_id: UUID | None = None) -> HttpResponse:
    """One request of the tus protocol about a new file, or about one that is on its way."""
    found = _own(request, upload_id)
    base = reverse("upload_tus", args=[found.pk]).rstrip("/")
    return tus_http.respond(request, upload=found, actor=request.user, base=base, arrival_id=arrival_id)


@require_safe
def upload_held(request: UserRequest, upload_id: int) -> JsonResponse:
    """Which files have come, whole or in part: so that nothing of them is sent again."""
    found = _own(request, upload_id)
    base = reverse("upload_tus", args=[found.pk])
    return JsonResponse(selectors.held(found, base))


def _own(request: UserRequest, upload_id: int) -> Upload:
    """An upload that this person may add to."""
    found = access.get_visible(Upload, request.user, upload_id)
    access.require(request.user, "upload", site=found.site_id)
    return found


urls = [
    path("uploads/<int:upload_id>/held/", upload_held, name="upload_held"),
    path("uploads/<int:upload_id>/tus/", upload_tus, name="upload_tus"),
    path("uploads/<int:upload_id>/tus/<uuid:arrival_id>", upload_tus, name="upload_tus_file"),
]
