"""The sanitising work of an io worker: each claim decoded in its child, then written in one transaction of its own."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.db import transaction

from portal.audit.services import record
from portal.core.faults import fault
from portal.images import sanitise, storage
from portal.images.models import FileOutcome, Image, ImageState, UploadFile
from portal.images.placing import place
from portal.jobs import services as jobs


class StoreTrouble(jobs.TryLater):
    """The disk and not a file: the work is given back and tried again."""


def sanitise_claimed(claims: list[jobs.Claim]) -> None:
    """Make clean pictures for these claims. One bad file never touches the others.

    Raises StoreTrouble at the end where the store failed; the claims concerned are still held by the caller.
    """
    trouble = ""
    for at, claim in enumerate(claims):
        if claim.job_id in jobs.extend(claims[at:]):
            trouble = _sanitise_one(claim) or trouble
    if trouble:
        raise StoreTrouble(trouble)


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the work killed its worker, or failed, too often. The image is failed, with a Retry button."""
    image = Image.objects.select_for_update(of=("self",)).get(pk=claim.subject_id)
    if image.state == ImageState.RECEIVED:
        _end(image, claim, ImageState.FAILED, error)
    jobs.fail(claim, error)


def _sanitise_one(claim: jobs.Claim) -> str:
    """Returns what was wrong with the store; empty in all other cases."""
    image = Image.objects.get(pk=claim.subject_id)
    if not _waits(image):
        _finish(claim)
        return ""
    made = _decode(image)
    if isinstance(made, sanitise.Refused) and made.code == "storage":
        return made.message
    fault("before_sanitise_commit")
    try:
        with transaction.atomic():
            _write(claim, made)
    except jobs.LostClaim:
        # another worker has it; what this one made is the same bytes under the same name
        pass
    finally:
        _discard(made)
    return ""


def _waits(image: Image) -> bool:
    """Received, or failed here before and now tried again by way of its job."""
    return image.state == ImageState.RECEIVED or (image.state == ImageState.FAILED and not image.clean_sha256)


def _decode(image: Image) -> sanitise.Cleaned | sanitise.Refused:
    out = storage.temporary(settings.CLEAN_DIR).parent
    try:
        return sanitise.clean(storage.original_path(image.site_id, image.sha256), out)
    except FileNotFoundError:
        return sanitise.Refused("original_gone", "The stored file is gone. Send it again.", again=True)
    except OSError as error:
        return sanitise.Refused("storage", f"The store could not be read ({error.strerror}).", again=True)


@transaction.atomic
def _finish(claim: jobs.Claim) -> None:
    """Nothing to do any more: the image was withdrawn, or an earlier attempt did it."""
    jobs.complete(claim)


def _write(claim: jobs.Claim, made: sanitise.Cleaned | sanitise.Refused) -> None:
    image = Image.objects.select_for_update(of=("self",)).select_related("exam__patient").get(pk=claim.subject_id)
    if not _waits(image):
        jobs.complete(claim)
        return
    if image.state == ImageState.FAILED:
        Image.objects.filter(pk=image.pk).update(state=ImageState.RECEIVED)
    if isinstance(made, sanitise.Cleaned):
        _write_clean(image, made, claim)
        jobs.complete(claim)
        jobs.enqueue(kind="analyse", subject_id=image.pk, actor_id=claim.actor_id)
    elif made.again:
        _end(image, claim, ImageState.FAILED, made.message)
        jobs.fail(claim, f"{made.code}: {made.message}")
    else:
        _end(image, claim, ImageState.REJECTED, made.message)
        jobs.complete(claim)


def _write_clean(image: Image, made: sanitise.Cleaned, claim: jobs.Claim) -> None:
    sha256, _ = storage.keep_clean(image.site_id, made.picture, made.clean_format)
    storage.keep_thumb(image.site_id, made.thumb, sha256)
    image.state, image.state_reason = ImageState.CLEAN, ""
    image.clean_sha256, image.clean_format, image.format = sha256, made.clean_format, made.format
    image.width, image.height = made.width, made.height
    image.captured, image.device = made.captured, image.device or made.device
    image.save(update_fields=[
        "state", "state_reason", "clean_sha256", "clean_format", "format", "width", "height", "captured", "device",
    ])  # fmt: skip
    rows = sorted(image.arrivals.exclude(table_row=None), key=lambda row: (not row.patient_code, row.pk))
    _, refused = place([(image, row) for row in rows[:1]])
    UploadFile.objects.filter(pk__in=refused).update(table_error=next(iter(refused.values()), ""))
    if made.notes:
        image.arrivals.filter(message="").update(message=" ".join(made.notes)[:400])
    record(actor_id=claim.actor_id, action="image.cleaned", subject=image, site_id=image.site_id, format=made.format, exam=image.exam_id)


def _end(image: Image, claim: jobs.Claim, state: ImageState, reason: str) -> None:
    image.state, image.state_reason = state, reason[:300]
    image.save(update_fields=["state", "state_reason"])
    if state == ImageState.REJECTED:
        image.arrivals.update(outcome=FileOutcome.REJECTED, message=reason[:400])
    record(actor_id=claim.actor_id, action=f"image.{state}", subject=image, site_id=image.site_id, reason=reason[:300])


def _discard(made: sanitise.Cleaned | sanitise.Refused) -> None:
    if isinstance(made, sanitise.Cleaned):
        for left in (made.picture, made.thumb):
            Path(left).unlink(missing_ok=True)
