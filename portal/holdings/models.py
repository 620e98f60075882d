"""What each site holds here, how much it may hold, what was erased for good, and whether the stores are sound. Knows no image."""

import pgtrigger
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from portal.accounts.models import Site, User
from portal.core.models import Created


class SiteHolding(models.Model):
    """How much a site has stored, counted as files come and are erased; and its own limits, where it has any.

    A limit of null is the installation's; 0 is none.
    """

    site = models.OneToOneField(Site, on_delete=models.PROTECT, primary_key=True, related_name="holding")
    bytes = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)
    max_bytes = models.BigIntegerField(null=True)
    max_files = models.BigIntegerField(null=True)
    max_in_work = models.BigIntegerField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(bytes__gte=0, files__gte=0), name="holding_never_negative"),
            models.CheckConstraint(
                condition=(Q(max_bytes=None) | Q(max_bytes__gte=0))
                & (Q(max_files=None) | Q(max_files__gte=0))
                & (Q(max_in_work=None) | Q(max_in_work__gte=0)),
                name="limits_never_negative",
            ),
        ]


class ErasureState(models.TextChoices):
    WAITING = "waiting"
    DONE = "done"


class Erasure(Created):
    """The erasure of a patient, an exam or an image; afterwards its tombstone, with nothing of the person in it.

    `of` and `subject_id` say what it was about; the rows of that number have lost what they said. `files` names the blobs that are
    still to be removed and is empty in the end.
    """

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="erasures")
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    of = models.CharField(max_length=8, choices=[("patient", "patient"), ("exam", "exam"), ("image", "image")])
    subject_id = models.BigIntegerField()
    state = models.CharField(max_length=8, choices=ErasureState.choices, default=ErasureState.WAITING)
    images = ArrayField(models.BigIntegerField(), default=list, help_text="Numbers of the images that were erased.")
    files = models.JSONField(default=list, help_text="Blobs that are not yet removed: [sha256, clean sha256, extension].")
    used_in = models.JSONField(default=dict, help_text="Data sets and models that used the images.")
    done = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=ErasureState.values), name="erasure_known_state"),
            models.UniqueConstraint(fields=["of", "subject_id"], condition=Q(state="waiting"), name="one_live_erasure_a_subject"),
            models.CheckConstraint(condition=Q(state="waiting") | Q(files=[]), name="erasure_done_has_no_files"),
        ]
        triggers = [pgtrigger.Protect(name="no_delete", operation=pgtrigger.Delete)]


class ErasedFile(Created):
    """A file that its own site is not to send again, known by a keyed hash alone."""

    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="+")
    erasure = models.ForeignKey(Erasure, on_delete=models.PROTECT, related_name="kept_out")
    token = models.CharField(max_length=64, help_text="HMAC of site and sha256 under the installation's key.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["site", "token"], name="erased_once_a_site")]


class CheckState(models.TextChoices):
    RUNNING = "running"
    DONE = "done"


class StoreCheck(Created):
    """One walk over the stores: how far it is, what it found. The weekly one is work like any other and goes on after a death."""

    state = models.CharField(max_length=8, choices=CheckState.choices, default=CheckState.RUNNING)
    place = models.JSONField(default=list, help_text="Store, site and name up to which it is done.")
    blobs = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    counts = models.JSONField(default=dict, help_text="How many findings of each sort.")
    findings = models.JSONField(default=list, help_text="The first of them.")
    finished = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(state__in=CheckState.values), name="check_known_state"),
            models.UniqueConstraint(fields=["state"], condition=Q(state="running"), name="one_check_at_a_time"),
        ]
