"""What each part of a bundle adds: the same images judged by one part after another, by the order that each part puts them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from inference.api import Analyzer
from inference.assessment import alone, evidence
from inference.fusion import sigmoid
from inference.types import CLASSIFIED_KINDS, Analysis
from training import operating
from training.answers import Answer, answer_all, judge_all, patients_of, resampled, scores_of, truth_of
from training.evaluation import BATCH
from training.manifest import Record, read_snapshot
from training.metrics import auroc
from training.types import Interval, OperatingPoint, TrainingRefused


@dataclass(frozen=True, slots=True)
class Ablation:
    """One way of judging the images. `points`: what it finds at each of `operating.SPECIFICITIES`."""

    name: str
    images: int
    patients: int
    auroc: Interval
    points: tuple[OperatingPoint, ...]


def measure(
    bundle: Path, snapshot: Path, *, split: str = "test", sites: Sequence[str] = (), device: str = "cpu", untinted: Path | None = None
) -> list[Ablation]:
    """The parts of a bundle one by one, on images of one split that people labelled.

    untinted: a bundle whose classifier was trained the same way but without synthetic tints.
    Raises TrainingRefused where a class is missing, BundleError for a broken bundle.
    """
    analyzer = Analyzer.open(bundle, device)
    of_split = [record for record in read_snapshot(snapshot).split(split) if not sites or record.site in sites]
    # One look at each: alone, the assessed answers are the fused ones
    beside = judge_all(analyzer, of_split, lambda record: record.measurable and record.kind in CLASSIFIED_KINDS, BATCH, context=True)
    records, answers = [answer.record for answer in beside], [replace(answer, assessed=None) for answer in beside]
    backbone = " + ".join(str(member) for member in analyzer.resnest.config.members)
    rows = [_row(f"classifier alone ({backbone})", scored(answers, by_classifier))]
    if untinted is not None:
        rows.insert(0, _row("the same, trained without synthetic tints", _plain(untinted, device, records)))
    return [
        *rows,
        _row("Deep SAD alone", scored(answers, by_deep_sad)),
        _row("fused", answers),
        _row("fused, beside the exam's other images", beside),
    ]


def _plain(bundle: Path, device: str, records: Sequence[Record]) -> list[Answer]:
    return scored(answer_all(Analyzer.open(bundle, device), records, BATCH), by_classifier)


def by_classifier(said: Analysis) -> float:
    return sigmoid(said.logit)


def by_deep_sad(said: Analysis) -> float:
    """The squared distance, pressed into [0, 1) without changing its order."""
    return said.deep_sad_distance / (1.0 + said.deep_sad_distance)


def scored(answers: Sequence[Answer], score: Callable[[Analysis], float]) -> list[Answer]:
    """The same answers with another score in the place of p(non-regular); their kinds and routes stay."""
    return [replace(a, assessed=replace(alone(evidence(a.analysis)), p_non_regular=score(a.analysis))) for a in answers]


def _row(name: str, answers: Sequence[Answer]) -> Ablation:
    scores, truth = scores_of(answers), truth_of(answers)
    if not len(truth) or truth.all() or not truth.any():
        raise TrainingRefused("Regular and non-regular images, labelled by people, are both needed to tell what a part adds.")
    area = resampled(answers, lambda rows: auroc(scores[rows], truth[rows]), int(np.sum(truth)))
    points = tuple(point for point in operating.points(answers) if not point.site)
    return Ablation(name, len(answers), patients_of(answers), area, points)
