"""Uploads and their files: the way of an image into the portal."""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import Self

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Now

from portal.accounts import access
from portal.accounts.models import Site, User
from portal.audit.services import record
from portal.core.errors import BadInput, WinnowError, WrongState
from portal.core.faults import fault
from portal.core.statements import insert_row
from portal.images import formats, room, storage, taking
from portal.images.cleaning import give_up, sanitise_claimed
from portal.images.locks import lock, share
from portal.images.models import UPLOAD_CANCELLED, Archive, Arrival, FileOutcome, Image, ImageState, Upload, UploadFile
from portal.images.tables import Applied, apply_table, match_left_over, place_arrival
from portal.jobs import services as jobs
from portal.jobs.models import Job

__all__ = [
    "Applied", "StoreFull", "apply_table", "cancel_upload", "close_upload", "give_up", "open_upload", "plain_name", "promised_limit",
    "receive", "refuse", "refuse_size", "require_open", "retry", "sanitise_claimed", "settle", "settle_table", "size_limit",
    "take_in",
]  # fmt: skip


class StoreFull(WinnowError):
    """No room for the file; nothing was lost, and the same file may be sent again later."""

    status = 507
    code = "store_full"

    @classmethod
    def of(cls, error: OSError) -> Self:
        why = error.strerror or type(error).__name__
        return cls(f"The portal could not store the file ({why}). Tell your administrator, then send it again.")


@transaction.atomic
def open_upload(*, site: Site, actor: User, note: str = "", expected: int = 0) -> Upload:
    """Begin to send files to a site that is the actor's own."""
    access.require(actor, "upload", site=site.pk)
    room.require(site.pk)
    upload = Upload.objects.create(site=site, created_by=actor, note=note.strip()[:200], expected=max(0, expected))
    upload.refresh_from_db(fields=["created"])
    record(actor_id=actor.pk, action="upload.opened", subject=upload, site_id=site.pk, expected=upload.expected)
    return upload


def receive(*, upload: Upload, file: storage.Readable, name: str, actor: User, size: int | None = None) -> UploadFile:
    """Take in one file: streamed, hashed, fsynced, renamed to its place, then its row and its work in one transaction.

    What is wrong with the file becomes its outcome and is never raised. Safe to repeat: the same file of the same name is the same
    row. `size` is the number of bytes announced; where fewer come, the line broke: BadInput, no row, send again.
    """
    name = plain_name(name)
    require_open(upload)
    try:
        spooled = storage.spool(file, limit=size_limit)
    except storage.TooBig as too_big:
        return refuse_size(upload=upload, name=name, actor=actor, limit=too_big.limit)
    except OSError as error:
        raise StoreFull.of(error) from error
    if size is not None and spooled.size != size:
        spooled.path.unlink()
        raise BadInput("The connection broke before the whole file had come. Send it again.", code="incomplete")
    try:
        with transaction.atomic():
            return settle(upload=upload, spooled=spooled, name=name, actor=actor)
    except BaseException as error:
        spooled.path.unlink(missing_ok=True)
        if isinstance(error, OSError) and not isinstance(error, WinnowError):
            raise StoreFull.of(error) from error
        raise


def settle(*, upload: Upload, spooled: storage.Spooled, name: str, actor: User, sent: Arrival | None = None) -> UploadFile:
    """What becomes of a file of which every byte is on the disk: to its place, or refused and gone; then its row. In one transaction.

    `sent`: the arrival that it came as, where that has no row yet. It may have one then.

    Raises NoRoom, and leaves the file where it is, where the site holds as much as it may."""
    if spooled.size > size_limit(spooled.head):
        spooled.path.unlink(missing_ok=True)
        return refuse_size(upload=upload, name=name, actor=actor, limit=size_limit(spooled.head))
    if formats.is_archive(spooled.head):
        storage.keep_archive(upload.pk, spooled)
        return _take_archive(upload, name, actor, spooled)
    held, reason = upload, formats.refusal(spooled.head)
    if not reason:
        held, reason = room.enter(upload, name, spooled)
    if reason:
        spooled.path.unlink(missing_ok=True)
        return refuse(upload, name, actor, reason)
    require_open(held)
    storage.keep_original(held.site_id, spooled)
    fault("after_blob")
    return take_in(held, name, actor, spooled, sent=sent)


def size_limit(head: bytes) -> int:
    """How many bytes a file that begins so may have."""
    return settings.MAX_ARCHIVE_BYTES if formats.is_archive(head) else settings.MAX_FILE_BYTES


def promised_limit(name: str) -> int:
    """The same of a file of which nothing but the name has come. What it is, its content says once it is here."""
    return settings.MAX_ARCHIVE_BYTES if name.lower().endswith(".zip") else settings.MAX_FILE_BYTES


def refuse_size(*, upload: Upload, name: str, actor: User, limit: int) -> UploadFile:
    """The outcome of a file that is over the limit."""
    return refuse(upload, name, actor, f"The file has more than {limit // 10**6} MB. Send it smaller.")


@transaction.atomic
def close_upload(*, upload: Upload, actor: User) -> Upload:
    """All files were sent: what the table still waits for is missing. Closing twice is one closing."""
    locked = lock(upload)
    if locked.closed or locked.cancelled:
        return locked
    missing = settle_table(locked, actor)
    Upload.objects.filter(pk=locked.pk).update(closed=Now())
    locked.refresh_from_db(fields=["closed"])
    record(actor_id=actor.pk, action="upload.closed", subject=locked, site_id=locked.site_id, missing=missing)
    return locked


def settle_table(upload: Upload, actor: User) -> int:
    """Inside a transaction that holds the upload: what its table still waits for is missing. Returns how many rows are.

    While an archive is being unpacked nothing is settled; the end of its unpacking does it.
    """
    if upload.files.filter(outcome=FileOutcome.UNPACKING).exists():
        return 0
    match_left_over(upload, actor)
    return upload.files.filter(outcome=FileOutcome.EXPECTED).update(outcome=FileOutcome.MISSING)


@transaction.atomic
def cancel_upload(*, upload: Upload, actor: User) -> Upload:
    """Stop sending. Images not yet cleaned are withdrawn with it, and come back if they are sent again; all others stay."""
    locked = lock(upload)
    if locked.closed or locked.cancelled:
        raise WrongState("This upload has ended. Its images can be withdrawn one by one.")
    withdrawn = locked.images.filter(state=ImageState.RECEIVED).update(state=ImageState.WITHDRAWN, state_reason=UPLOAD_CANCELLED)
    _drop_archives(locked, actor)
    Upload.objects.filter(pk=locked.pk).update(cancelled=Now())
    locked.refresh_from_db(fields=["cancelled"])
    record(actor_id=actor.pk, action="upload.cancelled", subject=locked, site_id=locked.site_id, withdrawn=withdrawn)
    return locked


@transaction.atomic
def retry(*, image: Image, actor: User) -> Image:
    """Take a failed image up again where it stopped."""
    access.require(actor, "upload", site=image.site_id)
    locked = Image.objects.select_for_update(of=("self",)).get(pk=image.pk)
    if locked.state != ImageState.FAILED:
        raise WrongState("This image has not failed, so there is nothing to try again. Reload the page.")
    return _again(locked, actor)


def _again(image: Image, actor: User) -> Image:
    before = image.state
    image.state = ImageState.CLEAN if image.clean_sha256 else ImageState.RECEIVED
    image.state_reason = ""
    image.save(update_fields=["state", "state_reason"])
    jobs.enqueue(kind="analyse" if image.clean_sha256 else "sanitise", subject_id=image.pk, actor_id=actor.pk)
    record(actor_id=actor.pk, action="image.retried", subject=image, site_id=image.site_id, before=before, after=image.state)
    return image


def plain_name(name: str) -> str:
    """A name to show and to match, never to open: one line, with its folders, at most 255 characters (the end counts)."""
    shown = "".join(c for c in unicodedata.normalize("NFC", name).replace("\\", "/") if c.isprintable())
    return shown.strip().lstrip("/")[-255:] or "(no name)"


def require_open(upload: Upload, *, archived: bool = False) -> None:
    """Of an archive that came before the upload was closed, the members come after."""
    if upload.cancelled:
        raise WrongState("This upload was cancelled. Start a new one.")
    if upload.closed and not archived:
        raise WrongState("This upload is closed. Start a new one for further files.")


def _namesakes(upload: Upload, name: str) -> list[UploadFile]:
    """The rows of this upload with this name, whatever its capitals; the exact spelling first."""
    rows = upload.files.filter(name__iexact=name).select_related("image").order_by("pk")
    return sorted(rows, key=lambda row: row.name != name)


def _row_for(upload: Upload, name: str, namesakes: list[UploadFile]) -> UploadFile:
    """The table's row that waits for this file, or a new one."""
    waiting = (row for row in namesakes if row.outcome in (FileOutcome.EXPECTED, FileOutcome.MISSING))
    return next(waiting, None) or UploadFile(upload=upload, name=name)


@transaction.atomic
def refuse(upload: Upload, name: str, actor: User, reason: str, *, archived: bool = False) -> UploadFile:
    """The row of a file that was not taken. `archived`: it came inside an archive."""
    locked = share(upload, name)
    require_open(locked, archived=archived)
    namesakes = _namesakes(locked, name)
    for row in namesakes:
        if (row.name, row.outcome, row.message) == (name, FileOutcome.REJECTED, reason):
            return row
    row = _row_for(locked, name, namesakes)
    row.outcome, row.message = FileOutcome.REJECTED, reason
    row.save()
    record(actor_id=actor.pk, action="file.rejected", subject=row, site_id=locked.site_id, reason=reason)
    return row


def take_in(
    locked: Upload, name: str, actor: User, spooled: storage.Spooled, *, archived: bool = False, sent: Arrival | None = None
) -> UploadFile:
    """The row of a file that was kept, its image and its work, in the transaction that holds the upload.

    `archived`: it came inside an archive. `sent` as for `settle`."""
    require_open(locked, archived=archived)
    if new := taking.take_new(locked, name, spooled, actor.pk, sent):
        return new
    namesakes = _namesakes(locked, name)
    for row in namesakes:
        if row.name == name and row.image and row.image.sha256 == spooled.sha256:
            return row
    row = _row_for(locked, name, namesakes)
    row.image, is_new = room.insert(locked, name, spooled)
    row.outcome, row.message = (FileOutcome.ACCEPTED, "") if is_new else _known(row.image, locked, actor)
    if row._state.adding:
        insert_row(row)
    else:
        row.save()
    if is_new:
        jobs.put(kind="sanitise", subject_ids=[row.image.pk], actor_id=actor.pk)
        record(actor_id=actor.pk, action="image.received", subject=row.image, site_id=locked.site_id, upload=locked.pk)
        room.count(row.image)
    else:
        record(actor_id=actor.pk, action="file.duplicate", subject=row, site_id=locked.site_id, image=row.image.pk)
        if row.table_row:
            place_arrival(row, actor)
    return row


@transaction.atomic
def _take_archive(upload: Upload, name: str, actor: User, spooled: storage.Spooled) -> UploadFile:
    """The archive's row and its unpacking. Sent twice in an upload, it is one, whatever it is called."""
    locked = lock(upload)
    require_open(locked)
    known = locked.archives.filter(sha256=spooled.sha256).select_related("file").first()
    if known:
        if known.file.outcome != FileOutcome.UNPACKING:
            storage.archive_path(locked.pk, spooled.sha256).unlink(missing_ok=True)
        return known.file
    waits = "It is unpacked now; its files appear here one by one."
    row = UploadFile.objects.create(upload=locked, name=name, outcome=FileOutcome.UNPACKING, message=waits)
    archive = Archive.objects.create(site_id=locked.site_id, upload=locked, file=row, sha256=spooled.sha256, size=spooled.size)
    jobs.put(kind="unpack", subject_ids=[archive.pk], actor_id=actor.pk)
    record(actor_id=actor.pk, action="archive.received", subject=row, site_id=locked.site_id, upload=locked.pk, size=archive.size)
    return row


def _drop_archives(upload: Upload, actor: User) -> None:
    """What was not yet unpacked of a cancelled upload is not unpacked any more, and not kept."""
    waiting = upload.archives.filter(file__outcome=FileOutcome.UNPACKING)
    for archive in waiting:
        for job in Job.objects.filter(kind="unpack", subject_id=archive.pk, state__in=jobs.LIVE):
            jobs.cancel(job=job, actor_id=actor.pk)
        transaction.on_commit(partial(storage.archive_path(upload.pk, archive.sha256).unlink, missing_ok=True))
    upload.files.filter(archive__in=waiting).update(outcome=FileOutcome.REJECTED, message=UPLOAD_CANCELLED)


def _known(image: Image, upload: Upload, actor: User) -> tuple[FileOutcome, str]:
    """Outcome and message for bytes that the site has sent before."""
    here = f"image {image.pk} ({image.original_name}, sent {image.created:%Y-%m-%d})"
    if image.state == ImageState.REJECTED:
        return FileOutcome.REJECTED, image.state_reason
    if image.state == ImageState.FAILED:
        _again(image, actor)
        return FileOutcome.DUPLICATE, f"Already here as {here}. It had failed and is tried again."
    if image.state != ImageState.WITHDRAWN:
        return FileOutcome.DUPLICATE, f"Already here as {here}."[:400]
    if image.state_reason != UPLOAD_CANCELLED:
        return FileOutcome.REJECTED, f"This is {here}, which was withdrawn. Ask your site lead."
    image.upload = upload
    image.save(update_fields=["upload"])
    _again(image, actor)
    return FileOutcome.ACCEPTED, "Sent before in an upload that was cancelled; taken in now."
