"""Files that came in part: in the originals store's `.partial`, under a random name; what is counted is on the disk."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from uuid import UUID

from django.conf import settings

from portal.images import kept, storage

FOLDER = ".partial"


def path_of(arrival: UUID) -> Path:
    return Path(settings.ORIGINALS_DIR) / FOLDER / arrival.hex


def size_of(arrival: UUID) -> int:
    """Bytes on the disk; a power cut may have taken some that were counted."""
    try:
        return path_of(arrival).stat().st_size
    except FileNotFoundError:
        return 0


def write(arrival: UUID, offset: int, piece: bytes) -> None:
    """Write at `offset` and wait for the disk. On any error the file is cut back to `offset`: no torn piece, and its room is free again."""
    path = path_of(arrival)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(path, "r+b" if offset else "wb", buffering=0) as file:
            try:
                _write_all(file.fileno(), piece, offset)
                os.fsync(file.fileno())
            except OSError:
                file.truncate(offset)
                raise
    except OSError:
        if not offset:
            path.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, piece: bytes, offset: int) -> None:
    """A full disk takes the beginning of a piece, and says so only at the next write."""
    left = memoryview(piece)
    while left:
        written = os.pwrite(descriptor, left, offset)
        left, offset = left[written:], offset + written


def drop(arrival: UUID) -> None:
    path_of(arrival).unlink(missing_ok=True)


def sha256_of(arrival: UUID) -> str:
    with open(path_of(arrival), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def complete(arrival: UUID, *, upload_id: int, site_id: int, sha256: str, size: int) -> storage.Spooled:
    """The whole file, ready for its place. Where an earlier attempt has moved it there, it is found there.

    Raises FileNotFoundError where the disk has lost it.
    """
    path = path_of(arrival)
    places = (path, storage.archive_path(upload_id, sha256), kept.local(storage.original_path(site_id, sha256)))
    found = next((place for place in places if place.exists()), path)
    with open(found, "rb") as file:
        return storage.Spooled(path, sha256, size, file.read(512))


def old_ones(days: float) -> list[UUID]:
    """Files that nobody has written to for so long."""
    before = time.time() - days * 86_400
    folder = Path(settings.ORIGINALS_DIR) / FOLDER
    return [UUID(path.name) for path in folder.glob("?" * 32) if path.stat().st_mtime < before]
