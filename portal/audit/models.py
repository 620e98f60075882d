"""Who did what, when, to what. The application's role may insert and read; nothing may change or remove."""

import pgtrigger
from django.db import models

from portal.core.models import Created


class AuditEvent(Created):
    """One change, or one view of a patient's image, written in the transaction of the change itself."""

    actor_id = models.BigIntegerField(
        null=True, help_text="The User's id; null for the system. No foreign key: an event outlives its actor."
    )
    action = models.CharField(max_length=80)
    subject_type = models.CharField(max_length=60)
    subject_id = models.BigIntegerField(null=True)
    site_id = models.BigIntegerField(null=True)
    details = models.JSONField(default=dict)

    class Meta:
        indexes = [
            models.Index(fields=["subject_type", "subject_id"]),
            models.Index(fields=["site_id", "-id"], name="event_of_site"),
            models.Index(fields=["actor_id", "-id"], name="event_of_actor"),
            models.Index(fields=["action", "-id"], name="event_of_action"),
            models.Index(fields=["created"], name="event_by_time"),
        ]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]


class AuditSeal(Created):
    """A link of the hash chain: seals one event behind the one before it. Written by a beat, in the order of the seals."""

    id: int
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="seal")
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["previous"], name="chain_never_forks")]
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]


class AuditCheck(Created):
    """What a walk along the chain found. Append-only, like what it is about."""

    sealed = models.BigIntegerField()
    unsealed = models.BigIntegerField()
    head = models.CharField(max_length=64)
    breaks = models.JSONField(default=list, help_text="The first of them, in words.")

    class Meta:
        triggers = [pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete)]
