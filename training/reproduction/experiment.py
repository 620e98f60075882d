"""Every method trained by its presets on one collection, scored on validation and test. Resumes from the checkpoints in its folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inference.deep_sad import SIZE
from inference.detector import CervixDetector
from inference.resnest import CropClassifier, non_regular_logit
from inference.types import CLASSIFIED_KINDS, Kind, Progress
from training import calibrate, data, deep_sad, detector, heads, resnest
from training.config import DeepSADRecipe, DetectorRecipe, HeadRecipe, ResNeStRecipe
from training.engine import Reporter
from training.manifest import Record
from training.methods import Method, Recipe
from training.reproduction.collection import ROLES, Collection
from training.reproduction.material import Look, Part, look
from training.reproduction.pace import DECODING, Pace, work
from training.types import TrainingRefused

Floats = NDArray[np.float64]
PARTS = ("detector", "resnest", "deep_sad", "head")
"""In the order in which they are trained."""
SORTER = "resnest_224"
"""The method whose embedding the heads stand on and t-SNE shows."""


@dataclass(frozen=True, slots=True)
class Run:
    """One method by one preset."""

    method: Method
    preset: str
    recipe: Recipe

    @property
    def key(self) -> tuple[str, str]:
        return (self.method.name, self.preset)

    @property
    def folder(self) -> str:
        return f"{self.method.name}-{self.preset}".replace(":", "-")


@dataclass(frozen=True, slots=True)
class Found:
    """A trained detector on the test pictures: `looks`, what it says of each of `records`; `tinted`, of a green copy of each of
    `tinted_records`. `held_iou`: mean overlap on validation, by which the detector that crops is chosen."""

    run: Run
    records: tuple[Record, ...]
    looks: tuple[Look, ...]
    held_iou: float
    seconds: float
    tinted_records: tuple[Record, ...] = ()
    tinted: tuple[Look, ...] = ()


@dataclass(frozen=True, slots=True)
class Scored:
    """A trained classifier. Scores (N,): log odds or, where `distance`, squared distances; larger is more anomalous.

    `threshold`: best on validation. `p`: calibrated probabilities (N,) of the test pictures, by Platt on validation.
    """

    run: Run
    held: Floats
    test: Floats
    distance: bool
    threshold: float
    p: Floats
    seconds: float

    @property
    def said(self) -> NDArray[np.bool_]:
        answers: NDArray[np.bool_] = self.test > self.threshold
        return answers

    @property
    def shown(self) -> Floats:
        """Test scores on the scale of a plot: distances as their decimal logarithm."""
        return np.log10(self.test + 1e-6) if self.distance else self.test


@dataclass(slots=True)
class Results:
    """What the report is made from. `embeddings`: of the test pictures by preset. `refused`: runs that ended with a reason."""

    parts: dict[str, Part]
    found: list[Found] = field(default_factory=list)
    scored: list[Scored] = field(default_factory=list)
    embeddings: dict[str, Floats] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    cropped_by: str = ""


@dataclass(slots=True)
class Experiment:
    """Trains the runs in order: detectors, then classifiers on the crops of the best detector."""

    collection: Collection
    runs: Sequence[Run]
    out: Path
    seed: int
    device: str
    report: Callable[[Progress], None]
    cancelled: Callable[[], bool]
    sorters: dict[str, CropClassifier] = field(default_factory=dict)
    pace: Pace = field(init=False)

    def __post_init__(self) -> None:
        images = len(self.collection.split("train"))
        self.pace = Pace({run.folder: work(run.recipe, images) for run in self.runs}, self.report)

    def carry_out(self) -> Results:
        detectors = [run for run in self.runs if run.method.part == "detector"]
        finder, found, why = self._detectors(detectors)
        results = Results(parts=self._parts(finder), found=found, cropped_by=why)
        for run in self.runs:
            if run.method.part != "detector":
                self._classifier(run, results)
        self._embed(results)
        return results

    def _reporter(self, run: Run, **stages: float) -> Reporter:
        """`stages`: by name, how long each takes compared with the others."""
        return Reporter(self.pace.of(run.folder), self.cancelled, stages)

    def _detectors(self, runs: Sequence[Run]) -> tuple[CervixDetector | None, list[Found], str]:
        train, held, test = (self.collection.split(role) for role in ROLES)
        boxes = sum(record.box is not None for record in train if data.has_detector_truth(record))
        if not runs or boxes < detector.LEAST_BOXES:
            why = (
                f"{boxes} training pictures carry a cervix box; a detector needs {detector.LEAST_BOXES}"
                if runs
                else "no detector was asked for"
            )
            return None, [], f"Crops: whole frames, as {why}."
        judged = [r for r in test if r.measurable and (r.box is not None or r.kind in (*CLASSIFIED_KINDS, Kind.NOT_CERVIX))]
        to_tint = [r for r in judged if r.box is not None and r.kind is Kind.REGULAR]
        best: CervixDetector | None = None
        found: list[Found] = []
        for run in runs:
            assert isinstance(run.recipe, DetectorRecipe)
            began = time.monotonic()
            finder, figures = detector.train(
                train, held, run.recipe, start=None, out=self._folder(run), seed=self.seed, device=self.device,
                reporter=self._reporter(run, detector=1),
            )  # fmt: skip
            looks = look(finder, judged, self.device, cancelled=self.cancelled)
            tinted = look(finder, to_tint, self.device, cancelled=self.cancelled, tinted=True)
            if best is None or figures["iou"] > max(one.held_iou for one in found):
                best = finder
            seconds = time.monotonic() - began
            found.append(Found(run, tuple(judged), tuple(looks), figures["iou"], seconds, tuple(to_tint), tuple(tinted)))
        chosen = max(found, key=lambda one: one.held_iou).run
        return (
            best,
            found,
            f"Crops: at the boxes of {chosen.method.name} ({chosen.preset}), the best on validation; true boxes in training.",
        )

    def _folder(self, run: Run) -> Path:
        return self.out / "runs" / run.folder

    def _parts(self, finder: CervixDetector | None) -> dict[str, Part]:
        """Training pictures are cropped at their true box where there is one; the others at what the detector finds."""
        parts = {}
        for role in ROLES:
            records = [r for r in self.collection.split(role) if r.kind in CLASSIFIED_KINDS and (role == "train" or r.measurable)]
            known = {id(r): r.box for r in records if role == "train" and r.box is not None}
            if finder is not None:
                unknown = [r for r in records if id(r) not in known]
                looks = look(finder, unknown, self.device, cancelled=self.cancelled)
                known |= {id(r): seen.crop for r, seen in zip(unknown, looks, strict=True) if seen.crop is not None}
            parts[role] = Part(records, [known.get(id(r)) if finder is not None else None for r in records], self.cancelled)
        return parts

    def _classifier(self, run: Run, results: Results) -> None:
        began = time.monotonic()
        try:
            held, test = self._scores(run, results.parts)
        except TrainingRefused as error:
            # One method that collapses is a result too; the others go on
            results.refused.append((f"{run.method.name} ({run.preset})", str(error)))
            return
        distance = not isinstance(run.recipe, ResNeStRecipe)
        positive = results.parts["validation"].positive
        feature, shown = (np.log(s + 1e-6) if distance else np.clip(s, -12, 12) for s in (held, test))
        intercept, weights = calibrate.non_negative_logistic(feature[:, None], positive)
        p = 1 / (1 + np.exp(-(intercept + weights[0] * shown)))
        threshold = calibrate.best_threshold(held, positive)
        results.scored.append(Scored(run, held, test, distance, threshold, p, time.monotonic() - began))

    def _scores(self, run: Run, parts: dict[str, Part]) -> tuple[Floats, Floats]:
        if isinstance(run.recipe, ResNeStRecipe):
            return self._resnest(run, run.recipe, parts)
        if isinstance(run.recipe, DeepSADRecipe):
            return self._deep_sad(run, run.recipe, parts)
        assert isinstance(run.recipe, HeadRecipe)
        return self._head(run, run.recipe, parts)

    def _resnest(self, run: Run, recipe: ResNeStRecipe, parts: dict[str, Part]) -> tuple[Floats, Floats]:
        train, held, test = (parts[role] for role in ROLES)
        model, _ = resnest.train(
            train.wide(recipe.size), train.targets, held.inner(recipe.size), held.targets, recipe, start=None, out=self._folder(run),
            seed=self.seed, device=self.device, reporter=self._reporter(run, resnest=1),
        )  # fmt: skip
        if run.method.name == SORTER:
            self.sorters[run.preset] = model
        one, other = (non_regular_logit(resnest.logits_of(model, part.inner(recipe.size))).double().numpy() for part in (held, test))
        return finite(one, run), finite(other, run)

    def _deep_sad(self, run: Run, recipe: DeepSADRecipe, parts: dict[str, Part]) -> tuple[Floats, Floats]:
        train, held, test = (parts[role] for role in ROLES)
        material = deep_sad.Material(train.wide(SIZE), train.targets, train.labels, train.inner(SIZE))
        stages = {"autoencoder": DECODING * recipe.ae_epochs} if recipe.ae_init else {}
        model, _ = deep_sad.train(
            material, recipe, start=None, out=self._folder(run), seed=self.seed, device=self.device,
            reporter=self._reporter(run, **stages, deep_sad=recipe.epochs),
        )  # fmt: skip
        one, other = (deep_sad.distances_of(model, part.inner(SIZE)) for part in (held, test))
        return finite(one, run), finite(other, run)

    def _head(self, run: Run, recipe: HeadRecipe, parts: dict[str, Part]) -> tuple[Floats, Floats]:
        if run.preset not in self.sorters:
            raise TrainingRefused(f"It stands on the embedding of {SORTER} ({run.preset}), which was not trained: add it to --methods.")
        model = self.sorters[run.preset]
        train, held, test = (parts[role] for role in ROLES)
        views = ResNeStRecipe(synthetic_green=0.2, synthetic_iodine=0.08)
        size = model.config.size
        seen, labels = heads.embedded_views(model, train.wide(size), train.targets, train.labels, views, recipe.views, self.seed)
        head = heads.train(
            seen, labels, recipe, out=self._folder(run), seed=self.seed, device=self.device, reporter=self._reporter(run, head=1)
        )
        one, other = (heads.scores_of(head, heads.embeddings_of(model, part.inner(size))) for part in (held, test))
        return finite(one, run), finite(other, run)

    def _embed(self, results: Results) -> None:
        for preset, model in self.sorters.items():
            test = results.parts["test"].inner(model.config.size)
            results.embeddings[preset] = heads.embeddings_of(model, test).double().numpy()


def finite(scores: Floats, run: Run) -> Floats:
    """The scores, or TrainingRefused: a network that diverged or collapsed gives no result."""
    if not np.isfinite(scores).all():
        raise TrainingRefused("It gives scores that are no numbers; the training diverged.")
    if len(np.unique(scores)) < 0.5 * len(scores):
        raise TrainingRefused(f"{run.method.title} gives {len(np.unique(scores))} distinct scores for {len(scores)} images: it collapsed.")
    return scores
