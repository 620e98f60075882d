"""The report of one bundle on one split of one snapshot (METHODS 8), measured through the same Analyzer that the portal runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from inference import threads as torch_threads
from inference.api import Analyzer
from inference.types import CLASSIFIED_KINDS, Route
from training import boxes, embedding, operating, reliability, repeat
from training.answers import (
    Answer,
    Watch,
    by_kind,
    by_site,
    judge_all,
    patients_of,
    resampled,
    scores_of,
    share,
    truth_of,
)
from training.manifest import Snapshot, counts, read_snapshot
from training.metrics import auroc, average_precision, f1_score, five_numbers, precision_recall_points, roc_points
from training.types import Calibration, Cost, EvaluationReport, Interval, TrainingRefused

BATCH = 32
CURVE = 400
"""A precision-recall curve keeps about so many of its points."""


def evaluate(
    bundle: Path, snapshot: Path, *, split: str = "test", device: str = "cpu", sites: Sequence[str] = (), batch: int = BATCH,
    context: bool = True, threads: int | None = None, known_devices_only: bool = False,
) -> EvaluationReport:  # fmt: skip
    """Evaluate a bundle on the records of one split that people labelled (automatic labels measure nothing).

    `sites` narrows it. `context`: images are assessed beside the others of their exam, where the bundle compares, those too that count
    nothing themselves as no person labelled them; else each alone. `known_devices_only`: what comes from a device without calibration is
    read, as the portal has it. `threads`: of torch; None leaves them as they are.
    Raises TrainingRefused when there is nothing to measure, BundleError for a broken bundle.
    """
    if threads is not None:
        torch_threads.use(threads)
    analyzer, data = Analyzer.open(bundle, device), read_snapshot(snapshot)
    records = [r for r in data.split(split) if not sites or r.site in sites]
    watch = Watch()
    answers = judge_all(
        analyzer, records, lambda record: record.measurable, batch, watch, context=context,
        known_devices_only=known_devices_only,
    )  # fmt: skip
    made = report_of(answers, analyzer.about, data, split=split, bundle_hash=analyzer.hash, cost=watch.cost(device, batch))
    return replace(made, known_devices_only=known_devices_only)


def report_of(
    answers: Sequence[Answer], about: Mapping[str, Any], data: Snapshot, *, split: str, bundle_hash: str, cost: Cost | None = None
) -> EvaluationReport:
    """The report over answers that were given. about: the bundle's manifest."""
    judged = [answer for answer in answers if answer.record.kind in CLASSIFIED_KINDS]
    if not judged:
        raise TrainingRefused(
            f"The {split} split has no picture of {', '.join(CLASSIFIED_KINDS)} labelled by people: nothing can be measured."
        )
    kinds = tuple(kind.value for kind in CLASSIFIED_KINDS)
    faint = [a for a in judged if a.faint_green]
    positive = [a for a in judged if a.positive]
    scores, truth = [a.p for a in judged], [a.positive for a in judged]
    return EvaluationReport(
        bundle_hash=bundle_hash, snapshot_hash=data.hash, split=split, images_total=len(judged), patients_total=patients_of(judged),
        kinds=kinds, figures=binary_figures(judged), auroc=auroc_of(judged),
        confusion=tuple(_confusion_row([a for a in judged if a.record.kind == kind], kinds) for kind in kinds),
        per_site={site: binary_figures(group) for site, group in by_site(judged)},
        per_kind={kind: share(group, lambda a: a.right) for kind, group in by_kind(judged)},
        faint_green=share(faint, lambda a: a.says_positive) if faint else None,
        roc=tuple(roc_points(scores, truth)), box_plot=box_plot(judged),
        review_rate=share(judged, lambda a: a.route is Route.REVIEW),
        missed_unseen=share(positive, lambda a: a.route is Route.AUTO_REGULAR),
        detector=boxes.figures(answers), images=rows(answers),
        held_out=held_out(about, data, judged), left_out=left_out(about), composition=composition(data),
        per_site_kind={site: {kind: share(some, lambda a: a.right) for kind, some in by_kind(group)} for site, group in by_site(judged)},
        site_auroc={site: area for site, group in by_site(judged) if (area := auroc_of(group)) is not None},
        faint_green_by_site={site: share(group, lambda a: a.says_positive) for site, group in by_site(faint)},
        operating_points=operating.points(judged), precision_recall=thinned(precision_recall_points(scores, truth)),
        average_precision=average_precision_of(judged), calibration=calibration(judged),
        review_points=operating.review_points(judged, about["fusion"]["t_hi"]), repeatability=repeat.figures(judged),
        cost=cost,
    )  # fmt: skip


def _confusion_row(answers: Sequence[Answer], kinds: Sequence[str]) -> tuple[int, ...]:
    """How often each kind was the answer, and last anything else: quality may find no cervix, or nothing that can be used."""
    counts = [sum(a.said == kind for a in answers) for kind in kinds]
    return (*counts, len(answers) - sum(counts))


def held_out(about: Mapping[str, Any], data: Snapshot, judged: Sequence[Answer]) -> tuple[str, ...]:
    """Sites that the bundle knows by no name: in its own snapshot those of the test split alone that its start did not learn from, else
    those not in its sources. Older bundles do not say what their start learned from: in their own snapshot none is told to be new."""
    sites = {a.record.site for a in judged}
    if about["snapshot_hash"] == data.hash:
        if about.get("start", "random") != "random" and "start_sources" not in about:
            return ()
        learned = {record.site for record in data.records if record.split != "test"}
        return tuple(sorted(sites - learned - set(about.get("start_sources", ()))))
    return tuple(sorted(sites - set(about["sources"])))


def left_out(about: Mapping[str, Any]) -> dict[str, dict[str, object]]:
    """What the bundle tells of siblings that were trained without a site."""
    return {site: dict(figures) for site, figures in about["metrics"].get("leave_one_source_out", {}).items()}


def composition(data: Snapshot) -> tuple[dict[str, object], ...]:
    """Images and patients of the whole snapshot by split, site and kind (the paper's Tables 1-4)."""
    return tuple(dict(row) for row in counts(data.records, "split", "site", "kind"))


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
    said, truth = np.array([a.says_positive for a in answers]), truth_of(answers)
    return resampled(answers, lambda rows: f1_score(said[rows], truth[rows]), int((said & truth).sum()))


def auroc_of(answers: Sequence[Answer]) -> Interval | None:
    """AUROC of p with its interval by patient bootstrap; None when a class is missing. `hits` is the number of positives."""
    scores, truth = scores_of(answers), truth_of(answers)
    if truth.all() or not truth.any():
        return None
    return resampled(answers, lambda rows: auroc(scores[rows], truth[rows]), int(truth.sum()))


def average_precision_of(answers: Sequence[Answer]) -> Interval | None:
    """As `auroc_of`, for the area under the precision-recall steps; it hangs on how common the non-regular are here."""
    scores, truth = scores_of(answers), truth_of(answers)
    if truth.all() or not truth.any():
        return None
    return resampled(answers, lambda rows: average_precision(scores[rows], truth[rows]), int(truth.sum()))


def thinned(points: Sequence[tuple[float, float, float]], most: int = CURVE) -> tuple[tuple[float, float, float], ...]:
    """Every nth point of a curve, with its first and its last."""
    step = max(1, math.ceil(len(points) / most))
    return tuple(point for n, point in enumerate(points) if n % step == 0 or n == len(points) - 1)


def calibration(answers: Sequence[Answer]) -> tuple[Calibration, ...]:
    """Of all sites together and of each."""
    groups = [("", list(answers)), *by_site(answers)]
    return tuple(reliability.measure(scores_of(group), truth_of(group), patients=patients_of(group), site=site) for site, group in groups)


def box_plot(answers: Sequence[Answer]) -> tuple[dict[str, object], ...]:
    """Five numbers and outliers of p for each site and kind (the paper's Fig. 4)."""
    return tuple(
        {"site": site, "kind": kind, "scores": five_numbers([a.p for a in group])}
        for site, of_site in by_site(answers)
        for kind, group in by_kind(of_site)
    )


def rows(answers: Sequence[Answer]) -> tuple[dict[str, object], ...]:
    """Every image as plain data, with its place on the map of embeddings."""
    places = embedding.tsne([a.analysis.embedding for a in answers])
    return tuple(
        {**_row(answer), "map": None if np.isnan(place).any() else [round(float(v), 4) for v in place]}
        for answer, place in zip(answers, places, strict=True)
    )


def _row(answer: Answer) -> dict[str, object]:
    record, analysis = answer.record, answer.analysis
    return {
        "sha256": record.sha256, "site": record.site, "patient": record.patient, "exam": record.exam, "kind": record.kind.value,
        "p_non_regular": answer.p, "answer": answer.said.value, "route": answer.route.value, "reasons": list(answer.reasons),
        "detector_state": analysis.detector_state.value, "box_iou": answer.iou, "deep_sad_distance": analysis.deep_sad_distance,
        "green_share": answer.green_share,
    }  # fmt: skip
