"""The settled kind of an image, with where it came from."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.accounts.models import User
from portal.core.models import Created
from portal.images.models import Image
from portal.ml import Kind


class Provenance(models.TextChoices):
    UPLOADER = "uploader", "uploader's word"
    AUTOMATIC = "automatic", "automatic"
    CONSENSUS = "consensus", "consensus of readers"
    ADJUDICATION = "adjudication", "adjudication"
    EXAMPLE_TRUTH = "example_truth", "truth of the drawn example set"


HUMAN = (Provenance.CONSENSUS, Provenance.ADJUDICATION, Provenance.EXAMPLE_TRUTH)
"""Provenances that may teach -1 to Deep SAD, calibrate and test; an automatic label never does."""


class Label(Created):
    """Append-only, one current an image."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="labels")
    kind = models.CharField(max_length=20, choices=[(k.value, k.value) for k in Kind])
    provenance = models.CharField(max_length=20, choices=Provenance.choices)
    box = ArrayField(models.FloatField(), size=4, null=True, help_text="x0, y0, x1, y1 in pixels of the clean picture, by people")
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    basis = models.JSONField(default=dict, help_text="What it rests on: assessment, reads, rule.")
    current = models.BooleanField(default=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image"], condition=Q(current=True), name="one_current_label"),
            models.CheckConstraint(condition=Q(provenance__in=Provenance.values), name="label_known_provenance"),
            models.CheckConstraint(condition=Q(kind__in=[k.value for k in Kind]), name="label_known_kind"),
        ]
        triggers = [
            pgtrigger.ReadOnly(name="only_current_changes", exclude=["current"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]
