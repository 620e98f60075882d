"""Evaluation reports by hand."""

from dataclasses import replace
from typing import Any

from portal.ml import EvaluationReport, Interval


def figure(value: float, *, low: float | None = None, high: float | None = None, total: int = 100, patients: int = 40) -> Interval:
    bounds = (max(0.0, value - 0.05) if low is None else low, min(1.0, value + 0.05) if high is None else high)
    return Interval(value, *bounds, round(value * total), total, patients)


NOTHING = Interval(float("nan"), 0.0, 1.0, 0, 0, 0)


def report(**changes: Any) -> EvaluationReport:
    names = ("sensitivity", "specificity", "precision", "accuracy", "f1")
    base = EvaluationReport(
        bundle_hash="b" * 64, snapshot_hash="s" * 64, split="test", images_total=200, patients_total=80,
        kinds=("regular", "green_filter", "lugol_iodine"), figures={name: figure(0.9) for name in names}, auroc=figure(0.95),
        confusion=((90, 8, 2), (6, 40, 4), (3, 2, 45)), per_site={"north": {name: figure(0.9, total=50) for name in names}},
        per_kind={"regular": figure(0.9), "green_filter": figure(0.8, total=50), "lugol_iodine": figure(0.9, total=50)},
        faint_green=figure(0.7, total=12, patients=6), roc=((0.0, 0.0, float("inf")), (0.1, 0.9, 0.5), (1.0, 1.0, 0.0)),
        box_plot=(
            {"site": "north", "kind": "regular", "scores": {"low": 0.0, "q1": 0.05, "median": 0.1, "q3": 0.2, "high": 0.4,
             "outliers": [0.9], "count": 100}},
            {"site": "north", "kind": "green_filter", "scores": {"low": 0.5, "q1": 0.8, "median": 0.9, "q3": 0.95, "high": 1.0,
             "outliers": [], "count": 50}},
        ),
        review_rate=figure(0.15), missed_unseen=figure(0.01), detector={"found": figure(0.98), "containment": figure(0.9)},
        images=(
            {"sha256": "1" * 64, "site": "north", "patient": "P1", "kind": "green_filter", "p_non_regular": 0.1, "answer": "regular",
             "route": "auto_regular", "detector_state": "found", "box_iou": 0.8},
        ),
    )  # fmt: skip
    return replace(base, **changes)


def with_figures(base: EvaluationReport, **figures: Interval) -> EvaluationReport:
    return replace(base, figures={**base.figures, **figures})
