"""Two bundles on the same pictures: figures side by side, and the interval of their difference by patient. Pure functions on reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Route
from training.metrics import SPECIFICITIES, all_by_patient, auroc, f1_score, limit_at
from training.types import Compared, EvaluationReport, TrainingRefused

Rows = NDArray[np.int64]
Flags = NDArray[np.bool_]
NEEDED = ("sha256", "site", "patient", "kind", "p_non_regular", "answer", "route")
"""Of every picture of a report."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of each picture: its score, whether it is called non-regular and is, whether it passes as regular unseen, whether people read it."""

    score: NDArray[np.float64]
    said: Flags
    truth: Flags
    unseen: Flags
    read: Flags

    def __getitem__(self, rows: Rows) -> _Answers:
        return _Answers(self.score[rows], self.said[rows], self.truth[rows], self.unseen[rows], self.read[rows])


@dataclass(frozen=True, slots=True)
class _Figure:
    """`over`: the pictures that it is counted over, by their truth; None for all."""

    of: Callable[[_Answers], float]
    over: Callable[[Flags], Flags] | None = None


def compare(one: EvaluationReport, other: EvaluationReport) -> list[Compared]:
    """Figures of two reports over the same pictures, all by the same drawings of patients.

    What hangs on the routes is left out where the two reports route by different rules. Raises TrainingRefused when the pictures are not
    the same, or when a report does not say what was answered to each.
    """
    left, right = _judged(one), _judged(other)
    if set(left) != set(right) or one.snapshot_hash != other.snapshot_hash:
        raise TrainingRefused("The two reports are not over the same pictures: evaluate both bundles on one split of one snapshot.")
    if not left:
        raise TrainingRefused("The two reports do not tell what was answered to each picture.")
    keys = sorted(left)
    patients = [(left[key]["site"], left[key]["patient"]) for key in keys]
    first, second = _answers([left[key] for key in keys]), _answers([right[key] for key in keys])
    figures = FIGURES if one.known_devices_only == other.known_devices_only else {k: f for k, f in FIGURES.items() if k not in ROUTED}

    def differences(rows: Rows) -> NDArray[np.float64]:
        drawn = first[rows], second[rows]
        return np.array([figure.of(drawn[1]) - figure.of(drawn[0]) for figure in figures.values()])

    bounds = all_by_patient(differences, patients)
    return [_compared(name, figure, first, second, patients, edge) for (name, figure), edge in zip(figures.items(), bounds, strict=True)]


def _judged(report: EvaluationReport) -> dict[str, Mapping[str, Any]]:
    if any(name not in row for row in report.images for name in NEEDED):
        raise TrainingRefused("A report of an older version does not tell whose each picture is and what was answered to it.")
    return {str(row["sha256"]): row for row in report.images if row["kind"] in CLASSIFIED_KINDS}


def _answers(rows: list[Mapping[str, Any]]) -> _Answers:
    return _Answers(
        score=np.array([float(row["p_non_regular"]) for row in rows]),
        said=np.array([row["answer"] in NON_REGULAR_KINDS for row in rows], dtype=bool),
        truth=np.array([row["kind"] in NON_REGULAR_KINDS for row in rows], dtype=bool),
        unseen=np.array([row["route"] == Route.AUTO_REGULAR for row in rows], dtype=bool),
        read=np.array([row["route"] == Route.REVIEW for row in rows], dtype=bool),
    )


def _compared(
    name: str, figure: _Figure, one: _Answers, other: _Answers, patients: Sequence[tuple[object, object]], edge: tuple[float, float]
) -> Compared:
    values = figure.of(one), figure.of(other)
    counted = np.flatnonzero(figure.over(one.truth)) if figure.over else np.arange(len(patients))
    return Compared(name, *values, values[1] - values[0], *edge, len(counted), len({patients[row] for row in counted.tolist()}))


def _share(hit: Flags, of: Flags) -> float:
    return float((hit & of).sum() / of.sum()) if of.any() else math.nan


def sensitivity_at(answers: _Answers, specificity: float) -> float:
    """Sensitivity at the lowest threshold that keeps `specificity` on the very pictures; NaN when a class is missing."""
    limit = limit_at(answers.score, answers.truth, specificity)
    return math.nan if math.isnan(limit) else _share(answers.score > limit, answers.truth)


def _positive(truth: Flags) -> Flags:
    return truth


FIGURES: dict[str, _Figure] = {
    "AUROC": _Figure(lambda a: auroc(a.score, a.truth)),
    "sensitivity": _Figure(lambda a: _share(a.said, a.truth), _positive),
    "specificity": _Figure(lambda a: _share(~a.said, ~a.truth), np.logical_not),
    "accuracy": _Figure(lambda a: float((a.said == a.truth).mean())),
    "F1": _Figure(lambda a: f1_score(a.said, a.truth)),
    **{
        f"sensitivity at {wanted:.0%} specificity": _Figure(partial(sensitivity_at, specificity=wanted), _positive)
        for wanted in SPECIFICITIES
    },
    "missed unseen": _Figure(lambda a: _share(a.unseen, a.truth), _positive),
    "sent to review": _Figure(lambda a: float(a.read.mean())),
}
ROUTED = ("missed unseen", "sent to review")


def as_text(one: EvaluationReport, other: EvaluationReport, rows: list[Compared]) -> str:
    """A table for the shell."""
    head = [
        f"one   {one.bundle_hash[:12]}", f"other {other.bundle_hash[:12]}",
        f"{rows[0].images} images, {rows[0].patients} patients, split {one.split}; differences with their 95 % interval by patient",
    ]  # fmt: skip
    return "\n".join([*head, *(_line(row) for row in rows)])


def _line(row: Compared) -> str:
    if not row.known:
        return f"{row.name:32s} cannot be told"
    interval = f"{row.low:+.3f} to {row.high:+.3f}; " if row.sure else ""
    said = f"{row.one:.3f} -> {row.other:.3f}  {row.difference:+.3f} ({interval}{row.images} images, {row.patients} patients)"
    return f"{row.name:32s} {said}" + ("  differs" if row.differs else "")
