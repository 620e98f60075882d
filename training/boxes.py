"""How well the cervix is found (METHODS 2): average precision, overlap, containment, recall by kind. Pure but for what the answers hold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.types import CLASSIFIED_KINDS, Box, Kind
from training.answers import Answer, by_kind, corners, patients_of, resampled, share
from training.metrics import all_by_patient, box_iou
from training.types import Interval

OVERLAPS = tuple(0.5 + 0.05 * step for step in range(10))
RECALLS = np.linspace(0.0, 1.0, 101)


def figures(answers: Sequence[Answer]) -> dict[str, Interval]:
    """`found`, `found_<kind>` over pictures of a cervix; `false_finds` without one. Where people drew boxes: `ap50`, `ap50_95` (with the
    pictures without a cervix among them), `iou` and `containment` of the best box, `iou_over_half` and `recall_<kind>`, an overlap of at
    least a half."""
    cervix = [a for a in answers if a.record.kind in CLASSIFIED_KINDS]
    boxed = [a for a in answers if a.iou is not None]
    none = [a for a in answers if a.record.kind is Kind.NOT_CERVIX]
    found = {"found": share(cervix, lambda a: a.found)}
    found |= {f"found_{kind}": share(group, lambda a: a.found) for kind, group in by_kind(cervix)}
    if boxed:
        found |= _on_boxes(boxed) | _precision(boxed, none)
    if none:
        found["false_finds"] = share(none, lambda a: a.found)
    return found


def _on_boxes(boxed: Sequence[Answer]) -> dict[str, Interval]:
    overlaps = np.array([a.iou for a in boxed], dtype=np.float64)
    over_half = int((overlaps >= 0.5).sum())
    return {
        "iou": resampled(boxed, lambda rows: float(overlaps[rows].mean()), over_half),
        "iou_over_half": share(boxed, _over_half), "containment": share(boxed, lambda a: bool(a.contained)),
        **{f"recall_{kind}": share(group, _over_half) for kind, group in by_kind(boxed)},
    }  # fmt: skip


def _over_half(answer: Answer) -> bool:
    return (answer.iou or 0.0) >= 0.5


def _precision(boxed: Sequence[Answer], none: Sequence[Answer]) -> dict[str, Interval]:
    """Over all boxes that an Analysis keeps: the best one, and others of a score of at least 0.3."""
    every = [*boxed, *none]
    table = Detections.of([_detected(a) for a in every], [corners(a.record.box) if a.record.box else None for a in every])

    def both(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        precisions = table.average_precision(rows)
        return np.array([precisions[0], precisions.mean()])

    values, bounds = both(np.arange(len(every))), all_by_patient(both, [a.record.patient_key for a in every])
    return {
        name: Interval(float(value), *bound, len(boxed), len(every), patients_of(every))
        for name, value, bound in zip(("ap50", "ap50_95"), values, bounds, strict=True)
    }


def _detected(answer: Answer) -> list[Box]:
    best, others = answer.analysis.box, answer.analysis.other_boxes
    return [best, *others] if best else list(others)


@dataclass(frozen=True, slots=True)
class Detections:
    """Every detected box of N images, by falling score. image: (D,) row of its image; right: (D, 10), whether it is the one that matches
    the image's true box at each of OVERLAPS; true: (N,), whether the image has a true box."""

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    true: NDArray[np.bool_]

    @classmethod
    def of(cls, found: Sequence[Sequence[Box]], truths: Sequence[tuple[float, ...] | None]) -> Detections:
        """As COCO matches: the detections of an image are taken by falling score, and the first that overlaps enough has the true box."""
        rows: list[tuple[float, int, NDArray[np.bool_]]] = []
        for number, (boxes, truth) in enumerate(zip(found, truths, strict=True)):
            taken = np.zeros(len(OVERLAPS), dtype=bool)
            for box in sorted(boxes, key=lambda b: -b.score):
                overlap = box_iou(corners(box), truth) if truth else 0.0
                enough = (overlap >= np.array(OVERLAPS) - 1e-9) & ~taken if truth else taken & False
                taken |= enough
                rows.append((box.score, number, enough))
        rows.sort(key=lambda row: -row[0])
        right = np.array([row[2] for row in rows], dtype=bool).reshape(-1, len(OVERLAPS))
        return cls(np.array([row[1] for row in rows], dtype=np.int64), right, np.array([truth is not None for truth in truths]))

    def average_precision(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(10,): COCO's average precision at each of OVERLAPS: the mean, over 101 recalls, of the best precision at that recall or above.

        `rows` are images, some of them perhaps drawn more than once. NaN where none has a true box.
        """
        drawn = np.bincount(rows, minlength=len(self.true))
        total = int(drawn[self.true].sum())
        if total == 0:
            return np.full(len(OVERLAPS), math.nan)
        weight = drawn[self.image].astype(np.float64)[:, None]
        hits, seen = np.cumsum(self.right * weight, axis=0), np.cumsum(weight, axis=0)
        precision = np.maximum.accumulate((hits / np.maximum(seen, 1e-12))[::-1], axis=0)[::-1]
        return np.array([_at_recalls(hits[:, n] / total, precision[:, n]) for n in range(len(OVERLAPS))])


def _at_recalls(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    places = np.searchsorted(recall, RECALLS - 1e-12, side="left")
    return float(np.where(places < len(precision), np.append(precision, 0.0)[places], 0.0).mean())
