"""Writes a snapshot's folder (docs/CONTRACTS.md). It appears under its name all at once, with snapshot.json written last."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from django.conf import settings

from portal.core.faults import fault
from portal.datasets.models import Snapshot
from portal.datasets.rows import Row, count_patients, digest, manifest
from portal.datasets.splits import salt_id
from portal.images import kept, storage

_BEAT = 200
"""Pictures between two signs of life."""


class FolderFailed(Exception):
    """The folder cannot be written; the message says why and what to do."""


def write_folder(snapshot: Snapshot, rows: Sequence[Row], *, alive: Callable[[float], None]) -> Path:
    """Write, or go on writing, the folder and return it. `alive(fraction)` is called as work goes on and raises to stop it.

    A killed attempt leaves a hidden folder whose complete pictures the next one keeps.
    """
    final = Path(settings.SNAPSHOTS_DIR) / f"{snapshot.pk}-{snapshot.hash[:16]}"
    lines = manifest(rows)
    if digest(lines) != snapshot.hash:
        raise FolderFailed("A patient, exam or device of these images was changed since the choice was frozen. Create the snapshot again.")
    if final.is_dir():
        return final
    work = final.with_name(f".writing-{final.name}")
    (work / "images").mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        if number % _BEAT == 0:
            alive(number / len(rows))
        _place(row, work / row.path)
        fault("snapshot_picture")
    _write(work / "manifest.csv", lines)
    _write(work / "snapshot.json", _about(snapshot, rows))
    fault("snapshot_before_rename")
    _rename(work, final)
    return final


def _place(row: Row, target: Path) -> None:
    """Hard-link the clean picture; copy where the stores are on different file systems, under a passing name until it is complete."""
    if target.exists():
        return
    source = kept.local(storage.clean_path(row.site_id, row.sha256, row.format))
    try:
        os.link(source, target)
    except FileNotFoundError as error:
        raise FolderFailed(f"The clean picture of image {row.image_id} is not in the store. Restore it, then try again.") from error
    except FileExistsError:
        return
    except OSError:
        passing = target.with_name(f".{target.name}.{os.getpid()}")
        shutil.copyfile(source, passing)
        passing.rename(target)


def _about(snapshot: Snapshot, rows: Sequence[Row]) -> bytes:
    about = {
        "name": snapshot.name, "created": snapshot.created.isoformat(timespec="seconds"), "hash": snapshot.hash,
        "images": len(rows), "patients": count_patients(rows), "salt_id": salt_id(),
    }  # fmt: skip
    return json.dumps(about, indent=1).encode()


def _write(path: Path, data: bytes) -> None:
    passing = path.with_name(f".{path.name}.{os.getpid()}")
    with passing.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    passing.rename(path)


def _rename(work: Path, final: Path) -> None:
    try:
        work.rename(final)
    except OSError as error:
        # A late attempt of the same snapshot was first: the content is the same by its hash
        if not (final / "snapshot.json").is_file():
            raise FolderFailed(f"The folder could not be moved to its place: {error.strerror}.") from error
