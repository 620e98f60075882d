"""The pictures of the reading room, under addresses that die with the lease, and nothing but pixels in them."""

from __future__ import annotations

from django.http import HttpResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from portal.accounts.http import UserRequest
from portal.audit import services as audit
from portal.core.errors import NotVisible
from portal.images import kept, storage
from portal.images.models import Image
from portal.reviews import selectors
from portal.reviews.models import Lease
from portal.reviews.room import beside, blind


@never_cache
@require_safe
def picture(request: UserRequest, token: str) -> HttpResponse:
    """The clean picture, for as long as the lease lives; one that is fetched ahead has a lease too."""
    lease = _live(request, token)
    return full(request, lease, lease.task.image)


@never_cache
@require_safe
def picture_small(request: UserRequest, token: str) -> HttpResponse:
    """A smaller one, for a thin line: seen first, until the full one is asked for."""
    lease = _live(request, token)
    image = lease.task.image
    audit.record(actor_id=request.user.pk, action="view_picture", subject=image, site_id=image.site_id, lease=lease.pk, small=True)
    return small(image)


@never_cache
@require_safe
def picture_beside(request: UserRequest, token: str, key: str, size: str) -> HttpResponse:
    """Another picture of the same exam, `small` or `full`, once its turn has come."""
    lease = _live(request, token)
    image = None if lease.reserved else beside.sibling(lease, key)
    if image is None or size not in ("small", "full"):
        raise NotVisible
    # that it was shown small is in the event of the page
    return full(request, lease, image) if size == "full" else small(image)


def _live(request: UserRequest, token: str) -> Lease:
    lease = selectors.lease_by_token(request.user, token, live=True)
    if lease is None:
        raise NotVisible
    return lease


def full(request: UserRequest, lease: Lease, image: Image) -> HttpResponse:
    data = blind.strip(kept.local(storage.clean_path(image.site_id, image.clean_sha256, image.clean_format)).read_bytes())
    audit.record(actor_id=request.user.pk, action="view_picture", subject=image, site_id=image.site_id, lease=lease.pk)
    return HttpResponse(data, content_type="image/png" if image.clean_format == "png" else "image/jpeg")


def small(image: Image) -> HttpResponse:
    data = kept.local(storage.thumb_path(image.site_id, image.clean_sha256)).read_bytes()
    return HttpResponse(blind.strip(data), content_type="image/jpeg")


urls = [
    path("reading/picture/<str:token>/", picture, name="reading_picture"),
    path("reading/picture/<str:token>/small/", picture_small, name="reading_small"),
    path("reading/beside/<str:token>/<str:key>/<str:size>/", picture_beside, name="reading_beside"),
]
