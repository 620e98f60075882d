"""Make a snapshot folder outside the portal: from the development data and drawn examples, for training from the shell."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from inference.types import Box, Kind
from training import files, synthetic
from training.manifest import COLUMNS, DRAWN, SALT, Record, assign_split, count_patients
from training.types import ExampleImage


def write(folder: Path, records: Sequence[Record], *, name: str, salt: str = SALT) -> str:
    """Write records as a snapshot folder; snapshot.json comes last. Returns the hash of its manifest.

    Pictures are hard-linked where the file system allows it, else copied.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    placed = [replace(record, path=_place(folder, record)) for record in records]
    manifest = folder / "manifest.csv"
    with manifest.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(COLUMNS)
        writer.writerows(_row(folder, record) for record in placed)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    about = {
        "name": name, "created": datetime.now(UTC).isoformat(timespec="seconds"), "hash": digest, "images": len(placed),
        "patients": count_patients(placed), "salt_id": hashlib.sha256(salt.encode()).hexdigest()[:12],
    }  # fmt: skip
    files.write_text(folder / "snapshot.json", json.dumps(about, indent=1))
    return digest


def _place(folder: Path, record: Record) -> Path:
    target = folder / "images" / f"{record.sha256}{record.path.suffix.lower()}"
    if not target.exists():
        try:
            os.link(record.path, target)
        except OSError:
            files.place(target, partial(shutil.copyfile, record.path))
    return target


def _row(folder: Path, record: Record) -> list[object]:
    box = ("", "", "", "") if record.box is None else (record.box.x0, record.box.y0, record.box.x1, record.box.y1)
    return [
        record.path.relative_to(folder).as_posix(), record.sha256, record.kind.value, record.provenance, record.patient, record.exam,
        record.site, record.device, record.split, *box,
    ]  # fmt: skip


def from_examples(examples: Sequence[ExampleImage], *, split: str = "", salt: str = SALT) -> list[Record]:
    """Records of drawn examples; patients are split by hash, or all go to `split`."""
    return [_example(example, split or assign_split(f"{example.site}/{example.patient}", salt)) for example in examples]


def _example(example: ExampleImage, split: str) -> Record:
    path = Path(example.path)
    return Record(
        path=path, sha256=hashlib.sha256(path.read_bytes()).hexdigest(), kind=Kind(example.kind), provenance=DRAWN,
        patient=example.patient, exam=example.exam, site=example.site, device=example.device, split=split,
        box=None if example.box is None else Box(*example.box),
    )  # fmt: skip


def draw_scenes(folder: Path, count: int, *, seed: int) -> list[Record]:
    """Draw `count` single pictures of varied style, each a patient of its own, for the train split alone."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number, (pixels, box, kind, _) in enumerate(synthetic.draw_training_scenes(np.random.default_rng(seed), count)):
        path = folder / f"scene-{seed}-{number:05d}.jpg"
        Image.fromarray(pixels).save(path, quality=92)
        example = ExampleImage(str(path), "drawn", f"D{seed}-{number}", f"D{seed}-{number}", "drawn", kind, 0.0, box)
        records.append(_example(example, "train"))
    return records
