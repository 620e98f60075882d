"""Blobs from the folders to the object store, or back, before the setting is changed: copied, then read back and compared.

Safe to repeat: what is there already is not sent again, and is compared all the same. Nothing is removed from where it came.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from portal.accounts.models import Site
from portal.images import kept, objects
from portal.images.walk import STORES, folder

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Moved:
    """One blob. `trouble` says what is wrong with it where something is; then it is not to be relied on where it went."""

    store: str
    site: int
    name: str
    size: int
    copied: bool
    trouble: str = ""


def move(to: str) -> Iterator[Moved]:
    """Every blob of every site, in order; `to` is s3 or files. Raises objects.Unreachable where the object store does not answer."""
    for store in STORES:
        for site in Site.objects.order_by("pk").values_list("pk", flat=True):
            place = folder(store, site)
            for name in _names(place, to):
                yield _to_s3(store, site, place / name) if to == "s3" else _to_files(store, site, place / name)


def _names(place: Path, to: str) -> list[str]:
    if to == "s3":
        return sorted(path.name for path in place.iterdir() if path.is_file() and not path.is_symlink()) if place.is_dir() else []
    store, key = kept.place_of(place)
    return [one.key.rpartition("/")[2] for one in objects.held(store, f"{key}/")]


def _to_s3(store: str, site: int, path: Path) -> Moved:
    size = path.stat().st_size
    with open(path, "rb") as file:
        digest = _digest(file)
    if trouble := _misnamed(store, path.name, digest):
        return Moved(store, site, path.name, size, copied=False, trouble=trouble)
    bucket, key = kept.place_of(path)
    there = _digest_there(bucket, key)
    if there == digest:
        return Moved(store, site, path.name, size, copied=False)
    objects.put(bucket, key, path, again=True)
    same = _digest_there(bucket, key) == digest
    return Moved(store, site, path.name, size, copied=True, trouble="" if same else "the object store gave other bytes back")


def _to_files(store: str, site: int, path: Path) -> Moved:
    bucket, key = kept.place_of(path)
    there = _digest_there(bucket, key)
    if trouble := _misnamed(store, path.name, there):
        return Moved(store, site, path.name, 0, copied=False, trouble=trouble)
    if path.is_file():
        with open(path, "rb") as file:
            if _digest(file) == there:
                return Moved(store, site, path.name, path.stat().st_size, copied=False)
    fetched = kept.temporary(kept.root_of(bucket))
    objects.fetch(bucket, key, fetched)
    with open(fetched, "rb") as file:
        digest = _digest(file)
    if digest != there:
        fetched.unlink()
        return Moved(store, site, path.name, 0, copied=False, trouble="the object store gave other bytes the second time")
    _settle(fetched, path)
    return Moved(store, site, path.name, path.stat().st_size, copied=True)


def _settle(fetched: Path, path: Path) -> None:
    with open(fetched, "rb") as file:
        os.fsync(file.fileno())
    path.parent.mkdir(parents=True, exist_ok=True)
    os.replace(fetched, path)


def _misnamed(store: str, name: str, digest: str) -> str:
    """An original or clean picture is named by its hash; a thumbnail by its picture's."""
    return "" if store == "thumbs" or digest == name[:64] else "its bytes are not what its name says"


def _digest(file: BinaryIO) -> str:
    found = hashlib.sha256()
    while chunk := file.read(_CHUNK):
        found.update(chunk)
    return found.hexdigest()


def _digest_there(bucket: str, key: str) -> str:
    """Of the object as it is read back; empty where there is none."""
    body = objects.read(bucket, key)
    if body is None:
        return ""
    found = hashlib.sha256()
    with closing(body):
        while chunk := objects.chunk_of(body):
            found.update(chunk)
    return found.hexdigest()
