"""One image of a data set as plain data, its line of manifest.csv, and the tables over many. Pure."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portal.core.text import counted
from portal.datasets.splits import SPLITS
from portal.ml import CLASSIFIED_KINDS, NON_REGULAR_KINDS
from portal.reviews.triage import CHOSEN

AUTOMATIC = "automatic"
COLUMNS = ("path", "sha256", "kind", "provenance", "patient", "exam", "site", "device", "split", "box_x0", "box_y0", "box_x1", "box_y1")
READ_FOR = "read_for"
"""The last column; not in the manifests of data sets that were frozen before it was written down."""


@dataclass(frozen=True, slots=True)
class Row:
    label_id: int
    image_id: int
    kind: str
    provenance: str
    box: tuple[float, ...] | None
    site_id: int
    site: str
    patient: str
    exam: str
    device: str
    sha256: str
    format: str
    split: str
    exam_id: int | None = None
    stated_kind: str = ""
    captured: datetime | None = None
    read_for: str = ""
    """How the image came to be read (`reviews.earning`); empty: not written down."""

    @property
    def path(self) -> str:
        return f"images/{self.sha256}.{self.format}"

    @property
    def measures(self) -> bool:
        """Whether figures are reported on it: a person gave the label, and it was not read because a model was unsure."""
        return self.provenance != AUTOMATIC and self.read_for != CHOSEN

    @property
    def patient_key(self) -> tuple[str, str]:
        return (self.site, self.patient)


def manifest(rows: Iterable[Row]) -> bytes:
    """manifest.csv (docs/CONTRACTS.md); the same rows in the same order give the same bytes."""
    lines = io.StringIO(newline="")
    writer = csv.writer(lines, lineterminator="\n")
    kept = list(rows)
    told = any(r.read_for for r in kept)
    writer.writerow([*COLUMNS, READ_FOR] if told else COLUMNS)
    for r in kept:
        line = [r.path, r.sha256, r.kind, r.provenance, r.patient, r.exam, r.site, r.device, r.split, *(r.box or ("",) * 4)]
        writer.writerow([*line, r.read_for] if told else line)
    return lines.getvalue().encode()


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def count_patients(rows: Iterable[Row]) -> int:
    return len({row.patient_key for row in rows})


def tabulate(rows: Sequence[Row]) -> dict[str, Any]:
    """Images and patients: in all, by split, by site, by kind, by provenance, and of every (split, site, kind)."""
    return {
        "images": len(rows),
        "patients": count_patients(rows),
        "by_split": _by(rows, "split"),
        "by_site": _by(rows, "site"),
        "by_kind": _by(rows, "kind"),
        "by_provenance": _by(rows, "provenance"),
        "cells": _cells(rows),
        "site_split": _site_split(rows),
    }


def _by(rows: Sequence[Row], field: str) -> dict[str, dict[str, int]]:
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[getattr(row, field)].append(row)
    return {name: {"images": len(group), "patients": count_patients(group)} for name, group in sorted(groups.items())}


def _cells(rows: Sequence[Row]) -> list[dict[str, Any]]:
    groups: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.split, row.site, row.kind].append(row)
    return [
        {"split": split, "site": site, "kind": kind, "images": len(group), "patients": count_patients(group)}
        for (split, site, kind), group in sorted(groups.items())
    ]


def _site_split(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Of its own, as a patient with several kinds would count twice in a sum of `cells`."""
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.site, row.split].append(row)
    return [
        {"site": site, "split": split, "images": len(group), "patients": count_patients(group)}
        for (site, split), group in sorted(groups.items())
    ]


def warnings(rows: Sequence[Row]) -> list[str]:
    """What is wrong with these rows as a data set for training; nothing here forbids it."""
    if not rows:
        return ["No image fits. Settle images first, or widen the choice of sites, kinds and provenances."]
    return [*_missing_kinds(rows), *_splits_without_positives(rows), *_unmeasured(rows)]


def _missing_kinds(rows: Sequence[Row]) -> list[str]:
    found = Counter(row.kind for row in rows)
    return [f"There is no example of {kind.value.replace('_', ' ')}." for kind in CLASSIFIED_KINDS if not found[kind]]


def _splits_without_positives(rows: Sequence[Row]) -> list[str]:
    said = []
    for split in SPLITS:
        within = [row for row in rows if row.split == split]
        # what teaches only is no image of a split that measures
        kinds = {row.kind for row in within if split == "train" or row.measures}
        if not within:
            said.append(f"The {split} split is empty.")
        elif not kinds & set(NON_REGULAR_KINDS):
            said.append(f"The {split} split holds neither green filter nor Lugol's iodine: no sensitivity can be told from it.")
        elif "regular" not in kinds:
            said.append(f"The {split} split holds no regular image: no specificity can be told from it.")
    return said


def _unmeasured(rows: Sequence[Row]) -> list[str]:
    outside = [row for row in rows if row.split != "train"]
    automatic = sum(row.provenance == AUTOMATIC for row in outside)
    chosen = sum(row.provenance != AUTOMATIC and row.read_for == CHOSEN for row in outside)
    said = []
    if automatic:
        said.append(f"Outside the train split {counted(automatic, 'image')} with an automatic label: no figure is reported on those.")
    if chosen:
        said.append(
            f"Outside the train split {counted(chosen, 'image')} that people read because a model was unsure, or somebody asked: no figure "
            "is reported on those, as they are harder than the rest. Let more be read whatever the model says (Study settings)."
        )
    return said
