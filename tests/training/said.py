"""Answers by hand: records without a file, and what a bundle is said to say of them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from inference.types import Analysis, Box, DetectorState, Kind, Route
from training.answers import Answer
from training.evaluation import report_of
from training.manifest import Record, Snapshot
from training.types import Cost, EvaluationReport

REGULAR, GREEN, IODINE = Kind.REGULAR, Kind.GREEN_FILTER, Kind.LUGOL_IODINE
ABOUT: dict[str, Any] = {"snapshot_hash": "other", "sources": ["north"], "fusion": {"t_hi": 0.9}, "metrics": {}}


def answer(
    kind: Kind, p: float, *, site: str = "north", patient: str = "P1", exam: str = "", reasons: tuple[str, ...] = (), green: float = 0.3,
    box: Box | None = None, truth: Box | None = None, state: DetectorState = DetectorState.FOUND, number: int = 0,
) -> Answer:  # fmt: skip
    """p above a half is answered as iodine where that is the truth, else as green; thresholds 0.1 and 0.9."""
    said = REGULAR if p <= 0.5 else IODINE if kind is IODINE else GREEN
    if 0.1 <= p <= 0.9:
        reasons = (*reasons, "between_thresholds")
    route = Route.REVIEW if reasons else Route.AUTO_REGULAR if p < 0.1 else Route.AUTO_NON_REGULAR
    digest = hashlib.sha256(repr((kind, p, site, patient, number)).encode()).hexdigest()
    record = Record(Path("none"), digest, kind, "consensus", patient, exam or patient, site, "d", "test", truth)
    rng = np.random.default_rng(int(digest[:8], 16))
    analysis = Analysis(
        bundle_hash="b", width=100, height=100, detector_state=state, box=box, other_boxes=(), probabilities={}, p_non_regular=p,
        kind=said, deep_sad_distance=1.0, deep_sad_rank=0.5, embedding=tuple(rng.normal(kind in (GREEN, IODINE), 0.3, 8)), quality={},
        route=route, reasons=reasons,
    )  # fmt: skip
    iou = None if truth is None else 0.9
    return Answer(record, analysis, green, iou, None if truth is None else True)


def many(patients: int = 24, *, sites: tuple[str, ...] = ("north", "river"), seed: int = 0) -> list[Answer]:
    """Two regular images, a green and a stained one of each patient, well told apart but not wholly."""
    rng = np.random.default_rng(seed)
    made: list[Answer] = []
    for n in range(patients):
        for kind in (REGULAR, REGULAR, GREEN, IODINE):
            p = float(1 / (1 + np.exp(-rng.normal(-3 if kind is REGULAR else 2.5, 1.8))))
            box = Box(10, 10, 90, 90, 0.9)
            made.append(answer(kind, p, site=sites[n % len(sites)], patient=f"P{n}", box=box, truth=box, number=len(made)))
    return made


def report(answers: list[Answer] | None = None, **about: Any) -> EvaluationReport:
    answers = many() if answers is None else answers
    data = Snapshot(Path("none"), "by hand", "snap", tuple(a.record for a in answers))
    cost = Cost("cpu", 1, 32, len(answers), 2.0, 10.0, 20.0, 25.0, 512.0)
    return report_of(answers, {**ABOUT, **about}, data, split="test", bundle_hash="b" * 64, cost=cost)
