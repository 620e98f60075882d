"""What senders talk to: files in pieces (tus) or in one request, and what the portal has of an upload already."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.http import HttpRequest, HttpResponse, JsonResponse, UnreadablePostError
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.core.errors import BadInput, WinnowError
from portal.images import seats, selectors, services, tus_http
from portal.images.models import Upload

_DRAIN = 64 << 20


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


@require_POST
def upload_file(request: UserRequest, upload_id: int) -> JsonResponse:
    """One file as the body of the request, so that it goes to the store in one stream. `?name=` is its name."""
    found = _own(request, upload_id)
    size = int(request.META.get("CONTENT_LENGTH") or 0)
    try:
        with seats.seat():
            row = services.receive(upload=found, file=_Body(request), name=request.GET.get("name", ""), actor=request.user, size=size)
            _drain(request)
    except seats.AllTaken:
        raise
    except WinnowError:
        _drain(request)
        raise
    return JsonResponse({"file": row.pk, "name": row.name, "outcome": row.outcome, "message": row.message, "image": row.image_id})


class _Body:
    """The request's body. A line that breaks is the line's trouble: as an OSError it would be taken for the disk's."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    def read(self, size: int, /) -> bytes:
        try:
            return self.request.read(size)
        except UnreadablePostError as error:
            raise BadInput("The connection broke before the whole file had come. Send it again.", code="incomplete") from error


def _drain(request: HttpRequest) -> None:
    """Read what a refused file still sends: an answer that overtakes its request looks like a broken line."""
    left = _DRAIN
    with suppress(UnreadablePostError):
        while left > 0 and (chunk := request.read(1 << 20)):
            left -= len(chunk)


def _own(request: UserRequest, upload_id: int) -> Upload:
    """An upload that this person may add to."""
    found = access.get_visible(Upload, request.user, upload_id)
    access.require(request.user, "upload", site=found.site_id)
    return found


urls = [
    path("uploads/<int:upload_id>/files/", upload_file, name="upload_file"),
    path("uploads/<int:upload_id>/held/", upload_held, name="upload_held"),
    path("uploads/<int:upload_id>/tus/", upload_tus, name="upload_tus"),
    path("uploads/<int:upload_id>/tus/<uuid:arrival_id>", upload_tus, name="upload_tus_file"),
]
