"""The read API. Every queryset starts at `access.visible`; strangers get the same 404 as for what is absent."""

from __future__ import annotations

import re
from typing import cast

from django.db.models import F, FilteredRelation, Q, QuerySet
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import generics
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.api.serializers import ImageSerializer, SiteSerializer
from portal.core.errors import BadInput
from portal.images.models import Image, ImageState

_NO_CURSOR = "This cursor is not one of ours. Begin again without it, or use `next` as it came."
_ID = re.compile(r"[0-9]{1,18}")


class NewestFirst(CursorPagination):
    """Pages that stay in place while new rows arrive."""

    ordering = "-id"
    page_size = 50

    def decode_cursor(self, request: Request) -> Cursor | None:
        """None for the first page. A position is an id; the framework would hand any text on to the database."""
        try:
            found = super().decode_cursor(request)
        except NotFound as error:
            raise BadInput(_NO_CURSOR) from error
        if found is not None and found.position is not None and not _ID.fullmatch(str(found.position)):
            raise BadInput(_NO_CURSOR)
        return found


class Sites(generics.ListAPIView[Site]):
    """The sites that you may see."""

    serializer_class = SiteSerializer
    pagination_class = NewestFirst
    queryset = Site.objects.none()

    def get_queryset(self) -> QuerySet[Site]:
        return access.visible(Site, cast(User, self.request.user))


class OneSite(generics.RetrieveAPIView[Site]):
    """One site."""

    serializer_class = SiteSerializer
    queryset = Site.objects.none()

    def get_object(self) -> Site:
        return access.get_visible(Site, cast(User, self.request.user), self.kwargs["site_id"])


def _with_label(images: QuerySet[Image]) -> QuerySet[Image]:
    current = FilteredRelation("labels", condition=Q(labels__current=True))
    named = images.annotate(_label=current).annotate(kind=F("_label__kind"), provenance=F("_label__provenance"))
    return named.select_related("site", "exam__patient")


@extend_schema(
    parameters=[OpenApiParameter("state", str, enum=ImageState.values), OpenApiParameter("site", str, description="Short name.")]
)
class Images(generics.ListAPIView[Image]):
    """The images that you may see, newest first."""

    serializer_class = ImageSerializer
    pagination_class = NewestFirst
    queryset = Image.objects.none()

    def get_queryset(self) -> QuerySet[Image]:
        rows = access.visible(Image, cast(User, self.request.user)).exclude(state=ImageState.ERASED)
        state, site = self.request.query_params.get("state"), self.request.query_params.get("site")
        if state is not None and state not in ImageState.values:
            raise ValidationError({"state": f"One of {', '.join(ImageState.values)}."})
        if state:
            rows = rows.filter(state=state)
        return _with_label(rows.filter(site__slug=site) if site else rows)


class OneImage(generics.RetrieveAPIView[Image]):
    """One image."""

    serializer_class = ImageSerializer
    queryset = Image.objects.none()

    def get_object(self) -> Image:
        found = access.get_visible(Image, cast(User, self.request.user), self.kwargs["image_id"])
        return _with_label(Image.objects.filter(pk=found.pk)).get()
