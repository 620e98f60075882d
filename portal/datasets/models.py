"""Frozen data sets."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.accounts.models import User
from portal.core.models import Created
from portal.images.models import Exam, Image
from portal.labels.models import Label


class SnapshotState(models.TextChoices):
    WRITING = "writing"
    FROZEN = "frozen"
    FAILED = "failed"


class Snapshot(Created):
    """An immutable folder of clean pictures with their labels; the folder's snapshot.json is written last."""

    name = models.CharField(max_length=120, unique=True)
    query = models.JSONField(default=dict, help_text="What was asked for: sites, kinds, provenances, held-out site.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=8, choices=SnapshotState.choices, default=SnapshotState.WRITING)
    folder = models.CharField(max_length=500, blank=True)
    hash = models.CharField(max_length=64, blank=True)
    counts = models.JSONField(default=dict, help_text="Images and patients by split, site and kind.")
    error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["hash"], condition=~Q(hash=""), name="snapshot_once")]


class CrossSiteCopy(Created):
    """Two images of different sites that show the same photograph. For the splits alone: no site may learn of the other's holdings."""

    image = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    other = models.ForeignKey(Image, on_delete=models.CASCADE, related_name="+")
    distance = models.IntegerField(help_text="Bits of 64.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image", "other"], name="cross_site_copy_once")]


class SnapshotItem(models.Model):
    """One image of a snapshot, as it was labelled and placed then."""

    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="items")
    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="snapshot_items")
    label = models.ForeignKey(Label, on_delete=models.PROTECT, related_name="+")
    split = models.CharField(max_length=12)
    box = ArrayField(models.FloatField(), size=4, null=True)
    exam = models.ForeignKey(Exam, on_delete=models.PROTECT, null=True, related_name="+", help_text="Where the image lay then.")
    device = models.CharField(max_length=120, blank=True)
    stated_kind = models.CharField(max_length=20, blank=True)
    captured = models.DateTimeField(null=True)
    read_for = models.CharField(max_length=8, default="", db_default="", help_text="whatever, chosen, nobody; empty: not written down.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["snapshot", "image"], name="image_once_a_snapshot")]
        triggers = [pgtrigger.Protect(name="immutable", operation=pgtrigger.Update | pgtrigger.Delete)]
