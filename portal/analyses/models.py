"""What the machines said. Nothing here is ever changed; a new word is a new row."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.core.models import Created
from portal.images.models import Image
from portal.ml import CLASSIFIED_KINDS, DetectorState, Kind, Route
from portal.registry.models import ModelVersion


class Analysis(Created):
    """What one bundle said of the image alone (immutable, one per image and bundle)."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="analyses")
    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="analyses")
    detector_state = models.CharField(max_length=6, choices=[(s.value, s.value) for s in DetectorState])
    box = ArrayField(models.FloatField(), size=4, null=True, help_text="x0, y0, x1, y1 in pixels of the clean picture")
    detector_score = models.FloatField(null=True)
    other_boxes = models.JSONField(default=list)
    probabilities = models.JSONField(help_text="Share for each of " + ", ".join(CLASSIFIED_KINDS))
    p_non_regular = models.FloatField()
    kind = models.CharField(max_length=20, choices=[(k.value, k.value) for k in Kind])
    deep_sad_distance = models.FloatField()
    deep_sad_rank = models.FloatField()
    logit = models.FloatField(
        null=True, help_text="The classifier's own log odds (natural) of non-regular, not calibrated; null: not known."
    )
    neighbours = models.FloatField(
        null=True,
        help_text="Mean distance of the embedding to its nearest training embeddings, in units of their spread, from 0; null: not known.",
    )
    ood = models.FloatField(
        null=True, help_text="Share of held-out images that lie nearer to the training images than this one, 0 to 1; null: not known."
    )
    embedding = ArrayField(models.FloatField(), default=list)
    quality = models.JSONField(default=dict)
    colour = ArrayField(models.FloatField(), default=list, help_text="Of crop and frame, to compare within an exam; empty: not known.")
    heat = models.JSONField(
        default=dict,
        help_text="`region` in pixels of the clean picture, and `rows`: of each place of it the share of non-regular; {}: not known.",
    )
    look = models.SmallIntegerField(null=True, help_text="Images of one look resemble one another (same bundle); null: not known.")
    route = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Route])
    reasons = ArrayField(models.CharField(max_length=60), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "version"], name="analysis_once_an_image_and_bundle"),
            models.CheckConstraint(condition=Q(p_non_regular__gte=0, p_non_regular__lte=1), name="analysis_p_in_unit_interval"),
            models.CheckConstraint(condition=Q(neighbours__isnull=True) | Q(neighbours__gte=0), name="analysis_neighbours_not_negative"),
            models.CheckConstraint(condition=Q(ood__isnull=True) | Q(ood__gte=0, ood__lte=1), name="analysis_ood_in_unit_interval"),
        ]
        triggers = [pgtrigger.Protect(name="immutable", operation=pgtrigger.Update | pgtrigger.Delete)]


class Assessment(Created):
    """An Analysis with its exam's context, fused and routed by the site's rule. Append-only, one current an image."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="assessments")
    analysis = models.ForeignKey(Analysis, on_delete=models.PROTECT, related_name="assessments")
    siblings = ArrayField(models.BigIntegerField(), default=list, help_text="Ids of the exam's images that it saw.")
    p_non_regular = models.FloatField()
    kind = models.CharField(max_length=20, choices=[(k.value, k.value) for k in Kind])
    route = models.CharField(max_length=20, choices=[(r.value, r.value) for r in Route])
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    rule = models.JSONField(default=dict, help_text="The triage rule in force, so that the route can be explained.")
    current = models.BooleanField(default=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["image"], condition=Q(current=True), name="one_current_assessment")]
        triggers = [
            pgtrigger.ReadOnly(name="only_current_changes", exclude=["current"]),
            pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete),
        ]
