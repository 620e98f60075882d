"""What a person at the camera was advised to take again, and has done with."""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit.services import record
from portal.images.models import UploadFile


@transaction.atomic
def dismiss_advice(*, file: UploadFile, actor: User) -> None:
    """The person at the camera has taken it again, or needs not to. Dismissing twice is one dismissal."""
    access.require(actor, "upload", site=file.upload.site_id)
    if UploadFile.objects.filter(pk=file.pk, advice_dismissed=None).update(advice_dismissed=Now()):
        record(actor_id=actor.pk, action="file.advice_dismissed", subject=file, site_id=file.upload.site_id, image=file.image_id)
