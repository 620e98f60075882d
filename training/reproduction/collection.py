"""Any collection as train, validation and test by site: the manifest of a snapshot, or that of the development data."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inference.types import NON_REGULAR_KINDS, Box, Kind
from training.manifest import AUTOMATIC, COLUMNS, KIND_NAMES, SALT, Record, parse_box
from training.types import TrainingRefused

ROLES = ("train", "validation", "test")
SHARES = {"train": 0.70, "validation": 0.15, "test": 0.15}
"""How the patients of a site that has several roles are shared out."""
DEVELOPMENT = ("path", "site", "patient", "modality", "label_source", "bbox_x0", "sha256")
LEAST = 4


@dataclass(frozen=True, slots=True)
class Collection:
    """Records whose `split` is one of ROLES. `hash`: of the manifest's bytes. `left_out`: images by the reason they were left out."""

    records: tuple[Record, ...]
    hash: str
    left_out: Mapping[str, int]

    def split(self, role: str) -> list[Record]:
        return [record for record in self.records if record.split == role]


def read(manifest: Path, roles: Mapping[str, Sequence[str]], *, salt: str = SALT) -> Collection:
    """Read a collection; `roles`: of ROLES -> names of sites. Raises TrainingRefused with the reason, before time is spent."""
    if not manifest.is_file():
        raise TrainingRefused(f"{manifest} is not there. Give the manifest.csv of a snapshot or of the development data.")
    raw = manifest.read_bytes()
    with manifest.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        make = _reader_of(reader.fieldnames or (), manifest)
        found = [make(manifest.parent, row) for row in reader]
    _refuse_unknown_sites(found, roles)
    placed = [replace(record, split=role) for record in found if (role := role_of(record, roles, salt))]
    kept, left_out = one_side(placed)
    left_out["of other sites"] = len(found) - len(placed)
    missing = next((record for record in kept if not record.path.is_file()), None)
    if missing is not None:
        raise TrainingRefused(f"{missing.path.name} of {missing.site} is named by the manifest, but is not there.")
    made = Collection(tuple(kept), hashlib.sha256(raw).hexdigest(), left_out)
    check(made)
    return made


def _reader_of(columns: Sequence[str], manifest: Path) -> Callable[[Path, dict[str, str]], Record]:
    if set(COLUMNS) <= set(columns):
        return _from_snapshot
    if set(DEVELOPMENT) <= set(columns):
        return _from_development
    missing = [name for name in COLUMNS if name not in columns]
    raise TrainingRefused(f"{manifest.name} lacks the columns {', '.join(missing)}.")


def _from_snapshot(folder: Path, row: dict[str, str]) -> Record:
    if row["kind"] not in tuple(Kind):
        raise TrainingRefused(f"Kind {row['kind']!r} of {row['path']} is not known.")
    return Record(
        path=folder / row["path"], sha256=row["sha256"], kind=Kind(row["kind"]), provenance=row["provenance"], patient=row["patient"],
        exam=row["exam"], site=row["site"], device=row["device"], split="", box=_box(row, "box"),
    )  # fmt: skip


def _from_development(folder: Path, row: dict[str, str]) -> Record:
    if row["modality"] not in KIND_NAMES:
        raise TrainingRefused(f"Modality {row['modality']!r} of {row['path']} is not known.")
    return Record(
        path=folder / row["path"], sha256=row["sha256"], kind=KIND_NAMES[row["modality"]],
        provenance=AUTOMATIC if row["label_source"].startswith("auto") else "human", patient=row["patient"], exam=row["patient"],
        site=row["site"], device=row["site"], split="", box=_box(row, "bbox"),
    )  # fmt: skip


def _box(row: Mapping[str, str], prefix: str) -> Box | None:
    return parse_box([row[f"{prefix}_{corner}"] for corner in ("x0", "y0", "x1", "y1")])


def _refuse_unknown_sites(records: Sequence[Record], roles: Mapping[str, Sequence[str]]) -> None:
    known = sorted({record.site for record in records})
    for role in ROLES:
        if not roles.get(role):
            raise TrainingRefused(f"No site is given for {role}. The collection has {', '.join(known)}.")
        for site in roles[role]:
            if site not in known:
                raise TrainingRefused(f"The collection has no site {site!r}; it has {', '.join(known)}.")


def role_of(record: Record, roles: Mapping[str, Sequence[str]], salt: str = SALT) -> str:
    """The role of a record's site; where it has several, patients are shared out by a salted hash. Empty where it has none."""
    own = [role for role in ROLES if record.site in roles[role]]
    if len(own) < 2:
        return own[0] if own else ""
    digest = hashlib.sha256(f"{salt}:{record.patient}".encode()).digest()
    point = int.from_bytes(digest[:8], "big") / 2.0**64 * sum(SHARES[role] for role in own)
    for role in own:
        point -= SHARES[role]
        if point < 0:
            return role
    return own[-1]


def one_side(records: Sequence[Record]) -> tuple[list[Record], dict[str, int]]:
    """Those that leave every patient and every picture on one side; test goes before validation and validation before training.

    A pseudonym that stands at two sites is taken for one person: losing a few images is better than testing on a patient who trained.
    """
    rank = {role: place for place, role in enumerate(reversed(ROLES))}
    side: dict[str, str] = {}
    for record in sorted(records, key=lambda r: rank[r.split]):
        side.setdefault(record.patient, record.split)
    together = [record for record in records if side[record.patient] == record.split]
    seen: set[str] = set()
    once = []
    for record in sorted(together, key=lambda r: rank[r.split]):
        if record.sha256 not in seen:
            seen.add(record.sha256)
            once.append(record)
    left_out = {"of a patient of another side": len(records) - len(together), "the same picture again": len(together) - len(once)}
    return once, left_out


def check(collection: Collection) -> None:
    """Raise TrainingRefused for a class without examples, or a validation or test set on which nothing could be measured."""
    for role in ROLES:
        records = [r for r in collection.split(role) if role == "train" or r.measurable]
        for name, kinds in (("regular", (Kind.REGULAR,)), ("non-regular", NON_REGULAR_KINDS)):
            count = sum(record.kind in kinds for record in records)
            if count < LEAST:
                raise TrainingRefused(
                    f"The {role} sites have {count} {name} pictures{'' if role == 'train' else ' labelled by people'}; "
                    f"at least {LEAST} are needed."
                )


def thinned(collection: Collection, most: Mapping[str, int]) -> Collection:
    """At most so many images a role, whole patients, in an order that their pseudonyms' hash decides; for the quick form."""
    kept: list[Record] = []
    for role in ROLES:
        records = collection.split(role)
        order: dict[tuple[str, str], list[Record]] = {}
        for record in sorted(records, key=lambda r: hashlib.sha256(r.patient.encode()).hexdigest()):
            order.setdefault(record.patient_key, []).append(record)
        room = most[role]
        for group in order.values():
            if room <= 0:
                break
            kept += group
            room -= len(group)
    left_out = {**collection.left_out, "thinned for the quick form": len(collection.records) - len(kept)}
    thin = replace(collection, records=tuple(kept), left_out=left_out)
    check(thin)
    return thin
