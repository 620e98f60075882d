"""What the API says of a row. Only reads: no writable relation, so no key of somebody else's can be tried."""

from __future__ import annotations

from rest_framework import serializers

from portal.accounts.models import Site
from portal.images.models import Image


class SiteSerializer(serializers.ModelSerializer[Site]):
    class Meta:
        model = Site
        fields = ("id", "name", "slug", "country", "created")
        read_only_fields = fields


class ImageSerializer(serializers.ModelSerializer[Image]):
    site: serializers.SlugRelatedField[Site] = serializers.SlugRelatedField(slug_field="slug", read_only=True)
    patient = serializers.CharField(source="exam.patient.code", default="", read_only=True)
    exam = serializers.CharField(source="exam.code", default="", read_only=True)
    stated_kind = serializers.CharField(read_only=True, help_text="What the uploader said it is; empty where nothing was said.")
    kind = serializers.CharField(allow_null=True, read_only=True, help_text="Of the current label; null while there is none.")
    provenance = serializers.CharField(allow_null=True, read_only=True, help_text="Where the current label came from.")

    class Meta:
        model = Image
        fields = (
            "id", "site", "patient", "exam", "original_name", "state", "state_reason", "stated_kind", "kind", "provenance", "device",
            "captured", "width", "height", "created",
        )  # fmt: skip
        read_only_fields = fields
