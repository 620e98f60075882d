"""Withdrawing and erasing a patient, an exam or an image: what a site lead asks for. The erasure itself is work (`work.py`)."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import User
from portal.audit.services import record
from portal.core.errors import BadInput, WrongState
from portal.erasure.subjects import Subject
from portal.holdings.models import ErasedFile, Erasure, ErasureState
from portal.images.models import OUT, ImageState
from portal.jobs import services as jobs
from portal.reviews.services import withdraw


@transaction.atomic
def withdraw_all(*, subject: Subject, actor: User, reason: str) -> int:
    """Take every image of the subject out of all that comes. Says how many. They stay in the house, for their own site to see."""
    access.require(actor, "withdraw", site=subject.site_id)
    if not reason.strip():
        raise BadInput("Say why this is withdrawn.")
    images = list(subject.images.exclude(state__in=[*OUT, ImageState.REJECTED]).order_by("pk"))
    if not images:
        raise WrongState("There is nothing to withdraw here: every image is out already.")
    for image in images:
        withdraw(image=image, actor=actor, reason=reason)
    return len(images)


@transaction.atomic
def ask(*, subject: Subject, typed: str, actor: User) -> Erasure:
    """Queue the erasure, once the lead has typed what is to go. It cannot be undone and asks nobody else."""
    access.require(actor, "erase", site=subject.site_id)
    if typed.strip() != subject.code:
        raise BadInput(f"To erase, type the {_typed(subject)} exactly as it stands above.")
    if not subject.images.exists():
        raise WrongState("There is nothing left to erase here.")
    try:
        with transaction.atomic():
            erasure = Erasure.objects.create(site_id=subject.site_id, asked_by=actor, of=subject.of, subject_id=subject.pk)
    except IntegrityError:
        raise WrongState("This is being erased already. Look at the page of the erasure.") from None
    count = subject.images.count()
    record(
        actor_id=actor.pk, action="erasure.asked", subject=erasure, site_id=subject.site_id, of=subject.of, number=subject.pk, images=count
    )
    jobs.put(kind="erase", subject_ids=[erasure.pk], actor_id=actor.pk)
    return erasure


def _typed(subject: Subject) -> str:
    return "number of the image" if subject.of == "image" else f"{subject.of}'s code"


@transaction.atomic
def lift(*, erasure: Erasure, actor: User) -> int:
    """Let the site send the erased files again. Says how many; they come as new images, if they come."""
    access.require(actor, "erase", site=erasure.site_id)
    if erasure.state != ErasureState.DONE:
        raise WrongState("The erasure is still under way. Wait until it is done.")
    lifted, _ = ErasedFile.objects.filter(erasure=erasure).delete()
    if not lifted:
        raise WrongState("These files may be sent again already.")
    record(actor_id=actor.pk, action="erasure.lifted", subject=erasure, site_id=erasure.site_id, files=lifted)
    return lifted


@transaction.atomic
def finished(*, erasure: Erasure, used: dict[str, object], actor_id: int | None) -> None:
    """The tombstone as it stays. The caller ends the job in the same transaction."""
    Erasure.objects.filter(pk=erasure.pk).update(state=ErasureState.DONE, done=Now(), files=[], used_in=used)
    record(
        actor_id=actor_id, action="erasure.done", subject=erasure, site_id=erasure.site_id, of=erasure.of, number=erasure.subject_id,
        images=len(erasure.images),
    )  # fmt: skip
