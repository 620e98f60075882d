"""The tus protocol, as the library speaks it, on rows and files of ours.

`resumable_upload` decides what a request means and how it is answered; what has come is kept here. One `Shelf` serves one request:
it holds one Arrival, locked by the caller's transaction while a piece is written.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone
from resumable_upload import TusServerCore
from resumable_upload.locks import LockBackend
from resumable_upload.storage import Storage

from portal.accounts.models import User
from portal.core.statements import insert_row
from portal.images import partials
from portal.images.models import Arrival, Upload


class Shelf(Storage):  # type: ignore[misc]  # the library has no stub
    """The library's storage for one request. Writes files at once, the row when told to (`write_row`)."""

    def __init__(self, upload: Upload, actor: User, name: str, arrival: Arrival | None) -> None:
        self.upload, self.actor, self.name, self.arrival = upload, actor, name, arrival
        self.digest: Any = None
        """Of all bytes, where the first of them came in this request."""

    def create_upload(
        self, upload_id: str, upload_length: int | None, metadata: dict[str, str], expires_at: datetime | None = None,
        is_partial: bool = False,
    ) -> None:  # fmt: skip
        del expires_at, is_partial
        assert upload_length is not None  # a length said later is refused before (arrivals.speak)
        self.arrival = Arrival(
            id=UUID(upload_id), upload=self.upload, actor=self.actor, name=self.name, mark=metadata.get("mark", "")[:80], size=upload_length
        )
        self.digest = hashlib.sha256()

    def get_upload(self, upload_id: str) -> dict[str, Any] | None:
        kept = self.arrival
        if kept is None or str(kept.pk) != upload_id:
            return None
        return {
            "upload_length": kept.size, "offset": kept.offset, "completed": kept.file_id is not None, "metadata": {},
            "expires_at": None if kept.file_id else _moved(kept) + timedelta(days=settings.PARTIAL_DAYS),
        }  # fmt: skip

    def write_chunk(self, upload_id: str, offset: int, data: bytes) -> None:
        del upload_id
        kept = self._kept()
        if offset == 0:
            self.digest = hashlib.sha256()
        if data:
            partials.write(kept.pk, offset, data)
        if self.digest is not None:
            self.digest.update(data)

    def update_offset(self, upload_id: str, offset: int) -> None:
        del upload_id
        self._kept().offset = offset

    def update_offset_atomic(self, upload_id: str, expected_offset: int, new_offset: int) -> bool:
        del upload_id
        kept = self._kept()
        if kept.offset != expected_offset:
            return False
        kept.offset = new_offset
        return True

    def complete_upload(self, upload_id: str) -> bool:
        """The last byte is here: its hash, without reading the file again where it came at once."""
        del upload_id
        kept = self._kept()
        if not kept.size:
            partials.write(kept.pk, 0, b"")
        kept.sha256 = self.digest.hexdigest() if self.digest is not None else partials.sha256_of(kept.pk)
        return True

    def delete_upload(self, upload_id: str) -> None:
        del upload_id
        kept = self._kept()
        partials.drop(kept.pk)
        kept.delete()
        self.arrival = None

    def write_row(self) -> None:
        """Inside the transaction that holds the row, or makes it."""
        kept = self._kept()
        if kept._state.adding:
            insert_row(kept)
        else:
            Arrival.objects.filter(pk=kept.pk).update(offset=kept.offset, sha256=kept.sha256, moved=Now())

    def _kept(self) -> Arrival:
        if self.arrival is None:
            raise RuntimeError("no arrival is held")
        return self.arrival

    def read_file(self, upload_id: str) -> bytes:
        raise NotImplementedError("files are never given back")

    def get_expired_uploads(self) -> list[str]:
        return []

    def cleanup_expired_uploads(self) -> int:
        return 0


class RowLock(LockBackend):  # type: ignore[misc]
    """The row is the lock, until the end of the caller's transaction: a crash frees it, and any number of web processes respect it."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf

    def acquire(self, key: str, ttl_seconds: float, wait_timeout: float = 0.0) -> str | None:
        del ttl_seconds, wait_timeout
        if not connection.in_atomic_block:
            raise RuntimeError("a row is locked within a transaction")
        found = Arrival.objects.select_for_update(skip_locked=True).filter(pk=key).first()
        if found is not None:
            self.shelf.arrival = as_on_disk(found)
        return "row" if found else None

    def release(self, key: str, token: str) -> None:
        """With the transaction."""


def _moved(arrival: Arrival) -> datetime:
    """When its bytes last came; now, for one that has no row yet."""
    return timezone.now() if arrival._state.adding else arrival.moved


def as_on_disk(arrival: Arrival) -> Arrival:
    """A power cut may take bytes that were counted: what the disk has lost is asked for again."""
    if arrival.file_id is None and not arrival.sha256:
        arrival.offset = min(arrival.offset, partials.size_of(arrival.pk))
    return arrival


def core(shelf: Shelf, base: str) -> TusServerCore:
    """The protocol: creation (with the first bytes), termination, checksum, expiration."""
    made = TusServerCore(
        storage=shelf, base_path=base, upload_expiry=settings.PARTIAL_DAYS * 86_400,
        max_size=max(settings.MAX_FILE_BYTES, settings.MAX_ARCHIVE_BYTES),
        lock_backend=RowLock(shelf), checksum_algorithms=("sha1", "sha256"), disable_concatenation=True,
    )  # fmt: skip
    made.SUPPORTED_EXTENSIONS.remove("creation-defer-length")
    return made
