"""Reads of labels."""

from __future__ import annotations

from collections.abc import Collection

from django.db.models import QuerySet

from portal.images.models import Image
from portal.labels.models import Label


def current(images: QuerySet[Image]) -> dict[int, Label]:
    """The current label of each of these images that has one, by image id."""
    return {label.image_id: label for label in Label.objects.filter(image__in=images, current=True).select_related("actor")}


def current_of(image: Image) -> Label | None:
    return Label.objects.filter(image=image, current=True).first()


def current_of_all(ids: Collection[int]) -> dict[int, Label]:
    """The current label of each of these images that has one, by image id; without its actor."""
    return {label.image_id: label for label in Label.objects.filter(image__in=ids, current=True)}


def history(image: Image) -> QuerySet[Label]:
    """Every label that the image ever had, the newest first."""
    return Label.objects.filter(image=image).select_related("actor").order_by("-id")
