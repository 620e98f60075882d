"""Folds by patient: everybody is tested once, by a bundle whose classifiers were trained, chosen and calibrated without them (METHODS 8).

For figures on more patients than a tenth of them. Each fold is a whole run, so it takes as many trainings as there are folds. Their bundles
are for measuring alone: they have learned from patients whom the snapshot tests on.

The same picture under two patients is refused. Copies of one photograph that differ (the portal keeps their patients in one split) are not
known here: divide such a snapshot only where its page counts no such patients.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from inference import bundle as bundles
from inference.api import Analyzer
from inference.types import CLASSIFIED_KINDS
from training import checks, parallel
from training import snapshot as folders
from training.answers import Answer, judge_all
from training.config import Preset, trains
from training.evaluation import BATCH, report_of
from training.manifest import DRAWN, SALT, Record, Snapshot, read_snapshot
from training.methods import begin_anew
from training.types import FOLDS, EvaluationReport, TrainConfig, TrainingRefused

Train = Callable[[int, Path, Path], object]
"""(number of the fold, snapshot folder, run folder): trains `run folder/bundle`; continues a run that was stopped."""
ALIKE = ("recipes", "trained_parts", "seed", "start", "calibration_snapshot_hash")
"""What all bundles of one report must have in common."""


@dataclass(frozen=True, slots=True)
class Folds:
    """`count` folds of the patients of `sites` of the snapshot folder `snapshot`, carried out in the folder `out`.

    No sites: all, without the drawn examples, which measure nothing beside patients.
    """

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

    def tests(self, record: Record) -> bool:
        """Whether an image is measured on: labelled by people, and of the sites."""
        return record.measurable and (record.site in self.sites if self.sites else record.provenance != DRAWN)


@dataclass(frozen=True, slots=True)
class Pooled:
    """One report over all folds, and that of each."""

    whole: EvaluationReport
    each: tuple[EvaluationReport, ...]


def deal(data: Snapshot, folds: Folds) -> dict[str, int]:
    """Fold (from 1) of every patient who is measured on, dealt round in the order of a salted hash: folds differ by one patient at most.

    A pseudonym that two sites share counts as one patient: people are seen at two places, and by chance it does no harm. Raises
    TrainingRefused for an unknown site, and where there are fewer patients than folds.
    """
    known = {r.site for r in data.records}
    if unknown := sorted(set(folds.sites) - known):
        raise TrainingRefused(f"{data.name} has no site {', '.join(unknown)!r}; it has {', '.join(sorted(known))}.")
    names = {r.patient for r in data.records if folds.tests(r)}
    if len(names) < folds.count:
        raise TrainingRefused(
            f"{len(names)} patients with labels by people cannot be divided into {folds.count} folds. "
            "Drawn examples count only where their sites are named."
        )
    order = sorted(names, key=lambda name: hashlib.sha256(f"{SALT}-fold:{name}".encode()).digest())
    return {name: row % folds.count + 1 for row, name in enumerate(order)}


def moved(data: Snapshot, folds: Folds, number: int) -> tuple[Record, ...]:
    """All records as one fold has them: its patients are the test split, and who was in it before trains.

    Patients who are not dealt stay where they are.
    """
    dealt = deal(data, folds)
    return tuple(replace(r, split=_split(r, dealt, number)) for r in data.records)


def _split(record: Record, dealt: dict[str, int], number: int) -> str:
    fold = dealt.get(record.patient)
    if fold is None:
        return record.split
    return "test" if fold == number else "train" if record.split == "test" else record.split


def prepare(data: Snapshot, folds: Folds, config: TrainConfig, recipes: Preset) -> None:
    """Raise TrainingRefused, before time is spent, where any fold cannot be trained or judged, or where `out` holds other folds."""
    # Also a detector that is trained further may have learned boxes of these patients: what is trained begins anew
    if (config.start or config.weights_from) and not {*config.parts, "resnest", "deep_sad"} <= set(begin_anew(config)):
        raise TrainingRefused(
            "The start bundle's classifiers may have learned from the patients that are tested here. Train both anew: --fresh true with "
            "resnest and deep_sad among --parts."
        )
    for number in folds.numbers():
        records = moved(data, folds, number)
        try:
            checks.before(replace(data, records=records), config.parts)
        except TrainingRefused as error:
            raise TrainingRefused(f"Fold {number} of {folds.count} cannot be trained: {error} Or divide into fewer folds.") from error
        if not any(r.split == "test" and folds.tests(r) and r.kind in CLASSIFIED_KINDS for r in records):
            raise TrainingRefused(f"Fold {number} of {folds.count} has no picture to judge. Divide into fewer folds.")
        _refuse_others(folds, number, records)
        _refuse_otherwise(folds, number, config, recipes)


def _refuse_otherwise(folds: Folds, number: int, config: TrainConfig, recipes: Preset) -> None:
    """Bundles of different settings make no report together: said before the next is trained. A start is known by its hash."""
    asked = trains(json.loads(json.dumps(asdict(recipes))))
    mine: dict[str, Any] = {"seed": config.seed, "parts": list(config.parts), "fresh": config.fresh, "recipes": asked}
    run, manifest = folds.place(number) / "run" / "run.json", folds.bundle(number) / bundles.MANIFEST
    theirs = json.loads(run.read_text(encoding="utf-8")) if run.exists() else mine
    theirs = {**theirs, "recipes": trains(theirs["recipes"])}
    differing = [name for name, value in mine.items() if theirs.get(name) != value]
    if manifest.exists():
        start = bundles.read_manifest(Path(config.start))[1] if config.start else "random"
        differing += ["start"] if bundles.read_manifest(manifest.parent)[0]["start"] != start else []
    if differing:
        raise TrainingRefused(
            f"Fold {number} was trained by other settings ({', '.join(differing)}). Give those of its run/config.toml, or choose an empty "
            "folder."
        )


def _refuse_others(folds: Folds, number: int, records: Sequence[Record]) -> None:
    folder = folds.place(number) / "snapshot"
    if (folder / "snapshot.json").exists() and _plain(read_snapshot(folder).records) != _plain(records):
        raise TrainingRefused(f"{folds.out.name} holds folds of another snapshot, or of another number. Choose an empty folder.")


def _plain(records: Sequence[Record]) -> set[Record]:
    return {replace(record, path=Path()) for record in records}


def divide(data: Snapshot, folds: Folds, number: int) -> Path:
    """The snapshot folder of one fold. Made once, then found again; what a killed process left half done is made anew."""
    target, records = folds.place(number) / "snapshot", moved(data, folds, number)
    if parallel.leads() and not (target / "snapshot.json").exists():
        shutil.rmtree(target, ignore_errors=True)
        folders.write(target, records, name=f"{data.name}, fold {number} of {folds.count}")
    parallel.barrier()
    _refuse_others(folds, number, records)
    return target


def train_all(folds: Folds, config: TrainConfig, recipes: Preset, train: Train, *, only: int = 0) -> None:
    """Train the bundles of all folds, or of one; those that are there already are left as they are."""
    data, wanted = read_snapshot(folds.snapshot), [number for number in folds.numbers(only) if number in untrained(folds)]
    if wanted:
        prepare(data, folds, config, recipes)
    for number in wanted:
        train(number, divide(data, folds, number), folds.place(number) / "run")


def untrained(folds: Folds) -> list[int]:
    """The folds that have no bundle yet."""
    return [number for number in folds.numbers() if not (folds.bundle(number) / bundles.MANIFEST).exists()]


def pooled(folds: Folds, *, device: str = "cpu", batch: int = BATCH, context: bool = True) -> Pooled:
    """Each image with the answer of the bundle that never saw its patient, over all folds and by fold. For one process.

    The whole report ranks scores of several bundles among one another, each calibrated on patients of its own; its hash is that of all
    bundles together. What belongs to one bundle alone is not in it: map, cost, table of the snapshot, review rate at other thresholds. Nor
    what a detector finds that was kept from a start bundle, as it may have learned these very boxes. Raises TrainingRefused while a fold is
    missing, where one is of another snapshot, and where bundles were not trained alike.
    """
    if missing := untrained(folds):
        raise TrainingRefused(f"No bundle yet for fold {', '.join(map(str, missing))} of {folds.count}: train it first.")
    data = read_snapshot(folds.snapshot)
    analyzers = {number: Analyzer.open(folds.bundle(number), device) for number in folds.numbers()}
    about = _alike([dict(analyzer.about) for analyzer in analyzers.values()])
    answers: list[Answer] = []
    each = []
    for number, analyzer in analyzers.items():
        fold = read_snapshot(divide(data, folds, number))
        if analyzer.about["snapshot_hash"] != fold.hash:
            raise TrainingRefused(f"The bundle in {folds.place(number).name} was trained on another division. Choose an empty folder.")
        said = judge_all(analyzer, fold.split("test"), folds.tests, batch, context=context)
        each.append(_without_kept(report_of(said, analyzer.about, fold, split="test", bundle_hash=analyzer.hash), about))
        answers += [replace(one, analysis=replace(one.analysis, embedding=())) for one in said]
    together = hashlib.sha256(json.dumps([one.bundle_hash for one in each]).encode()).hexdigest()
    whole = report_of(answers, about, data, split=FOLDS, bundle_hash=together)
    return Pooled(replace(_without_kept(whole, about), composition=(), review_points=()), tuple(each))


def _alike(abouts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = abouts[0]
    for name in ALIKE:
        if any(about.get(name) != first.get(name) for about in abouts):
            raise TrainingRefused(f"The folds were not trained alike: {name} differs. Train all of them by the same settings.")
    return first


def _without_kept(report: EvaluationReport, about: dict[str, Any]) -> EvaluationReport:
    if "detector" in about["trained_parts"]:
        return report
    return replace(report, detector={}, images=tuple({**row, "box_iou": None} for row in report.images))
