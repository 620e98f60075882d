"""A picture is given back unread, with a reason, and not shown to that reader again for a while."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from portal.accounts.models import User
from portal.audit import services as audit
from portal.core.errors import BadInput, WrongState
from portal.reviews.models import Lease

REASONS = ("not_now", "case_is_known_to_me", "picture_does_not_load", "needs_more_time")
SKIPPED_FOR = timedelta(hours=12)


def skipped_by(reader: User) -> Exists:
    """Of a task: whether this reader has skipped it lately."""
    return Exists(Lease.objects.filter(task=OuterRef("pk"), reader=reader, ended__gt=Now() - SKIPPED_FOR).exclude(skipped=""))


@transaction.atomic
def skip(*, lease: Lease, reader: User, reason: str) -> None:
    """End the lease without an answer. Who reads it instead is told nothing of it."""
    if reason not in REASONS:
        raise BadInput("Say why you skip it: choose one of the reasons.")
    if not Lease.objects.filter(pk=lease.pk, reader=reader, ended__isnull=True).update(ended=Now(), skipped=reason):
        raise WrongState("This picture is with you no longer. Go on with the next.", code="too_late")
    audit.record(actor_id=reader.pk, action="skip", subject=lease.task, site_id=lease.task.image.site_id, lease=lease.pk, reason=reason)
