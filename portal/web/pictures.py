"""The pictures themselves: thumbnail, clean picture, original. Each look at one leaves word."""

from __future__ import annotations

from pathlib import Path

from django.http import FileResponse, HttpResponse
from django.shortcuts import redirect
from django.urls import path
from django.views.decorators.http import require_POST, require_safe

from portal.accounts import access
from portal.accounts.http import UserRequest
from portal.core.errors import NotVisible
from portal.images import formats, kept, seen, services, storage
from portal.images.models import Image, ImageState


@require_safe
def image_thumb(request: UserRequest, image_id: int) -> FileResponse:
    image = _with_picture(request, image_id)
    seen.thumb_opened(image=image, actor=request.user)
    return _file(storage.thumb_path(image.site_id, image.clean_sha256), "image/jpeg")


@require_safe
def image_picture(request: UserRequest, image_id: int) -> FileResponse:
    """The clean picture, in full: every view leaves an event."""
    image = _with_picture(request, image_id)
    seen.opened(image=image, actor=request.user, what="picture")
    kind = "image/png" if image.clean_format == "png" else "image/jpeg"
    return _file(storage.clean_path(image.site_id, image.clean_sha256, image.clean_format), kind)


@require_safe
def image_original(request: UserRequest, image_id: int) -> FileResponse:
    """The file as it was sent, for the site's own staff: always a download, never shown by the browser."""
    image = access.get_visible(Image, request.user, image_id)
    access.require(request.user, "view_original", site=image.site_id)
    seen.opened(image=image, actor=request.user, what="original")
    original = storage.original_path(image.site_id, image.sha256)
    return _file(original, "application/octet-stream", download=formats.download_name(image.original_name, image.format))


@require_POST
def image_retry(request: UserRequest, image_id: int) -> HttpResponse:
    image = services.retry(image=access.get_visible(Image, request.user, image_id), actor=request.user)
    return redirect("upload", image.upload_id)


def _with_picture(request: UserRequest, image_id: int) -> Image:
    image = access.get_visible(Image, request.user, image_id)
    if not image.clean_sha256:
        raise NotVisible
    if image.state == ImageState.QUARANTINED:
        access.require(request.user, "view_quarantined", site=image.site_id)
    return image


def _file(path: Path, kind: str, *, download: str = "") -> FileResponse:
    here = kept.local(path)
    if not here.is_file():
        raise NotVisible
    response = FileResponse(here.open("rb"), content_type=kind, as_attachment=bool(download), filename=download or here.name)
    response["X-Content-Type-Options"] = "nosniff"
    return response


urls = [
    path("images/<int:image_id>/thumb/", image_thumb, name="image_thumb"),
    path("images/<int:image_id>/picture/", image_picture, name="image_picture"),
    path("images/<int:image_id>/original/", image_original, name="image_original"),
    path("images/<int:image_id>/retry/", image_retry, name="image_retry"),
]
