"""The two stores: originals (for the site alone) and clean pictures. Content addressed; no path is ever made from user text.

With `settings.STORE` "s3" what is kept lies in an object store (objects.py), and these folders are a cache of it; a sender's bytes lie
on the local disk until they are whole. A path is a name then: `kept.local` brings its file here.

A file is written beside its final place, hashed on the way, fsynced and renamed: a name in a store is always a complete file.
A crash leaves at most a temporary file in `.incoming`, or a blob without a row, which `selectors.orphan_blobs` finds.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from django.conf import settings

from portal.images import kept
from portal.images.kept import INCOMING, temporary
from portal.images.whole import write_all

_SHA256 = re.compile(r"[0-9a-f]{64}")
_EXTENSIONS = ("jpg", "png")
_CHUNK = 1 << 20
ARCHIVES = ".archives"


class Readable(Protocol):
    """What bytes come from: a file, a request, an uploaded file."""

    def read(self, size: int, /) -> bytes: ...


class TooBig(Exception):
    """More bytes came than a file may have: `limit`."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.limit = limit


@dataclass(frozen=True, slots=True)
class Spooled:
    """A complete file in `.incoming`: fsynced, hashed, not yet at its place."""

    path: Path
    sha256: str
    size: int
    head: bytes


def spool(source: Readable, *, limit: Callable[[bytes], int]) -> Spooled:
    """Stream `source` into the originals store's `.incoming`, hashing on the way.

    `limit` says how many bytes a file that begins so may have; beyond it TooBig is raised. Leaves no file behind on any error.
    """
    path = temporary(settings.ORIGINALS_DIR)
    digest, size, head = hashlib.sha256(), 0, b""
    try:
        with open(path, "xb", buffering=0) as out:
            while chunk := source.read(_CHUNK):
                size += len(chunk)
                head += chunk[: 512 - len(head)]
                if size > limit(head):
                    raise TooBig(limit(head))
                digest.update(chunk)
                write_all(out.fileno(), chunk)
            os.fsync(out.fileno())
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return Spooled(path, digest.hexdigest(), size, head)


def keep_original(site_id: int, spooled: Spooled) -> Path:
    """Move a spooled file to its place; a blob that is already there is the same bytes."""
    final = original_path(site_id, spooled.sha256)
    _move(spooled.path, final)
    _sync(final.parent)
    kept.put(final)
    return final


def keep_archive(upload_id: int, spooled: Spooled) -> Path:
    """Move a spooled archive to where it waits for its unpacking. It is kept for its upload alone, which removes it."""
    final = archive_path(upload_id, spooled.sha256)
    _move(spooled.path, final)
    _sync(final.parent)
    return final


def keep_clean(made: Iterable[tuple[int, Path, Path, str]]) -> list[str]:
    """Move what the sanitiser made (in the clean store's `.incoming`) to its place: (site id, picture, thumbnail, extension) of each.

    Returns the pictures' sha256. All of it is on the disk then, but for thumbnails, which can be made again.
    """
    hashes, folders = [], set()
    for site_id, picture, thumb, extension in made:
        with open(picture, "rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            os.fsync(file.fileno())
        final = clean_path(site_id, sha256, extension)
        _move(picture, final)
        _move(thumb, thumb_path(site_id, sha256))
        kept.put(final)
        kept.put(thumb_path(site_id, sha256))
        hashes.append(sha256)
        folders.add(final.parent)
    for folder in folders:
        _sync(folder)
    return hashes


def original_path(site_id: int, sha256: str) -> Path:
    return Path(settings.ORIGINALS_DIR) / str(int(site_id)) / _checked(sha256)


def archive_path(upload_id: int, sha256: str) -> Path:
    return Path(settings.ORIGINALS_DIR) / ARCHIVES / f"{int(upload_id)}-{_checked(sha256)}"


def clean_path(site_id: int, sha256: str, extension: str) -> Path:
    if extension not in _EXTENSIONS:
        raise ValueError(f"not a clean format: {extension!r}")
    return Path(settings.CLEAN_DIR) / str(int(site_id)) / f"{_checked(sha256)}.{extension}"


def thumb_path(site_id: int, clean_sha256: str) -> Path:
    return Path(settings.CLEAN_DIR) / str(int(site_id)) / "thumbs" / f"{_checked(clean_sha256)}.jpg"


def archives_on_disk(*, older_than: float = 86_400) -> Iterator[tuple[int, str, Path]]:
    """(upload id, sha256, path) of archives that have waited so many seconds."""
    for path in (Path(settings.ORIGINALS_DIR) / ARCHIVES).glob("*-*"):
        if time.time() - path.stat().st_mtime > older_than:
            upload_id, _, sha256 = path.name.partition("-")
            yield int(upload_id), sha256, path


def sweep_incoming(*, older_than: float = 86_400) -> int:
    """Remove temporary files that a crash left behind. Returns how many."""
    removed = 0
    for root in (settings.ORIGINALS_DIR, settings.CLEAN_DIR):
        for path in (Path(root) / INCOMING).glob("*"):
            if time.time() - path.stat().st_mtime > older_than:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def _checked(sha256: str) -> str:
    if not _SHA256.fullmatch(sha256):
        raise ValueError("not a sha256")
    return sha256


def _move(made: Path, final: Path) -> None:
    final.parent.mkdir(parents=True, exist_ok=True)
    if final.exists():
        made.unlink(missing_ok=True)
    else:
        os.rename(made, final)


def _sync(path: Path) -> None:
    """Without this the names in a folder may be lost in a power cut, and with them a row would stand without its blob."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
