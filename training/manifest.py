"""What there is to train on: the portal's snapshot folder (docs/CONTRACTS.md) or the manifest of the development data."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from inference.types import Box, Kind
from training.types import TrainingRefused

SPLITS = ("train", "validation", "calibration", "test")
SHARES = (0.70, 0.10, 0.10, 0.10)
SALT = "winnow-1"
AUTOMATIC = "automatic"
"""Provenance of labels that no person gave: they may train, but no figure is reported on them."""
DRAWN = "example_truth"
"""Provenance of labels of drawn pictures, whose truth is known."""

CHOSEN = "chosen"
"""Of an image that was read because a model was unsure of it, or a person asked: harder than the rest, so it may teach but not measure."""

COLUMNS = ("path", "sha256", "kind", "provenance", "patient", "exam", "site", "device", "split", "box_x0", "box_y0", "box_x1", "box_y1")
KIND_NAMES = {
    "white_light": Kind.REGULAR, "acetic_acid": Kind.REGULAR, "green_filter": Kind.GREEN_FILTER,
    "lugol": Kind.LUGOL_IODINE, "non_cervix": Kind.NOT_CERVIX,
}  # fmt: skip
"""The development data's words for kinds (METHODS 1)."""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set. `box` in pixels of the upright file, None where unknown. `split` one of SPLITS."""

    path: Path
    sha256: str
    kind: Kind
    provenance: str
    patient: str
    exam: str
    site: str
    device: str
    split: str
    box: Box | None
    read_for: str = ""
    """How it came to be read: `whatever` a model said of it, CHOSEN, or by `nobody`; empty where that is not known."""

    @property
    def patient_key(self) -> tuple[str, str]:
        """Pseudonyms may repeat between sites; a patient is a site and a pseudonym."""
        return (self.site, self.patient)

    @property
    def by_people(self) -> bool:
        """Whether a person gave the label."""
        return self.provenance != AUTOMATIC

    @property
    def measurable(self) -> bool:
        """Whether a figure may be reported on this label, and a model calibrated by it (METHODS 6)."""
        return self.by_people and self.read_for != CHOSEN


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen data set. `hash` is the sha256 of its manifest.csv."""

    folder: Path
    name: str
    hash: str
    records: tuple[Record, ...]

    def split(self, name: str) -> list[Record]:
        return [record for record in self.records if record.split == name]


def assign_split(patient: str, salt: str = SALT) -> str:
    """The split of a patient, for ever the same: 70/10/10/10 by a salted hash."""
    point = int.from_bytes(hashlib.sha256(f"{salt}:{patient}".encode()).digest()[:8], "big") / 2.0**64
    for split, share in zip(SPLITS, SHARES, strict=True):
        point -= share
        if point < 0:
            return split
    return SPLITS[-1]


def read_snapshot(folder: Path) -> Snapshot:
    """Read a snapshot folder; raises TrainingRefused when it is unfinished, altered or names what is not there."""
    mark = folder / "snapshot.json"
    if not mark.is_file():
        raise TrainingRefused(f"{folder.name} is not a snapshot: snapshot.json is missing, so it was never finished. Create it again.")
    about = json.loads(mark.read_text(encoding="utf-8"))
    manifest = folder / "manifest.csv"
    if not manifest.is_file():
        raise TrainingRefused(f"{folder.name} has no manifest.csv. Create the snapshot again.")
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    if digest != about.get("hash"):
        raise TrainingRefused(f"manifest.csv of {folder.name} was changed after it was frozen. Create the snapshot again.")
    with manifest.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise TrainingRefused(f"manifest.csv of {folder.name} lacks the columns {', '.join(missing)}.")
        records = tuple(_record(folder, row, number) for number, row in enumerate(reader, start=2))
    return Snapshot(folder=folder, name=str(about.get("name", folder.name)), hash=digest, records=records)


def _record(folder: Path, row: dict[str, str], line: int) -> Record:
    if row["split"] not in SPLITS:
        raise TrainingRefused(f"manifest.csv line {line}: split {row['split']!r} is none of {', '.join(SPLITS)}.")
    if row["kind"] not in tuple(Kind):
        raise TrainingRefused(f"manifest.csv line {line}: kind {row['kind']!r} is not known.")
    path = folder / row["path"]
    if not path.is_file():
        raise TrainingRefused(f"manifest.csv line {line}: {row['path']} is not in the snapshot.")
    return Record(
        path=path, sha256=row["sha256"], kind=Kind(row["kind"]), provenance=row["provenance"], patient=row["patient"],
        exam=row["exam"], site=row["site"], device=row["device"], split=row["split"],
        box=parse_box([row[f"box_{corner}"] for corner in ("x0", "y0", "x1", "y1")]), read_for=row.get("read_for") or "",
    )  # fmt: skip


def parse_box(corners: list[str]) -> Box | None:
    """Four numbers, or None where any is empty or the rectangle has no area."""
    if not all(corner.strip() for corner in corners):
        return None
    x0, y0, x1, y1 = (float(corner) for corner in corners)
    return Box(x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def read_development_data(manifest: Path, *, hold_out: str = "", salt: str = SALT) -> list[Record]:
    """The records of the development data's own manifest.

    Labels by a colour rule become `automatic`; where people noted a doubt ('... check') the label is `automatic` too, so that it is
    never measured on. With `hold_out` that site is the test split and none of its patients is in any other.
    """
    with manifest.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    held = {row["patient"] for row in rows if row["site"] == hold_out}
    kept = [row for row in rows if row["patient"] not in held or row["site"] == hold_out]
    # The same file stands under two patients in places: one of them stays, or it would be on both sides of the split
    once = {row["sha256"]: row for row in reversed(kept)}
    return [_development_record(manifest.parent, row, hold_out, held, salt) for row in kept if once[row["sha256"]] is row]


def _development_record(folder: Path, row: dict[str, str], hold_out: str, held: set[str], salt: str) -> Record:
    split = assign_split(row["patient"], salt)
    if hold_out:
        split = "test" if row["patient"] in held else "train" if split == "test" else split
    sure = not row["label_source"].startswith("auto")
    return Record(
        path=folder / row["path"], sha256=row["sha256"], kind=KIND_NAMES[row["modality"]],
        provenance="human" if sure else AUTOMATIC, patient=row["patient"], exam=row["patient"], site=row["site"], device=row["site"],
        split=split, box=parse_box([row[f"bbox_{corner}"] for corner in ("x0", "y0", "x1", "y1")]),
    )  # fmt: skip


def count_patients(records: Iterable[Record]) -> int:
    return len({record.patient_key for record in records})


def counts(records: Iterable[Record], *by: str) -> list[dict[str, str | int]]:
    """Images and patients of every combination of the fields `by` that there is, in order."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(tuple(str(getattr(record, name)) for name in by), []).append(record)
    return [
        {**dict(zip(by, key, strict=True)), "images": len(some), "patients": count_patients(some)} for key, some in sorted(groups.items())
    ]
