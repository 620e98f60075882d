"""What is found, and what must be read, at thresholds that are fixed by what one is ready to give (METHODS 8)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from training.answers import Answer, by_kind, by_site, patients_of, resampled, scores_of, share, truth_of
from training.metrics import SPECIFICITIES, all_by_patient, limit_at
from training.types import Interval, OperatingPoint, ReviewPoint

MISSED = (0.0, 0.01, 0.02, 0.05)
FAINT = "faint_green"


def points(answers: Sequence[Answer]) -> tuple[OperatingPoint, ...]:
    """For all sites together and for each: sensitivity at each of SPECIFICITIES. A group without one of the classes has none."""
    groups = [("", list(answers)), *by_site(answers)]
    return tuple(_point(site, group, wanted) for site, group in groups if _both(group) for wanted in SPECIFICITIES)


def _both(group: Sequence[Answer]) -> bool:
    return any(a.positive for a in group) and not all(a.positive for a in group)


def _point(site: str, group: Sequence[Answer], wanted: float) -> OperatingPoint:
    limit = limit_at(scores_of(group), truth_of(group), wanted)
    named = {"": [a for a in group if a.positive], **dict(by_kind(a for a in group if a.positive))}
    if faint := [a for a in group if a.faint_green]:
        named[FAINT] = faint
    bounds = _bounds(group, [{id(a) for a in some} for some in named.values()], wanted)
    found = {name: _found(some, limit, *edge) for (name, some), edge in zip(named.items(), bounds, strict=True)}
    return OperatingPoint(
        site=site, specificity=wanted, threshold=limit, reached=share([a for a in group if not a.positive], lambda a: a.p <= limit),
        sensitivity=found.pop(""), per_kind=found,
    )  # fmt: skip


def _found(some: Sequence[Answer], limit: float, low: float, high: float) -> Interval:
    hits = sum(a.p > limit for a in some)
    return Interval(hits / len(some), low, high, hits, len(some), patients_of(some))


def _bounds(group: Sequence[Answer], parts: Sequence[set[int]], wanted: float) -> list[tuple[float, float]]:
    """Intervals of the share of each part above the limit that the group's negatives set; both are drawn anew in the bootstrap."""
    scores, truth = scores_of(group), truth_of(group)
    members = np.array([[id(a) in part for a in group] for part in parts])

    def figures(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        limit, here = limit_at(scores[rows], truth[rows], wanted), members[:, rows]
        counts = here.sum(axis=1)
        known = (counts > 0) & (not math.isnan(limit))
        return np.where(known, (here & (scores[rows] > limit)).sum(axis=1) / np.maximum(counts, 1), math.nan)

    return all_by_patient(figures, [a.record.patient_key for a in group])


def review_points(answers: Sequence[Answer], t_hi: float) -> tuple[ReviewPoint, ...]:
    """The review rate at each of MISSED; none without a non-regular image."""
    if not any(a.positive for a in answers):
        return ()
    return tuple(_review(answers, wanted, t_hi) for wanted in MISSED)


def _review(answers: Sequence[Answer], wanted: float, t_hi: float) -> ReviewPoint:
    scores, truth = scores_of(answers), truth_of(answers)
    always = np.array([bool(set(a.reasons) - {"between_thresholds"}) for a in answers])

    def reviewed(rows: NDArray[np.int64]) -> float:
        limit = lower_limit(scores[rows], truth[rows], always[rows], wanted, t_hi)
        return float(_read(scores[rows], always[rows], limit, t_hi).mean())

    limit = lower_limit(scores, truth, always, wanted, t_hi)
    passes = {id(a) for a, one, score in zip(answers, always, scores, strict=True) if not one and score < limit}
    hits = int(_read(scores, always, limit, t_hi).sum())
    seen = share([a for a in answers if a.positive], lambda a: id(a) in passes)
    return ReviewPoint(missed=wanted, threshold=limit, seen=seen, review=resampled(answers, reviewed, hits))


def _read(scores: NDArray[np.float64], always: NDArray[np.bool_], limit: float, t_hi: float) -> NDArray[np.bool_]:
    return always | ((scores >= limit) & (scores <= t_hi))


def lower_limit(scores: NDArray[np.float64], positive: NDArray[np.bool_], always: NDArray[np.bool_], missed: float, t_hi: float) -> float:
    """The highest limit, at most `t_hi`, such that at most `missed` of the positives have a score below it and are not always read."""
    passing = np.sort(scores[positive & ~always])
    allowed = math.floor(missed * int(positive.sum()) + 1e-9)
    return float(min(passing[allowed], t_hi)) if allowed < len(passing) else t_hi
