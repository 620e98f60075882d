"""Questions to readers about an image, and their answers."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.accounts.models import Site, User
from portal.core.models import Created
from portal.images.models import Image
from portal.ml import Kind

CANNOT_TELL = "cannot_tell"
ANSWERS = [*((k.value, k.value) for k in Kind), (CANNOT_TELL, CANNOT_TELL)]


class ReviewRules(Created):
    """How triage and consensus work from this row on; the newest row counts. `site` null: every site without a row of its own."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, null=True, related_name="+")
    reads_needed = models.IntegerField(default=1, help_text="1 or 2 independent reads before a label is settled.")
    t_lo = models.FloatField(null=True, help_text="Stricter than the bundle's t_lo, or null for the bundle's own.")
    t_hi = models.FloatField(null=True)
    set_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(reads_needed__in=[1, 2]), name="one_or_two_reads"),
            models.CheckConstraint(condition=Q(t_lo__isnull=True) | Q(t_lo__gte=0, t_lo__lte=1), name="t_lo_in_unit_interval"),
            models.CheckConstraint(condition=Q(t_hi__isnull=True) | Q(t_hi__gte=0, t_hi__lte=1), name="t_hi_in_unit_interval"),
        ]


class TaskState(models.TextChoices):
    OPEN = "open"
    ADJUDICATION = "adjudication"
    CLOSED = "closed"
    CANCELLED = "cancelled"


class ReviewTask(Created):
    """A question to readers about an image, and why it is asked."""

    image = models.ForeignKey(Image, on_delete=models.PROTECT, related_name="review_tasks")
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    state = models.CharField(max_length=12, choices=TaskState.choices, default=TaskState.OPEN)
    reads_needed = models.IntegerField(default=1)
    priority = models.FloatField(default=0, help_text="Higher is read sooner: uncertainty of the assessment, 0..1.")
    closed = models.DateTimeField(null=True)
    note = models.CharField(max_length=500, blank=True, help_text="Why a person asks. Not in the audit trail: it may tell of a patient.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image"], condition=Q(state__in=["open", "adjudication"]), name="one_live_task_an_image"),
            models.CheckConstraint(condition=Q(state__in=TaskState.values), name="task_known_state"),
        ]
        indexes = [models.Index(fields=["state", "-priority", "id"], name="task_queue")]


class Lease(Created):
    """A reader holds a task for a while. `token` is the picture's address: random, and dead with the lease."""

    task = models.ForeignKey(ReviewTask, on_delete=models.CASCADE, related_name="leases")
    reader = models.ForeignKey(User, on_delete=models.CASCADE, related_name="leases")
    token = models.CharField(max_length=64, unique=True)
    until = models.DateTimeField()
    ended = models.DateTimeField(null=True, help_text="Submitted, skipped, given back or taken away; null while held.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "reader"], condition=Q(ended__isnull=True), name="one_lease_a_task_and_reader"),
        ]


class Read(Created):
    """One reader's answer. Append-only; a reader answers a task once."""

    task = models.ForeignKey(ReviewTask, on_delete=models.PROTECT, related_name="reads")
    reader = models.ForeignKey(User, on_delete=models.PROTECT, related_name="reads")
    kind = models.CharField(max_length=20, choices=ANSWERS)
    box = ArrayField(models.FloatField(), size=4, null=True)
    reasons = ArrayField(models.CharField(max_length=60), default=list)
    note = models.TextField(blank=True, max_length=2000)
    role = models.CharField(max_length=12, choices=[("reader", "reader"), ("adjudicator", "adjudicator")], default="reader")
    seconds = models.FloatField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "reader"], name="one_read_a_task_and_reader"),
            models.CheckConstraint(condition=Q(kind__in=[value for value, _ in ANSWERS]), name="read_known_kind"),
        ]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
