"""The sanitising work of an io worker: each claim decoded in its child, then written by the batch."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from django.conf import settings
from django.db import connection

from portal.audit.services import event, record, record_all
from portal.core.faults import fault
from portal.images import kept, sanitise, storage
from portal.images.comparing import remember
from portal.images.likeness import Look
from portal.images.models import FileOutcome, Image, ImageState, UploadFile
from portal.images.placing import carry_out, plan
from portal.jobs import services as jobs
from portal.jobs.batches import finish_many

_WRITE_SECONDS = 2.0
"""What is cleaned by then is written, before the rest of the batch is decoded."""


class StoreTrouble(jobs.TryLater):
    """The disk and not a file: the work is given back and tried again."""


def sanitise_claimed(claims: list[jobs.Claim]) -> None:
    """Make clean pictures for these claims. One bad file never touches the others.

    Raises StoreTrouble at the end where the store failed; the claims concerned are still held by the caller.
    """
    images = Image.objects.in_bulk([claim.subject_id for claim in claims])
    made: dict[jobs.Claim, sanitise.Cleaned | sanitise.Refused] = {}
    together = _decode_together([image for claim in claims if _waits(image := images[claim.subject_id])])
    trouble, due = "", time.monotonic() + _WRITE_SECONDS
    for claim in claims:
        image = images[claim.subject_id]
        if not _waits(image):
            jobs.finish(claim, _nothing)
            continue
        answer = together.get(image.pk) or _decode(image)
        if isinstance(answer, sanitise.Refused) and answer.code == "storage":
            trouble = answer.message
            continue
        made[claim] = answer
        if time.monotonic() > due:
            _write(made, images)
            made, due = {}, time.monotonic() + _WRITE_SECONDS
    _write(made, images)
    if trouble:
        raise StoreTrouble(trouble)


def give_up(claim: jobs.Claim, error: str) -> None:
    """Inside a transaction: the work killed its worker, or failed, too often. The image is failed, with a Retry button."""
    image = Image.objects.select_for_update(of=("self",)).get(pk=claim.subject_id)
    if image.state == ImageState.RECEIVED:
        _end(image, claim, ImageState.FAILED, error)
    jobs.fail(claim, error)


def _waits(image: Image) -> bool:
    """Received, or failed here before and now tried again by way of its job."""
    return image.state == ImageState.RECEIVED or (image.state == ImageState.FAILED and not image.clean_sha256)


def _decode_together(images: Sequence[Image]) -> dict[int, sanitise.Cleaned]:
    """By image id, what a child of the whole batch made without any trouble."""
    if len(images) < 2:
        return {}
    try:
        paths = {kept.local(storage.original_path(image.site_id, image.sha256)): image.pk for image in images}
    except OSError:
        return {}  # each by itself then: which of them it was is told there
    made = sanitise.clean_together(list(paths), kept.temporary(settings.CLEAN_DIR).parent)
    return {paths[path]: answer for path, answer in made.items()}


def _decode(image: Image) -> sanitise.Cleaned | sanitise.Refused:
    out = kept.temporary(settings.CLEAN_DIR).parent
    try:
        return sanitise.clean(kept.local(storage.original_path(image.site_id, image.sha256)), out)
    except FileNotFoundError:
        return sanitise.Refused("original_gone", "The stored file is gone. Send it again.", again=True)
    except OSError as error:
        return sanitise.Refused("storage", f"The store could not be read ({error.strerror}).", again=True)


def _nothing() -> None:
    """Nothing to do any more: the image was withdrawn, or an earlier attempt did it."""


def _write(made: Mapping[jobs.Claim, sanitise.Cleaned | sanitise.Refused], images: Mapping[int, Image]) -> None:
    """What could be cleaned in one transaction; each refusal, which is rare, in its own."""
    cleaned = {claim: answer for claim, answer in made.items() if isinstance(answer, sanitise.Cleaned)}
    try:
        kept = _keep(cleaned, images)
        fault("before_sanitise_commit")
        if cleaned:
            finish_many(list(cleaned), partial(_write_clean, cleaned, kept))
        for claim, answer in made.items():
            if isinstance(answer, sanitise.Refused):
                jobs.finish(claim, partial(_refuse, claim, answer), end=_end_of(answer))
    finally:
        for answer in cleaned.values():
            for left in (answer.picture, answer.thumb):
                left.unlink(missing_ok=True)


def _keep(cleaned: Mapping[jobs.Claim, sanitise.Cleaned], images: Mapping[int, Image]) -> dict[jobs.Claim, str]:
    """The pictures to their places; the sha256 of each. Before the rows: a row never stands without its blob."""
    try:
        places = [(images[claim.subject_id].site_id, answer) for claim, answer in cleaned.items()]
        hashes = storage.keep_clean((site, answer.picture, answer.thumb, answer.clean_format) for site, answer in places)
    except OSError as error:
        raise StoreTrouble(f"The store could not be written ({error.strerror}).") from error
    return dict(zip(cleaned, hashes, strict=True))


def _refuse(claim: jobs.Claim, refused: sanitise.Refused) -> None:
    image = Image.objects.select_for_update(of=("self",)).get(pk=claim.subject_id)
    if _waits(image):
        _take_up([image])
        _end(image, claim, ImageState.FAILED if refused.again else ImageState.REJECTED, refused.message)


def _end_of(refused: sanitise.Refused) -> Callable[[jobs.Claim], None]:
    """A file that may be good fails its job, which can be tried again; what was refused for good is done."""
    return partial(jobs.fail, error=f"{refused.code}: {refused.message}") if refused.again else jobs.complete


def _take_up(images: Sequence[Image]) -> None:
    """Those that had failed are received again, which the database asks for before anything else may become of them."""
    failed = [image.pk for image in images if image.state == ImageState.FAILED]
    if failed:
        Image.objects.filter(pk__in=failed).update(state=ImageState.RECEIVED)


def _write_clean(cleaned: Mapping[jobs.Claim, sanitise.Cleaned], hashes: Mapping[jobs.Claim, str], claims: Sequence[jobs.Claim]) -> None:
    """Rows, what follows and the audit trail of the claims that are held; a fixed number of statements."""
    claim_of = {claim.subject_id: claim for claim in claims}
    rows = Image.objects.select_for_update(of=("self",)).select_related("exam__patient").filter(pk__in=claim_of).order_by("pk")
    images = [image for image in rows if _waits(image)]
    _take_up(images)
    for image in images:
        _fill(image, cleaned[claim_of[image.pk]], hashes[claim_of[image.pk]])
    _update(images)
    _place(images)
    for image in images:
        if notes := cleaned[claim_of[image.pk]].notes:
            image.arrivals.filter(message="").update(message=" ".join(notes)[:400])
    remember([(image, _look(cleaned[claim_of[image.pk]])) for image in images])
    for actor in {claim_of[image.pk].actor_id for image in images}:
        theirs = [image.pk for image in images if claim_of[image.pk].actor_id == actor]
        jobs.put(kind="analyse", subject_ids=theirs, actor_id=actor)
        jobs.put(kind="compare", subject_ids=theirs, actor_id=actor)
    record_all(
        event(
            actor_id=claim_of[image.pk].actor_id, action="image.cleaned", subject=image, site_id=image.site_id,
            format=image.format, exam=image.exam_id,
        )
        for image in images
    )  # fmt: skip


def _look(made: sanitise.Cleaned) -> Look:
    return Look(made.phash, bytes.fromhex(made.sketch))


def _fill(image: Image, made: sanitise.Cleaned, sha256: str) -> None:
    image.state, image.state_reason = ImageState.CLEAN, ""
    image.clean_sha256, image.clean_format, image.format = sha256, made.clean_format, made.format
    image.width, image.height = made.width, made.height
    image.captured, image.device = made.captured, image.device or made.device


_UPDATE = """
UPDATE images_image SET state = made.state, state_reason = '', clean_sha256 = made.clean_sha256, clean_format = made.clean_format,
    format = made.format, width = made.width, height = made.height, captured = made.captured, device = made.device
FROM jsonb_to_recordset(%s) AS made (id bigint, state text, clean_sha256 text, clean_format text, format text, width int, height int,
    captured timestamptz, device text)
WHERE images_image.id = made.id
"""
_FIELDS = ("id", "state", "clean_sha256", "clean_format", "format", "width", "height", "captured", "device")


def _update(images: Sequence[Image]) -> None:
    """One statement; Django's bulk_update would send nine CASE expressions, and take longer to write them than Postgres to read them."""
    with connection.cursor() as cursor:
        cursor.execute(_UPDATE, [json.dumps([{name: getattr(image, name) for name in _FIELDS} for image in images], default=str)])


def _place(images: Sequence[Image]) -> None:
    """By the first row of the table that names a patient, else by the first row."""
    rows: dict[int, UploadFile] = {}
    arrivals = UploadFile.objects.filter(image__in=images).exclude(table_row=None)
    for row in sorted(arrivals, key=lambda row: (not row.patient_code, row.pk)):
        rows.setdefault(row.image_id or 0, row)
    for site in sorted({image.site_id for image in images if image.pk in rows}):
        wanted = plan([(image, rows[image.pk]) for image in images if image.pk in rows and image.site_id == site])
        carry_out(wanted)
        for row, why in wanted.refused:
            UploadFile.objects.filter(pk=row.pk).update(table_error=why)


def _end(image: Image, claim: jobs.Claim, state: ImageState, reason: str) -> None:
    image.state, image.state_reason = state, reason[:300]
    image.save(update_fields=["state", "state_reason"])
    if state == ImageState.REJECTED:
        image.arrivals.update(outcome=FileOutcome.REJECTED, message=reason[:400])
    record(actor_id=claim.actor_id, action=f"image.{state}", subject=image, site_id=image.site_id, reason=reason[:300])
