"""Folds by patient: every patient is tested once, by a bundle that was trained, chosen and calibrated without them (METHODS 8).

For figures on more patients than a tenth of them. Each fold is a whole run, so it takes as many trainings as there are folds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from inference import bundle as bundles
from inference.api import Analyzer
from inference.assessment import Assessor
from training import parallel
from training import snapshot as folders
from training.answers import Answer, Watch, answer_all, beside_others
from training.evaluation import BATCH, report_of
from training.manifest import SALT, Record, Snapshot, read_snapshot
from training.types import EvaluationReport, TrainingRefused

SPLIT = "folds"
"""What the pooled report calls its split."""

Train = Callable[[Path, Path], Path]
"""(snapshot folder, run folder) -> bundle folder; continues a run that was stopped."""


@dataclass(frozen=True, slots=True)
class Folds:
    """`count` folds of the patients of `sites` (all when empty) of the snapshot folder `snapshot`, carried out in the folder `out`."""

    snapshot: Path
    out: Path
    count: int
    sites: tuple[str, ...] = ()

    def numbers(self, only: int = 0) -> Sequence[int]:
        """1 to `count`, or the one that is asked for. Raises TrainingRefused for what is no fold."""
        if self.count < 2:
            raise TrainingRefused(f"{self.count} folds: at least 2 are needed, so that somebody is left to train on.")
        if only and not 1 <= only <= self.count:
            raise TrainingRefused(f"There is no fold {only} of {self.count}.")
        return (only,) if only else range(1, self.count + 1)

    def place(self, number: int) -> Path:
        return self.out / f"fold-{number}"

    def bundle(self, number: int) -> Path:
        return self.place(number) / "run" / "bundle"


def patients_in(data: Snapshot, folds: Folds) -> dict[str, int]:
    """Fold (from 1) of every patient of the sites, dealt round in the order of a salted hash, so that all folds are of one size.

    A pseudonym that two sites share counts as one patient: people were seen at two places, and by chance it does no harm. Raises
    TrainingRefused where there are fewer patients than folds.
    """
    known = {r.site for r in data.records}
    if unknown := sorted(set(folds.sites) - known):
        raise TrainingRefused(f"{data.name} has no site {', '.join(unknown)}; it has {', '.join(sorted(known))}.")
    names = {r.patient for r in data.records if r.measurable and (not folds.sites or r.site in folds.sites)}
    if len(names) < folds.count:
        raise TrainingRefused(f"{len(names)} patients with labels by people cannot be divided into {folds.count} folds.")
    order = sorted(names, key=lambda name: hashlib.sha256(f"{SALT}-fold:{name}".encode()).digest())
    return {name: row % folds.count + 1 for row, name in enumerate(order)}


def divide(data: Snapshot, folds: Folds, number: int) -> Path:
    """The snapshot folder of one fold: its patients are the test split, and who was in it before trains. Made once, then found again.

    Patients of other sites stay where they are, unless they bear the pseudonym of one who is tested.
    """
    target = folds.place(number) / "snapshot"
    dealt = patients_in(data, folds)
    if parallel.leads() and not (target / "snapshot.json").exists():
        moved = [replace(r, split=_split(r, dealt, number)) for r in data.records]
        folders.write(target, moved, name=f"{data.name}, fold {number} of {folds.count}")
    parallel.barrier()
    tested = {r.sha256 for r in read_snapshot(target).split("test")}
    if tested != {r.sha256 for r in data.records if _split(r, dealt, number) == "test"}:
        raise TrainingRefused(f"{folds.out.name} holds folds of another snapshot, or of another number. Choose an empty folder.")
    return target


def _split(record: Record, dealt: dict[str, int], number: int) -> str:
    fold = dealt.get(record.patient)
    if fold is None:
        return record.split
    return "test" if fold == number else "train" if record.split == "test" else record.split


def train_all(folds: Folds, train: Train, *, only: int = 0) -> None:
    """Train the bundles of all folds, or of one; those that are there already are left as they are."""
    data = read_snapshot(folds.snapshot)
    for number in folds.numbers(only):
        train(divide(data, folds, number), folds.place(number) / "run")


def untrained(folds: Folds) -> list[int]:
    """The folds that have no bundle yet."""
    return [number for number in folds.numbers() if not (folds.bundle(number) / bundles.MANIFEST).exists()]


def pooled(folds: Folds, *, device: str = "cpu", batch: int = BATCH, context: bool = True) -> EvaluationReport:
    """One report over all folds: each image with the answer of the bundle that never saw its patient.

    The report's hash is that of all bundles together. Embeddings of different networks share no map, so there is none. Raises
    TrainingRefused while a fold is missing, or where a folder holds folds of another snapshot.
    """
    if missing := untrained(folds):
        raise TrainingRefused(f"No bundle yet for fold {', '.join(map(str, missing))} of {folds.count}: train it first.")
    data, watch = read_snapshot(folds.snapshot), Watch()
    answers: list[Answer] = []
    hashes: list[str] = []
    about: dict[str, Any] = {}
    for number in folds.numbers():
        fold = read_snapshot(divide(data, folds, number))
        tested = [r for r in fold.split("test") if r.measurable and (not folds.sites or r.site in folds.sites)]
        analyzer = Analyzer.open(folds.bundle(number), device)
        said = answer_all(analyzer, tested, batch, watch)
        answers += beside_others(Assessor.of(analyzer.about), said) if context else said
        about = about or dict(analyzer.about)
        hashes.append(analyzer.hash)
    plain = [replace(answer, analysis=replace(answer.analysis, embedding=())) for answer in answers]
    together = hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
    return report_of(plain, about, data, split=SPLIT, bundle_hash=together, cost=watch.cost(device, batch))
