"""What leaves the disk: blobs, and the pictures and lines of frozen data sets. Each step may be done again after a death."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.conf import settings

from portal.datasets.models import Snapshot
from portal.images import kept, storage
from portal.images.mending import LOST
from portal.images.models import Image

Blob = tuple[int, str, str, str]
"""Image, sha256 of the original, of the clean picture, its extension."""
_ERASED = ("image", "erasure", "kind", "provenance", "site", "split")


def unlink(site_id: int, blobs: Sequence[Blob]) -> None:
    """Originals, clean pictures and thumbnails, wherever they lie; but not the bytes that another living image of the site has too."""
    for _, sha256, clean, extension in blobs:
        paths = [storage.original_path(site_id, sha256), Path(settings.ORIGINALS_DIR) / LOST / str(site_id) / sha256]
        if clean and not Image.objects.filter(site=site_id, clean_sha256=clean).exists():
            lost = Path(settings.CLEAN_DIR) / LOST / str(site_id)
            paths += [storage.clean_path(site_id, clean, extension), storage.thumb_path(site_id, clean)]
            paths += [lost / f"{clean}.{extension}", lost / f"thumb-{clean}.jpg"]
        for path in paths:
            kept.remove(path)


def reduce(snapshot: Snapshot, blobs: Sequence[Blob], *, erasure: int) -> None:
    """Take the pictures and their lines out of a snapshot's folder; `erased.csv` says which, without a word of the person.

    The manifest's hash changes with it: snapshot.json holds the new one, and the one that was frozen as `frozen_hash`.
    """
    final = Path(settings.SNAPSHOTS_DIR) / f"{snapshot.pk}-{snapshot.hash[:16]}"
    folder = Path(snapshot.folder) if snapshot.folder else final
    for place in (folder, final.with_name(f".writing-{final.name}")):
        for _, _, clean, extension in blobs:
            if clean:
                (place / "images" / f"{clean}.{extension}").unlink(missing_ok=True)
    if (folder / "manifest.csv").is_file() and (folder / "snapshot.json").is_file():
        _rewrite(folder, {clean: image for image, _, clean, _ in blobs if clean}, erasure)


def _rewrite(folder: Path, erased: dict[str, int], erasure: int) -> None:
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        columns = list(reader.fieldnames or ())
        rows = list(reader)
    gone = [row for row in rows if row["sha256"] in erased]
    kept = [row for row in rows if row["sha256"] not in erased]
    # first what says that they are gone: after a death in between the lines are still there to tell it again
    known = _known(folder)
    known |= {str(erased[r["sha256"]]): _told(r, erased[r["sha256"]], erasure) for r in gone}
    _write(folder / "erased.csv", _csv(_ERASED, list(known.values())))
    manifest = _csv(columns, kept)
    _write(folder / "manifest.csv", manifest)
    about = json.loads((folder / "snapshot.json").read_text(encoding="utf-8"))
    about |= {
        "frozen_hash": about.get("frozen_hash", about.get("hash")), "hash": hashlib.sha256(manifest).hexdigest(), "images": len(kept),
        "patients": len({(row["site"], row["patient"]) for row in kept}), "erased": len(known),
    }  # fmt: skip
    _write(folder / "snapshot.json", json.dumps(about, indent=1).encode())


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    path = folder / "erased.csv"
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8", newline="") as lines:
        return {row["image"]: dict(row) for row in csv.DictReader(lines)}


def _told(row: dict[str, str], image: int, erasure: int) -> dict[str, Any]:
    return {"image": image, "erasure": erasure, **{name: row[name] for name in ("kind", "provenance", "site", "split")}}


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _write(path: Path, data: bytes) -> None:
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    with passing.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    passing.rename(path)
