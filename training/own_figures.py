"""What a finished bundle says of the very pictures that chose its passes and set its thresholds: figures with intervals, which flatter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, NON_REGULAR_KINDS, Kind
from training.metrics import all_by_patient, auroc, by_patient, proportion
from training.types import Interval

NAME = "chosen_and_calibrated_by"
"""Where bundle.json keeps them, in `metrics.refit`."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Said:
    """Of N pictures: the truth, the bundle's answer, its p of non-regular, what either part alone ranks them by, and how far the best box
    overlaps people's (NaN where nobody drew one)."""

    kinds: Sequence[Kind]
    answers: Sequence[Kind]
    p: Floats
    logits: Floats
    distances: Floats
    overlaps: Floats
    patients: Sequence[Hashable]


def measure(said: Said) -> dict[str, Interval]:
    """AUROC fused and of each part, shares of the bundle's own answer, and the mean overlap of the best box; both classes must be there."""
    truth = np.array([kind in NON_REGULAR_KINDS for kind in said.kinds])
    found = np.array([kind in NON_REGULAR_KINDS for kind in said.answers])
    right = np.array([kind == answer for kind, answer in zip(said.kinds, said.answers, strict=True)])
    made = _areas(said, truth)
    made["sensitivity"] = _share(found, truth, said.patients)
    made["specificity"] = _share(~found, ~truth, said.patients)
    for kind in CLASSIFIED_KINDS:
        of_kind = np.array([one == kind for one in said.kinds])
        if of_kind.any():
            made[f"{kind} named right"] = _share(right, of_kind, said.patients)
    boxed = ~np.isnan(said.overlaps)
    return {**made, "overlap of the box": _overlap(said.overlaps[boxed], _of(said.patients, boxed))} if boxed.any() else made


def _overlap(overlaps: Floats, patients: Sequence[Hashable]) -> Interval:
    low, high = by_patient(lambda rows: float(overlaps[rows].mean()), patients)
    return Interval(float(overlaps.mean()), low, high, int((overlaps >= 0.5).sum()), len(overlaps), len(set(patients)))


def _areas(said: Said, truth: NDArray[np.bool_]) -> dict[str, Interval]:
    ranked = {"auroc": said.p, "auroc of the classifier alone": said.logits, "auroc of Deep SAD alone": said.distances}

    def areas(rows: NDArray[np.int64]) -> Floats:
        return np.array([auroc(scores[rows], truth[rows]) for scores in ranked.values()])

    values, bounds = areas(np.arange(len(truth))), all_by_patient(areas, said.patients)
    counts = int(truth.sum()), len(truth), len(set(said.patients))
    return {name: Interval(float(value), *bound, *counts) for name, value, bound in zip(ranked, values, bounds, strict=True)}


def _share(holds: NDArray[np.bool_], among: NDArray[np.bool_], patients: Sequence[Hashable]) -> Interval:
    return proportion(holds[among].tolist(), _of(patients, among))


def _of(patients: Sequence[Hashable], rows: NDArray[np.bool_]) -> list[Hashable]:
    return [patient for patient, here in zip(patients, rows, strict=True) if here]
