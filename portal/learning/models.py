"""Trainings and what their bundles are worth."""

from django.db import models
from django.db.models import Q

from portal.accounts.models import User
from portal.core.models import Created
from portal.datasets.models import Snapshot
from portal.registry.models import ModelVersion


class RunState(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TrainingRun(Created):
    """One training: snapshot and configuration in, a candidate out."""

    name = models.CharField(max_length=120)
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="runs")
    config = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.QUEUED)
    started_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    progress = models.JSONField(default=dict, help_text="stage, fraction, seconds_left, message, figures")
    history = models.JSONField(default=list, help_text="Figures by time, for the live plot.")
    error = models.TextField(blank=True)
    candidate = models.OneToOneField(ModelVersion, on_delete=models.PROTECT, null=True, related_name="run")
    finished = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(state__in=RunState.values), name="run_known_state")]


class Evaluation(Created):
    """The report of one bundle on one split of one snapshot."""

    version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="evaluations")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, related_name="evaluations")
    split = models.CharField(max_length=12, default="test")
    state = models.CharField(max_length=10, choices=RunState.choices, default=RunState.QUEUED)
    report = models.JSONField(default=dict)
    error = models.TextField(blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["version", "snapshot", "split"], name="one_report_a_bundle_and_split")]
