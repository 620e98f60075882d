"""The report of one bundle on one split of one snapshot (METHODS 8), measured through the same Analyzer that the portal runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from inference.api import Analyzer
from inference.preprocess import DecodeError, Picture, crop_to, decode, with_margin
from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Analysis, DetectorState, Kind, Route
from training.manifest import Record, count_patients, read_snapshot
from training.metrics import auroc, box_iou, by_patient, covered, f1_score, five_numbers, roc_points, wilson
from training.types import EvaluationReport, Interval, TrainingRefused

BATCH = 32
FAINT_GREEN_SHARE = 0.40
"""A green-filter picture is faint when G / (R + G + B) of its crop is below this. White light lies near 0.28, the mild optical filter near
0.33, the strong digital one above 0.9."""
CONTAINED = 0.95


@dataclass(frozen=True, slots=True)
class Answer:
    """One record with what the bundle says of it. `green_share` of the crop in [0, 1]; `iou` None where no box is known."""

    record: Record
    analysis: Analysis
    green_share: float
    iou: float | None
    contained: bool | None

    @property
    def positive(self) -> bool:
        return self.record.kind in NON_REGULAR_KINDS

    @property
    def says_positive(self) -> bool:
        return self.analysis.kind in NON_REGULAR_KINDS

    @property
    def right(self) -> bool:
        return self.record.kind is self.analysis.kind


def evaluate(
    bundle: Path, snapshot: Path, *, split: str = "test", device: str = "cpu", sites: Sequence[str] = (), batch: int = BATCH
) -> EvaluationReport:
    """Evaluate a bundle on the records of one split that people labelled (automatic labels measure nothing).

    `sites` narrows it. Raises TrainingRefused when there is nothing to measure, BundleError for a broken bundle.
    """
    analyzer, data = Analyzer.open(bundle, device), read_snapshot(snapshot)
    records = [r for r in data.split(split) if r.measurable and (not sites or r.site in sites)]
    answers = answer_all(analyzer, records, batch)
    judged = [answer for answer in answers if answer.record.kind in CLASSIFIED_KINDS]
    if not judged:
        raise TrainingRefused(
            f"The {split} split has no picture of {', '.join(CLASSIFIED_KINDS)} labelled by people: nothing can be measured."
        )
    kinds = tuple(kind.value for kind in CLASSIFIED_KINDS)
    faint = [a for a in judged if a.record.kind is Kind.GREEN_FILTER and a.green_share < FAINT_GREEN_SHARE]
    missed = [a for a in judged if a.positive]
    return EvaluationReport(
        bundle_hash=analyzer.hash, snapshot_hash=data.hash, split=split, images_total=len(judged),
        patients_total=count_patients(a.record for a in judged), kinds=kinds, figures=binary_figures(judged), auroc=auroc_of(judged),
        confusion=tuple(tuple(sum(a.record.kind == t and a.analysis.kind == p for a in judged) for p in kinds) for t in kinds),
        per_site={site: binary_figures(group) for site, group in grouped(judged, lambda a: a.record.site)},
        per_kind={kind: share(group, lambda a: a.right) for kind, group in grouped(judged, lambda a: a.record.kind.value)},
        faint_green=share(faint, lambda a: a.says_positive) if faint else None,
        roc=tuple(roc_points([a.analysis.p_non_regular for a in judged], [a.positive for a in judged])),
        box_plot=box_plot(judged), review_rate=share(judged, lambda a: a.analysis.route is Route.REVIEW),
        missed_unseen=share(missed, lambda a: a.analysis.route is Route.AUTO_REGULAR),
        detector=detector_figures(answers), images=tuple(row(a) for a in answers),
    )  # fmt: skip


def answer_all(analyzer: Analyzer, records: Sequence[Record], batch: int) -> list[Answer]:
    """Analyse every record. Raises TrainingRefused for a picture that cannot be read: a snapshot holds clean ones."""
    answers: list[Answer] = []
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(records), batch):
            group = records[first : first + batch]
            pictures = list(pool.map(_open, group))
            answers += [_answer(*one) for one in zip(group, pictures, analyzer.analyse(pictures, batch=batch), strict=True)]
    return answers


def _open(record: Record) -> Picture:
    try:
        return decode(record.path)
    except DecodeError as error:
        raise TrainingRefused(f"{record.path.name} cannot be evaluated: {error}") from error


def _answer(record: Record, picture: Picture, analysis: Analysis) -> Answer:
    crop_box = analysis.box if analysis.detector_state is DetectorState.FOUND else None
    mean = crop_to(picture, crop_box, 32).reshape(-1, 3).mean(axis=0) + 1e-6
    iou, contained = None, None
    if record.box is not None:
        truth = (record.box.x0, record.box.y0, record.box.x1, record.box.y1)
        box = analysis.box
        iou = box_iou((box.x0, box.y0, box.x1, box.y1), truth) if box else 0.0
        region = with_margin(crop_box, picture.width, picture.height) if crop_box else (0.0, 0.0, picture.width, picture.height)
        contained = covered(truth, region) >= CONTAINED
    return Answer(record, analysis, float(mean[1] / mean.sum()), iou, contained)


def grouped(answers: Iterable[Answer], key: Callable[[Answer], str]) -> list[tuple[str, list[Answer]]]:
    groups: dict[str, list[Answer]] = {}
    for answer in answers:
        groups.setdefault(key(answer), []).append(answer)
    return sorted(groups.items())


def share(answers: Sequence[Answer], holds: Callable[[Answer], bool]) -> Interval:
    """The share of the answers for which something holds, with its Wilson interval."""
    return wilson(sum(holds(a) for a in answers), len(answers), count_patients(a.record for a in answers))


def binary_figures(answers: Sequence[Answer]) -> dict[str, Interval]:
    """Non-regular against regular, at the bundle's own answer; F1 with its interval by patient bootstrap."""
    positive = [a for a in answers if a.positive]
    negative = [a for a in answers if not a.positive]
    said = [a for a in answers if a.says_positive]
    return {
        "sensitivity": share(positive, lambda a: a.says_positive), "specificity": share(negative, lambda a: not a.says_positive),
        "precision": share(said, lambda a: a.positive), "accuracy": share(answers, lambda a: a.positive == a.says_positive),
        "f1": _f1(answers),
    }  # fmt: skip


def _f1(answers: Sequence[Answer]) -> Interval:
    said, truth = np.array([a.says_positive for a in answers]), np.array([a.positive for a in answers])
    value = f1_score(said, truth)
    low, high = by_patient(lambda rows: f1_score(said[rows], truth[rows]), [a.record.patient_key for a in answers])
    return Interval(value, low, high, int((said & truth).sum()), len(answers), count_patients(a.record for a in answers))


def auroc_of(answers: Sequence[Answer]) -> Interval | None:
    """AUROC of p_non_regular with its interval by patient bootstrap; None when a class is missing. `hits` is the number of positives."""
    scores, truth = np.array([a.analysis.p_non_regular for a in answers]), np.array([a.positive for a in answers])
    value = auroc(scores, truth)
    if math.isnan(value):
        return None
    low, high = by_patient(lambda rows: auroc(scores[rows], truth[rows]), [a.record.patient_key for a in answers])
    return Interval(value, low, high, int(truth.sum()), len(answers), count_patients(a.record for a in answers))


def box_plot(answers: Sequence[Answer]) -> tuple[dict[str, object], ...]:
    """Five numbers and outliers of p_non_regular for each site and kind (the paper's Fig. 4)."""
    return tuple(
        {"site": site, "kind": kind, "scores": five_numbers([a.analysis.p_non_regular for a in group])}
        for site, of_site in grouped(answers, lambda a: a.record.site)
        for kind, group in grouped(of_site, lambda a: a.record.kind.value)
    )


def detector_figures(answers: Sequence[Answer]) -> dict[str, Interval]:
    """`found`, `found_<kind>` over pictures of a cervix; `iou` and `containment` where boxes are known; `false_finds` without a cervix."""
    cervix = [a for a in answers if a.record.kind in CLASSIFIED_KINDS]
    boxed = [a for a in answers if a.iou is not None]
    none = [a for a in answers if a.record.kind is Kind.NOT_CERVIX]
    figures = {"found": share(cervix, _is_found)}
    figures |= {f"found_{kind}": share(group, _is_found) for kind, group in grouped(cervix, lambda a: a.record.kind.value)}
    if boxed:
        overlaps = np.array([a.iou for a in boxed], dtype=np.float64)
        low, high = by_patient(lambda rows: float(overlaps[rows].mean()), [a.record.patient_key for a in boxed])
        patients = count_patients(a.record for a in boxed)
        figures["iou"] = Interval(float(overlaps.mean()), low, high, int((overlaps >= 0.5).sum()), len(boxed), patients)
        figures["iou_over_half"] = share(boxed, lambda a: (a.iou or 0.0) >= 0.5)
        figures["containment"] = share(boxed, lambda a: bool(a.contained))
    if none:
        figures["false_finds"] = share(none, _is_found)
    return figures


def _is_found(answer: Answer) -> bool:
    return answer.analysis.detector_state is DetectorState.FOUND


def row(answer: Answer) -> dict[str, object]:
    """One image of the report, as plain data."""
    record, analysis = answer.record, answer.analysis
    return {
        "sha256": record.sha256, "site": record.site, "patient": record.patient, "kind": record.kind.value,
        "p_non_regular": analysis.p_non_regular, "answer": analysis.kind.value, "route": analysis.route.value,
        "detector_state": analysis.detector_state.value, "box_iou": answer.iou, "deep_sad_distance": analysis.deep_sad_distance,
        "green_share": answer.green_share,
    }  # fmt: skip
