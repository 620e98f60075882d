"""Two bundles on the same pictures: figures side by side, and the interval of their difference by patient. Pure functions on reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS
from training.metrics import auroc, by_patient, f1_score
from training.types import EvaluationReport, TrainingRefused

Rows = NDArray[np.int64]
SPECIFICITY = 0.98


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure of both; `low`, `high`: 95 % interval of `other` - `one`, whole patients drawn for both alike."""

    name: str
    one: float
    other: float
    difference: float
    low: float
    high: float
    images: int
    patients: int

    @property
    def differs(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class _Answers:
    score: NDArray[np.float64]
    said: NDArray[np.bool_]
    truth: NDArray[np.bool_]

    def __getitem__(self, rows: Rows) -> _Answers:
        return _Answers(self.score[rows], self.said[rows], self.truth[rows])


def compare(one: EvaluationReport, other: EvaluationReport) -> list[Compared]:
    """Figures of two reports over the same pictures. Raises TrainingRefused when the pictures are not the same."""
    left, right = _judged(one), _judged(other)
    if set(left) != set(right) or one.snapshot_hash != other.snapshot_hash:
        raise TrainingRefused("The two reports are not over the same pictures: evaluate both bundles on one split of one snapshot.")
    keys = sorted(left)
    patients = [(left[key]["site"], left[key]["patient"]) for key in keys]
    first, second = _answers([left[key] for key in keys]), _answers([right[key] for key in keys])
    return [_compared(name, figure, first, second, patients) for name, figure in FIGURES.items()]


def _judged(report: EvaluationReport) -> dict[str, Mapping[str, Any]]:
    return {str(row["sha256"]): row for row in report.images if row["kind"] in CLASSIFIED_KINDS}


def _answers(rows: list[Mapping[str, Any]]) -> _Answers:
    return _Answers(
        np.array([float(row["p_non_regular"]) for row in rows]),
        np.array([row["answer"] in NON_REGULAR_KINDS for row in rows], dtype=bool),
        np.array([row["kind"] in NON_REGULAR_KINDS for row in rows], dtype=bool),
    )


def _compared(
    name: str, figure: Callable[[_Answers], float], one: _Answers, other: _Answers, patients: list[tuple[object, object]]
) -> Compared:
    low, high = by_patient(lambda rows: figure(other[rows]) - figure(one[rows]), patients)
    values = figure(one), figure(other)
    return Compared(name, *values, values[1] - values[0], low, high, len(patients), len(set(patients)))


def _share(hit: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float((hit & of).sum() / of.sum()) if of.any() else float("nan")


def sensitivity_at(answers: _Answers, specificity: float = SPECIFICITY) -> float:
    """Sensitivity at the lowest threshold that keeps `specificity` on the very pictures; NaN when a class is missing."""
    regular = np.sort(answers.score[~answers.truth])
    if not len(regular) or not answers.truth.any():
        return float("nan")
    # The largest number of regular pictures that may lie above
    allowed = int(np.floor((1 - specificity) * len(regular) + 1e-9))
    return float((answers.score[answers.truth] > regular[len(regular) - 1 - allowed]).mean())


FIGURES: dict[str, Callable[[_Answers], float]] = {
    "AUROC": lambda a: auroc(a.score, a.truth),
    "sensitivity": lambda a: _share(a.said, a.truth),
    "specificity": lambda a: _share(~a.said, ~a.truth),
    "accuracy": lambda a: float((a.said == a.truth).mean()),
    "F1": lambda a: f1_score(a.said, a.truth),
    "sensitivity at 98 % specificity": sensitivity_at,
}


def as_text(one: EvaluationReport, other: EvaluationReport, rows: list[Compared]) -> str:
    """A table for the shell."""
    head = [
        f"one   {one.bundle_hash[:12]}", f"other {other.bundle_hash[:12]}",
        f"{rows[0].images} images, {rows[0].patients} patients, split {one.split}; differences with their 95 % interval by patient",
    ]  # fmt: skip
    lines = [
        f"{row.name:32s} {row.one:.3f} -> {row.other:.3f}  {row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})"
        + ("  differs" if row.differs else "")
        for row in rows
    ]
    return "\n".join([*head, *lines])
