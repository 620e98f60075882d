"""Reads of what the machines said."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q, QuerySet

from portal.analyses.models import Analysis, Assessment
from portal.images.models import Image, ImageState

ANALYSABLE = (ImageState.CLEAN, ImageState.ANALYSED, ImageState.ACCEPTED, ImageState.IN_REVIEW, ImageState.SETTLED)
"""States in which an image has a clean picture that a machine may look at."""


def to_analyse(ids: Sequence[int]) -> dict[int, Image]:
    """Of these images, by id, those that a machine may look at, a failed analysis that is retried among them.

    The others were withdrawn, quarantined or rejected meanwhile.
    """
    failed_before = Q(state=ImageState.FAILED) & ~Q(clean_sha256="")
    return Image.objects.filter(Q(state__in=ANALYSABLE) | failed_before).in_bulk(list(ids))


def of_image(image: Image) -> QuerySet[Analysis]:
    """Everything that bundles said of an image, newest first."""
    return Analysis.objects.filter(image=image).select_related("version").order_by("-id")


def current_assessment(image: Image) -> Assessment | None:
    """The assessment that counts now."""
    return Assessment.objects.filter(image=image, current=True).select_related("analysis__version").first()
