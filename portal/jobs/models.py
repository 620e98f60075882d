"""Work as rows (DESIGN 4). A Celery message is only a doorbell."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.core.models import Created


class JobState(models.TextChoices):
    QUEUED = "queued"
    CLAIMED = "claimed"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Job(Created):
    """One piece of work on one subject. `attempt` is the fence: a result is accepted only from the attempt that holds the claim."""

    kind = models.CharField(max_length=30)
    subject_id = models.BigIntegerField()
    site_id = models.BigIntegerField(db_default=0, help_text="Whose work it is, for taking turns; 0 for work of no site.")
    actor_id = models.BigIntegerField(null=True)
    state = models.CharField(max_length=10, choices=JobState.choices, default=JobState.QUEUED)
    attempt = models.IntegerField(default=0, help_text="Counted at the claim.")
    deaths = models.IntegerField(default=0, help_text="Worker deaths while this job was claimed alone; so many as its kind bears fail it.")
    errors = models.IntegerField(default=0, help_text="Unexpected errors while this job was claimed alone; three fail it.")
    alone = models.BooleanField(default=False, help_text="Set after a worker's death: claimed one at a time from then on.")
    batch_size = models.IntegerField(default=0, help_text="How many were claimed together in the present attempt.")
    not_before = models.DateTimeField(db_default=Now())
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=120, blank=True)
    error = models.TextField(blank=True)
    progress = models.JSONField(default=dict)
    cancel_requested = models.BooleanField(default=False)
    finished = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "subject_id"], condition=Q(state__in=["queued", "claimed"]), name="job_once_in_work"),
            models.CheckConstraint(condition=Q(state__in=JobState.values), name="job_known_state"),
            models.CheckConstraint(
                condition=(Q(state="claimed") & Q(lease_until__isnull=False)) | (~Q(state="claimed") & Q(lease_until__isnull=True)),
                name="job_lease_iff_claimed",
            ),
        ]
        indexes = [
            models.Index(fields=["kind", "site_id", "not_before", "id"], condition=Q(state="queued"), name="job_in_turn"),
            models.Index(fields=["lease_until"], condition=Q(state="claimed"), name="job_leased"),
            models.Index(fields=["kind", "subject_id"], name="job_subject"),
        ]
