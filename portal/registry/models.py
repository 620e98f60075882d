"""The bundles that are known here; one is the champion."""

import pgtrigger
from django.db import models
from django.db.models import Q

from portal.accounts.models import User
from portal.core.models import Created


class VersionState(models.TextChoices):
    CANDIDATE = "candidate"
    CHAMPION = "champion"
    RETIRED = "retired"


class ModelVersion(Created):
    """A bundle's row. The folder holds the weights; the hash holds the folder to its word."""

    name = models.CharField(max_length=120)
    bundle_path = models.CharField(max_length=500)
    bundle_hash = models.CharField(max_length=64, unique=True)
    state = models.CharField(max_length=12, choices=VersionState.choices, default=VersionState.CANDIDATE)
    snapshot_hash = models.CharField(max_length=64, blank=True)
    metrics = models.JSONField(default=dict)
    thresholds = models.JSONField(default=dict)
    registered_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["state"], condition=Q(state="champion"), name="one_champion"),
            models.CheckConstraint(condition=Q(state__in=VersionState.values), name="version_known_state"),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.bundle_hash[:8]})"


class PromotionRequest(Created):
    """Somebody asks that a candidate become champion; a second person answers."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="promotion_requests")
    requested_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    verdict = models.JSONField(default=dict, help_text="What the gate said when it was asked for.")
    note = models.TextField(blank=True, help_text="Why it is asked for; needed where the gate says no.")
    answered_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    answer = models.CharField(max_length=10, blank=True, choices=[("approved", "approved"), ("refused", "refused")])
    answered = models.DateTimeField(null=True)
    answer_note = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version"], condition=Q(answer=""), name="one_open_request_a_version")]


class ChampionChange(Created):
    """History of the champion, promotions and roll-backs alike. Append-only."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="+")
    previous = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, related_name="+")
    how = models.CharField(max_length=12, choices=[("first", "first"), ("promote", "promote"), ("roll_back", "roll back")])
    actor = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
