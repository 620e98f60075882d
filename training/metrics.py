"""Figures with intervals. Pure functions on numbers; every one has a hand-calculated test."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from training.types import Interval

Corners = tuple[float, ...]
Z95 = 1.959963984540054
ROUNDS = 1000
"""Drawings of a bootstrap."""
SPECIFICITIES = (0.98, 0.99)
"""At which what is found is measured."""


def wilson(hits: int, total: int, patients: int) -> Interval:
    """A proportion with its 95 % Wilson score interval (Wilson 1927); 0 of 0 gives value NaN over the whole range."""
    if total == 0:
        return Interval(math.nan, 0.0, 1.0, 0, 0, patients)
    share, z2 = hits / total, Z95**2
    middle = (share + z2 / (2 * total)) / (1 + z2 / total)
    half = Z95 * math.sqrt(share * (1 - share) / total + z2 / (4 * total**2)) / (1 + z2 / total)
    # At 0 and at all the formula is exact only up to rounding
    return Interval(share, 0.0 if hits == 0 else middle - half, 1.0 if hits == total else middle + half, hits, total, patients)


def proportion(holds: Sequence[bool], patients: Sequence[Hashable], *, rounds: int = 0, seed: int = 0) -> Interval:
    """The share of N images for which something holds, with Wilson's interval and, where it has a width, that of `share_by_patient`.

    holds, patients: (N,), of each image. None of none gives value NaN, as `wilson` does.
    """
    counts = per_patient(holds, patients)
    one = wilson(int(counts[:, 0].sum()), int(counts[:, 1].sum()), len(counts))
    low, high = share_by_patient(counts, rounds=rounds, seed=seed)
    return one if low == high or one.total == 0 else replace(one, patient_low=low, patient_high=high)


def per_patient(holds: Sequence[bool], patients: Sequence[Hashable]) -> NDArray[np.int64]:
    """(K, 2): hits and images of each of the K patients, in the order in which they come."""
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(patient, len(numbers)) for patient in patients], dtype=np.int64)
    counts = np.zeros((len(numbers), 2), dtype=np.int64)
    np.add.at(counts, rows, np.column_stack([np.asarray(holds, dtype=np.int64), np.ones(len(rows), dtype=np.int64)]))
    return counts


def share_by_patient(counts: NDArray[np.int64], *, rounds: int = 0, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of hits / images when as many patients as there are, K, are drawn with replacement; (0, 1) of none.

    counts: (K, 2), hits and images (at least one) of each. rounds: drawings, 0 for ROUNDS. As `by_patient`, but all drawings at once, and
    patients whose counts are alike are drawn as one group: the same drawings by chance, whose cost does not grow with the patients.
    """
    if len(counts) == 0:
        return 0.0, 1.0
    alike, often = np.unique(counts, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(counts), often / len(counts), size=rounds or ROUNDS) @ alike
    return _middle(drawn[:, 0] / drawn[:, 1])


def auroc(scores: Sequence[float] | NDArray[np.float64], positive: Sequence[bool] | NDArray[np.bool_]) -> float:
    """Area under the ROC curve, by ranks with ties at their middle; NaN when a class is missing."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    n_pos, n_neg = int(truth.sum()), int((~truth).sum())
    if n_pos == 0 or n_neg == 0:
        return math.nan
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return float((ranks[truth].sum() - n_pos * (n_pos + 1) / 2) / (n_pos * n_neg))


def roc_points(scores: Sequence[float], positive: Sequence[bool]) -> list[tuple[float, float, float]]:
    """(false positive rate, true positive rate, threshold) for 'score >= threshold', from (0, 0, inf) on; only the corners of the curve."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if truth.all() or not truth.any():
        return []
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.append(values[1:] != values[:-1], True)
    tpr, fpr = (np.cumsum(truth) / truth.sum())[last], (np.cumsum(~truth) / (~truth).sum())[last]
    points = [(0.0, 0.0, math.inf), *((float(f), float(t), float(v)) for f, t, v in zip(fpr, tpr, values[last], strict=True))]
    bends = [
        point for before, point, after in zip(points, points[1:], points[2:], strict=False)
        if not (before[0] == point[0] == after[0] or before[1] == point[1] == after[1])
    ]  # fmt: skip
    return [points[0], *bends, points[-1]]


def precision_recall_points(scores: Sequence[float], positive: Sequence[bool]) -> list[tuple[float, float, float]]:
    """(recall, precision, threshold) for 'score >= threshold' at every distinct score, highest first; empty without a positive."""
    values, truth = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not truth.any():
        return []
    order = np.argsort(-values, kind="stable")
    values, truth = values[order], truth[order]
    last = np.append(values[1:] != values[:-1], True)
    hits = np.cumsum(truth)[last]
    recall, precision = hits / truth.sum(), hits / (np.flatnonzero(last) + 1)
    return [(float(r), float(p), float(v)) for r, p, v in zip(recall, precision, values[last], strict=True)]


def average_precision(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the precision-recall steps, sum of (R_n - R_n-1) P_n, without interpolation; NaN without a positive."""
    n_pos = int(positive.sum())
    if n_pos == 0:
        return math.nan
    order = np.argsort(-scores, kind="stable")
    values, truth = scores[order], positive[order]
    last = np.append(values[1:] != values[:-1], True)
    hits = np.cumsum(truth)[last]
    return float((np.diff(hits, prepend=0) * hits / (np.flatnonzero(last) + 1)).sum() / n_pos)


def limit_at(scores: NDArray[np.float64], positive: NDArray[np.bool_], specificity: float) -> float:
    """The lowest limit for 'score > limit' at which at least `specificity` of the negatives are spared; -inf when all may be hit.

    NaN without a negative: there is no specificity.
    """
    negatives = np.sort(scores[~positive])[::-1]
    if len(negatives) == 0:
        return math.nan
    allowed = math.floor((1 - specificity) * len(negatives) + 1e-9)
    return float(negatives[allowed]) if allowed < len(negatives) else -math.inf


def f1_score(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Harmonic mean of precision and sensitivity; NaN without any positive in truth and prediction."""
    hits, both = int((predicted & truth).sum()), int(predicted.sum()) + int(truth.sum())
    return 2 * hits / both if both else math.nan


def by_patient(
    figure: Callable[[NDArray[np.int64]], float], patients: Sequence[Hashable], *, rounds: int = 0, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `figure(indices)` when whole patients are drawn with replacement: their images are not independent.

    Drawings in which the figure is NaN do not count; (0, 1) where it always is. rounds: 0 for ROUNDS.
    """
    return all_by_patient(lambda rows: np.array([figure(rows)]), patients, rounds=rounds, seed=seed)[0]


def all_by_patient(
    figures: Callable[[NDArray[np.int64]], NDArray[np.float64]], patients: Sequence[Hashable], *, rounds: int = 0, seed: int = 0
) -> list[tuple[float, float]]:
    """As `by_patient` for K figures, (K,), of the same drawings."""
    draws = Draws.of(patients, seed)
    drawn = np.stack([figures(draws.rows()) for _ in range(rounds or ROUNDS)])
    return [_middle(column[~np.isnan(column)]) for column in drawn.T]


def _middle(drawn: NDArray[np.float64]) -> tuple[float, float]:
    if len(drawn) == 0:
        return 0.0, 1.0
    low, high = np.percentile(drawn, [2.5, 97.5])
    return float(low), float(high)


@dataclass(slots=True)
class Draws:
    """Rows of whole patients, drawn with replacement again and again. `order`: rows, patient by patient; `starts`, `counts`: of each."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    rng: np.random.Generator

    @classmethod
    def of(cls, patients: Sequence[Hashable], seed: int = 0) -> Draws:
        numbers: dict[Hashable, int] = {}
        codes = np.array([numbers.setdefault(patient, len(numbers)) for patient in patients], dtype=np.int64)
        counts = np.bincount(codes, minlength=len(numbers)).astype(np.int64)
        order = np.argsort(codes, kind="stable").astype(np.int64)
        return cls(order, np.cumsum(counts) - counts, counts, np.random.default_rng(seed))

    def rows(self) -> NDArray[np.int64]:
        """The rows of one drawing: as many patients as there are, some of them twice."""
        chosen = self.rng.integers(0, len(self.counts), len(self.counts))
        lengths = self.counts[chosen]
        ends = np.cumsum(lengths)
        rows: NDArray[np.int64] = self.order[np.repeat(self.starts[chosen] - ends + lengths, lengths) + np.arange(ends[-1])]
        return rows


def box_iou(one: Corners, other: Corners) -> float:
    """Intersection over union of two rectangles (x0, y0, x1, y1)."""
    inner = _intersection(one, other)
    union = _area(one) + _area(other) - inner
    return inner / union if union > 0 else 0.0


def covered(inner: Corners, outer: Corners) -> float:
    """Share of `inner` that lies in `outer`."""
    area = _area(inner)
    return _intersection(inner, outer) / area if area > 0 else 0.0


def _intersection(one: Corners, other: Corners) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _area(box: Corners) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def five_numbers(values: Sequence[float]) -> dict[str, object]:
    """Box plot by Tukey: quartiles, whiskers at the last value within 1.5 interquartile ranges, outliers beyond."""
    data = np.sort(np.asarray(values, dtype=np.float64))
    q1, median, q3 = (float(q) for q in np.percentile(data, [25, 50, 75]))
    reach = 1.5 * (q3 - q1)
    inside = data[(data >= q1 - reach) & (data <= q3 + reach)]
    outliers = data[(data < q1 - reach) | (data > q3 + reach)]
    return {
        "low": float(inside[0]), "q1": q1, "median": median, "q3": q3, "high": float(inside[-1]),
        "outliers": [float(v) for v in outliers], "count": len(data),
    }  # fmt: skip
