"""Files of the two stores, wherever they are kept: on this disk, or in an object store of which the local folders are a cache.

A path of `storage` names a file; these functions do with it what `pathlib` would, in the store itself.
"""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from django.conf import settings

from portal.images import objects

INCOMING = ".incoming"


def temporary(root: str | Path) -> Path:
    """A new name in the store's `.incoming`: the same file system, so that the rename is one step."""
    folder = Path(root) / INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    return folder / uuid.uuid4().hex


@dataclass(frozen=True, slots=True, order=True)
class Held:
    """A file of a store. Size -1 and time 0 where they were not asked for."""

    name: str
    size: int
    time: float


def local(path: Path) -> Path:
    """The file of a store, here: fetched from the object store where it is not, and marked as used just now.

    Where there is none the path leads nowhere, as a path does. Raises objects.Unreachable, and Damaged where the bytes are not those that
    the name says.
    """
    if not objects.in_use():
        return path
    try:
        os.utime(path)
        return path
    except FileNotFoundError:
        pass
    store, key = place_of(path)
    fetched = temporary(root_of(store))
    if objects.fetch(store, key, fetched):
        if path.parent.name != "thumbs" and not _is(fetched, path.name[:64]):
            fetched.unlink()
            raise Damaged(path.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.replace(fetched, path)
    return path


class Damaged(OSError):
    """The object store gave other bytes than were put there."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is damaged in the store")
        self.strerror = f"{name} is damaged in the store"


def remove(path: Path) -> None:
    """Take a file out of its store for good. Safe to repeat."""
    if objects.in_use():
        objects.remove(*place_of(path))
    path.unlink(missing_ok=True)


def replace(made: Path, path: Path) -> None:
    """Put a fsynced file in the place of one that is damaged or gone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(made, path)
    put(path, again=True)


def put_aside(path: Path, aside: Path) -> None:
    """Rename within a store."""
    aside.parent.mkdir(parents=True, exist_ok=True)
    if objects.in_use():
        store, key = place_of(path)
        objects.rename(store, key, place_of(aside)[1])
        path.unlink(missing_ok=True)
    else:
        os.rename(path, aside)


@contextmanager
def reading(path: Path) -> Iterator[BinaryIO]:
    """The bytes as the store has them, past any cache. Raises FileNotFoundError."""
    if not objects.in_use():
        with open(path, "rb") as file:
            yield file
        return
    body = objects.read(*place_of(path))
    if body is None:
        raise FileNotFoundError(path)
    with closing(body):
        yield body


def held(folder: Path, after: str = "") -> list[Held]:
    """The files of a store's folder by name, from behind `after` on."""
    if objects.in_use():
        store, key = place_of(folder)
        return [Held(one.key.rpartition("/")[2], one.size, one.time) for one in objects.held(store, f"{key}/", after)]
    try:
        entries = [entry for entry in os.scandir(folder) if entry.name > after and entry.is_file(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(Held(entry.name, -1, 0.0) for entry in entries)


def find(path: Path) -> Held | None:
    """Size and age of a file as the store has it; None where there is none."""
    if objects.in_use():
        found = objects.find(*place_of(path))
        return Held(path.name, found.size, found.time) if found else None
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return Held(path.name, status.st_size, status.st_mtime)


def shrink(*, unused_for: float = 3600) -> int:
    """Of an object store: make the cache smaller than its setting, what was used longest ago first; nothing that was used within the
    hour, as somebody may be about to open it. Returns how many files went."""
    if not objects.in_use():
        return 0
    files = [(path, path.stat()) for root in _roots() for path in Path(root).glob("*/**/*") if path.is_file() and _may_go(path, Path(root))]
    left, gone = sum(status.st_size for _, status in files), 0
    for path, status in sorted(files, key=lambda one: one[1].st_mtime):
        if left <= settings.CACHE_BYTES or time.time() - status.st_mtime < unused_for:
            break
        path.unlink(missing_ok=True)
        left, gone = left - status.st_size, gone + 1
    return gone


def _may_go(path: Path, root: Path) -> bool:
    """What lies in a site's folder; all that begins with a dot is on its way."""
    return path.relative_to(root).parts[0].isdecimal()


def _roots() -> tuple[str, str]:
    return (str(settings.ORIGINALS_DIR), str(settings.CLEAN_DIR))


def root_of(store: str) -> str:
    """The folder of a store on this disk."""
    return _roots()[store == "clean"]


def place_of(path: Path) -> tuple[str, str]:
    """Store and key of a path."""
    for store, root in zip(("originals", "clean"), _roots(), strict=True):
        if path.is_relative_to(root):
            return store, path.relative_to(root).as_posix()
    raise ValueError("a path of neither store")


def put(path: Path, *, again: bool = False) -> None:
    """Send a complete local file to the object store; nothing to do for files."""
    if objects.in_use():
        objects.put(*place_of(path), path, again=again)


def _is(path: Path, sha256: str) -> bool:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == sha256
