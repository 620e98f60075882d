"""A walk over the stores beside their rows, in an order that can be taken up again anywhere: what is rotten, missing, or nobody's."""

from __future__ import annotations

import hashlib
import io
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from PIL import Image as Picture

from portal.images import kept, objects
from portal.images.kept import INCOMING
from portal.images.models import Image, ImageState

HOUR = 3600.0
STORES = ("originals", "clean", "thumbs")
_LARGEST_THUMB = 4_000_000


class Sort(StrEnum):
    ROTTEN = "rotten"
    MISSING = "missing"
    ORPHAN = "orphan"
    LEFTOVER = "leftover"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Up to where a walk is done; the default is before everything."""

    store: int = 0
    site: int = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`images`: the rows that name the blob; none for what is nobody's."""

    sort: Sort
    store: str
    site: int
    name: str
    images: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One blob, or one row without it, that was looked at."""

    place: Place
    size: int = 0
    finding: Finding | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """since: blobs that are older (seconds since 1970) are not read; share: so many of the others are. Missing and orphan ones are found
    in any case."""

    since: float = 0.0
    share: float = 1.0


def folder(store: str, site: int) -> Path:
    root = Path(settings.ORIGINALS_DIR if store == "originals" else settings.CLEAN_DIR) / str(site)
    return root / "thumbs" if store == "thumbs" else root


def walk(sites: list[int], after: Place, wanted: Wanted) -> Iterator[Step]:
    """Every blob and every row of these sites from `after` on, in order. A thumbnail is rotten where it does not open: nobody keeps its
    hash."""
    for number, store in enumerate(STORES):
        for site in sorted(sites):
            if (number, site) >= (after.store, after.site):
                begin = after.name if (number, site) == (after.store, after.site) else ""
                yield from _walk_one(number, store, site, begin, wanted)


def _walk_one(number: int, store: str, site: int, begin: str, wanted: Wanted) -> Iterator[Step]:
    names = iter([file.name for file in kept.held(folder(store, site), begin)])
    rows = _grouped(store, site, begin)
    name, row = next(names, None), next(rows, None)
    while name is not None or row is not None:
        here = min(value for value in (name, row and row[0]) if value)
        images = row[1] if row is not None and row[0] == here else ()
        size, sort = _look(store, site, here, images, wanted)
        found = Finding(sort, store, site, here, images) if sort else None
        yield Step(Place(number, site, here), size, found)
        name = next(names, None) if name == here else name
        row = next(rows, None) if images else row


def _grouped(store: str, site: int, begin: str) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and images of each blob that rows name, in the order of the names."""
    group: list[int] = []
    last = ""
    for name, image in _named(store, site, begin):
        if name != last and group:
            yield last, tuple(group)
            group = []
        last = name
        group.append(image)
    if group:
        yield last, tuple(group)


def _named(store: str, site: int, begin: str) -> Iterator[tuple[str, int]]:
    rows = Image.objects.filter(site=site).exclude(state=ImageState.ERASED)
    if store == "originals":
        yield from rows.filter(sha256__gt=begin).order_by("sha256").values_list("sha256", "pk").iterator()
        return
    clean = rows.exclude(clean_sha256="").filter(clean_sha256__gte=begin[:64]).order_by("clean_sha256", "clean_format", "pk")
    for sha256, extension, image in clean.values_list("clean_sha256", "clean_format", "pk").iterator():
        name = f"{sha256}.{extension if store == 'clean' else 'jpg'}"
        if name > begin:
            yield name, image


def _look(store: str, site: int, name: str, images: tuple[int, ...], wanted: Wanted) -> tuple[int, Sort | None]:
    path = folder(store, site) / name
    found = kept.find(path)
    if found is None:
        # erased since the rows were read: not missing
        gone = images and Image.objects.filter(pk__in=images).exclude(state=ImageState.ERASED).exists()
        return 0, Sort.MISSING if gone else None
    if not images:
        return found.size, Sort.ORPHAN if time.time() - found.time > HOUR else None
    if found.time < wanted.since or (wanted.share < 1 and random.random() >= wanted.share):
        return 0, None
    return found.size, None if is_sound(store, path) else Sort.ROTTEN


def is_sound(store: str, path: Path) -> bool:
    """Whether the bytes are what their name says; of a thumbnail, whether it opens. Raises objects.Unreachable."""
    try:
        with kept.reading(path) as file:
            return _opens(file.read(_LARGEST_THUMB + 1)) if store == "thumbs" else _sha256(file) == path.name[:64]
    except objects.Unreachable:
        raise
    except OSError:
        return False


def _sha256(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _opens(data: bytes) -> bool:
    try:
        if len(data) > _LARGEST_THUMB:
            return False
        with Picture.open(io.BytesIO(data), formats=("JPEG",)) as picture:
            if picture.width * picture.height > 1 << 22:
                return False
            picture.load()
    except (OSError, ValueError, SyntaxError):
        return False
    return True


def leftovers() -> Iterator[Finding]:
    """Temporary files older than an hour, and names in a store that no blob has."""
    for store, root in (("originals", settings.ORIGINALS_DIR), ("clean", settings.CLEAN_DIR)):
        for path in sorted((Path(root) / INCOMING).glob("*")):
            if path.is_file() and time.time() - path.stat().st_mtime > HOUR:
                yield Finding(Sort.LEFTOVER, store, 0, path.name)
