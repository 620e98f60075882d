"""Files that come piece by piece and are taken in when they are whole: resumable upload over lines that break.

A piece counts once it is on the disk and its row is written. What ends a request (a broken line, a killed server, a full disk) costs
at most the piece under way; the sender asks how far the file is and goes on. Complete files go the way of `services.receive`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import psycopg.errors
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import Q
from django.db.models.functions import Now
from resumable_upload import TusServerCore
from resumable_upload.server.headers import parse_metadata

from portal.accounts.models import User
from portal.core.errors import BadInput, NotVisible, WrongState
from portal.core.faults import fault
from portal.core.statements import insert_row
from portal.images import objects, partials, room, services, storage, tus
from portal.images.models import Arrival, Upload, UploadFile

PIECE = 4 << 20
"""Bytes that are written, and counted, at a time: also the most that a request holds in memory."""
_SIP = 1 << 15
"""Bytes that are read at a time: what was read before a line broke is kept."""
_SECONDS = 2.0
"""On a slow line a piece is what came in so long: a killed server costs no more."""


@dataclass(frozen=True, slots=True)
class Spoken:
    """One request of the protocol. `base` is the address of the upload's files, `headers` with small letters."""

    method: str
    base: str
    headers: Mapping[str, str]
    body: storage.Readable


@dataclass(slots=True)
class Answer:
    """What the protocol answers; `file` where the file is complete and has its outcome."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: UploadFile | None = None


def speak(*, upload: Upload, actor: User, said: Spoken, arrival: Arrival | None) -> Answer:
    """Answer one tus request of `actor` about `arrival`, or about a new file of `upload` where it is None.

    Raises WrongState for an upload that has ended, StoreFull where the disk is full (what has come stays, and is not asked for again).
    """
    if said.headers.get("upload-defer-length"):
        raise BadInput("Say the file's length when you begin to send it.")
    shelf = tus.Shelf(upload, actor, _name(said), tus.as_on_disk(arrival) if arrival else None)
    if said.method in ("POST", "PATCH", "DELETE"):
        services.require_open(upload)
    if said.method == "POST" and _number(said.headers.get("upload-length", "")) > (limit := services.promised_limit(shelf.name)):
        return Answer(413, {"Tus-Resumable": "1.0.0"}, file=services.refuse_size(upload=upload, name=shelf.name, actor=actor, limit=limit))
    if said.method == "DELETE" and arrival and arrival.file_id:
        raise WrongState("This file is in already. Its image can be withdrawn on the image's page.")
    with _troubles(shelf):
        answer = _speak(shelf, said)
        if answer.status < 400 and shelf.arrival is not None and said.method != "OPTIONS":
            answer.file = _outcome(shelf.arrival, actor)
    return answer


@contextmanager
def _troubles(shelf: tus.Shelf) -> Iterator[None]:
    """Trouble of the disk, in words; a file that has no row yet leaves nothing behind."""
    try:
        yield
    except BaseException as error:
        if shelf.arrival is not None and shelf.arrival._state.adding:
            partials.drop(shelf.arrival.pk)
        if isinstance(error, FileNotFoundError):
            raise WrongState("The disk has lost this file. Send it again from its beginning.") from None
        if isinstance(error, OSError) and not isinstance(error, objects.Unreachable):
            raise services.StoreFull.of(error) from error
        if isinstance(error, OperationalError) and isinstance(error.__cause__, psycopg.errors.DiskFull):
            raise services.StoreFull.of(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) from error
        raise


def _speak(shelf: tus.Shelf, said: Spoken) -> Answer:
    """The request in pieces: each is a whole request to the library, and a transaction of its own."""
    core, path = tus.core(shelf, said.base), said.base
    if shelf.arrival is not None:
        path = f"{said.base}/{shelf.arrival.pk}"
    pieces = _pieces(said)
    answer = _one(core, shelf, said.method, path, said.headers, next(pieces, b""))
    for piece in pieces:
        if answer.status >= 300:
            break
        assert shelf.arrival is not None
        fault("between_pieces")
        headers = {**said.headers, "upload-offset": answer.headers["Upload-Offset"], "content-type": "application/offset+octet-stream"}
        more = _one(core, shelf, "PATCH", f"{said.base}/{shelf.arrival.pk}", headers, piece)
        answer = Answer(answer.status if more.status < 300 else more.status, {**answer.headers, **more.headers}, more.body)
    return answer


def _one(core: TusServerCore, shelf: tus.Shelf, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    with transaction.atomic():
        status, given, text = core.handle_request(method, path, dict(headers), body)
        kept = shelf.arrival
        # a new file that is complete at once gets its row with its outcome
        if status < 300 and method in ("POST", "PATCH") and kept is not None and not (kept._state.adding and kept.sha256):
            shelf.write_row()
    return Answer(status, given, text if isinstance(text, bytes) else b"")


def _pieces(said: Spoken) -> Iterator[bytes]:
    """The body in pieces; all of it at once where its checksum was sent. What came before the line broke is a piece too."""
    if said.method not in ("POST", "PATCH"):
        return
    most = 2 * PIECE if "upload-checksum" in said.headers else PIECE
    while True:
        piece, whole = _gather(said.body, most, seconds=_SECONDS if most == PIECE else 3600)
        if whole and most > PIECE:
            raise BadInput(f"A piece with a checksum may have fewer than {most >> 20} MB. Send smaller ones.")
        if piece:
            yield piece
        if not whole:
            return


def _gather(body: storage.Readable, most: int, *, seconds: float) -> tuple[bytes, bool]:
    """Up to `most` bytes, or what comes in `seconds`; and whether there may be more."""
    piece, until = bytearray(), time.monotonic() + seconds
    while len(piece) < most and time.monotonic() < until:
        try:
            sip = body.read(min(_SIP, most - len(piece)))
        except OSError:  # the line broke
            return bytes(piece), False
        if not sip:
            return bytes(piece), False
        piece += sip
    return bytes(piece), True


# ---- complete ---------------------------------------------------------------------------------------------------------


def _outcome(arrival: Arrival, actor: User) -> UploadFile | None:
    """The outcome of a complete file, made now where it has none; None while bytes are missing."""
    if arrival.file_id or not arrival.sha256:
        return arrival.file
    return finish(arrival=arrival, actor=actor)


def finish(*, arrival: Arrival, actor: User) -> UploadFile:
    """Take a complete file in. Safe to repeat, and after a crash at any point. Raises FileNotFoundError where the disk has lost it."""
    try:
        with transaction.atomic():
            if arrival._state.adding:
                return _settle(arrival, actor)
            locked = Arrival.objects.select_for_update(of=("self",)).select_related("file", "upload").get(pk=arrival.pk)
            return locked.file or _settle(locked, actor)
    except FileNotFoundError:
        Arrival.objects.filter(pk=arrival.pk, file=None).update(offset=0, sha256="")
        raise


def _settle(arrival: Arrival, actor: User) -> UploadFile:
    upload = arrival.upload
    spooled = partials.complete(arrival.pk, upload_id=upload.pk, site_id=upload.site_id, sha256=arrival.sha256, size=arrival.size)
    fault("before_settle")
    sent = arrival if arrival._state.adding else None
    file = services.settle(upload=upload, spooled=spooled, name=arrival.name, actor=actor, sent=sent)
    if arrival.file_id is None:  # else it was written with its file
        arrival.file = file
        if sent:
            insert_row(arrival)
        else:
            arrival.save()
    return file


def find(*, upload: Upload, arrival_id: UUID) -> Arrival:
    """An arrival of this upload, or NotVisible. The upload was found by `access` before."""
    found = Arrival.objects.filter(upload=upload, pk=arrival_id).select_related("file").first()
    if found is None:
        raise NotVisible
    found.upload = upload
    return found


def sweep() -> int:
    """The beat: forget files whose rest never came, and what they left on the disk. Returns how many."""
    old = Q(moved__lt=Now() - timedelta(days=settings.PARTIAL_DAYS))
    ended = Q(upload__closed__isnull=False) | Q(upload__cancelled__isnull=False)
    gone = list(Arrival.objects.filter(old & (Q(file=None) | ended)).values_list("pk", flat=True)[:10_000])
    for arrival in gone:
        partials.drop(arrival)
    Arrival.objects.filter(pk__in=gone).delete()
    for arrival in set(left := partials.old_ones(settings.PARTIAL_DAYS)) - set(
        Arrival.objects.filter(pk__in=left).values_list("pk", flat=True)
    ):
        partials.drop(arrival)
    return len(gone)


def finish_waiting() -> int:
    """The beat: take in what was complete when its server died, for senders that do not ask again. Returns how many."""
    waiting = Arrival.objects.filter(file=None, upload__closed=None, upload__cancelled=None, moved__lt=Now() - timedelta(minutes=1))
    done = 0
    for arrival in waiting.exclude(sha256="").select_related("upload", "actor")[:1000]:
        try:
            finish(arrival=arrival, actor=arrival.actor)
            done += 1
        except (OSError, room.NoRoom):
            continue
    return done


def _name(said: Spoken) -> str:
    metadata, _ = parse_metadata(said.headers.get("upload-metadata", ""))
    return services.plain_name((metadata or {}).get("name", ""))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else 0
